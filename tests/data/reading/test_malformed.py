"""Malformed files of every kind: 200 of those that benchmarks/malformed.py writes 10,000 of."""

from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest

from preceptor.data.reading.extraction import ExtractionError
from preceptor.data.reading.warc import read_warc
from preceptor.data.reading.worker import ExtractionProcess
from tests.data.reading.test_formats import malformed  # noqa: F401


def test_no_crash_no_hang_and_every_file_accounted_for(malformed: ModuleType, tmp_path: Path) -> None:  # noqa: F811
    malformed.write_malformed(tmp_path, 200, seed=1)
    figures = malformed.read_all(tmp_path, seconds=1.0, extractor="fast")
    assert figures["files"] == figures["accounted_for"] == 200
    assert sum(figures["problems"].values()) > 50


def test_what_an_archive_invents_makes_no_phrase_of_its_own(tmp_path: Path) -> None:
    """A thousand records of invented kinds, types and statuses: the problems stay few and short."""
    def record(kind: str, content_type: str, status: str) -> bytes:
        http = f"HTTP/1.1 {status} OK\r\nContent-Type: {content_type}\r\n\r\nbees".encode()
        return (f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Target-URI: http://e.org/\r\nWARC-Record-ID: <urn:1>\r\n"
                f"WARC-Date: 2026-01-01T00:00:00Z\r\nContent-Type: application/http; msgtype=response\r\n"
                f"Content-Length: {len(http)}\r\n\r\n").encode() + http + b"\r\n\r\n"

    rows = [record(f"k{n}", "text/html", "200") for n in range(300)]
    rows += [record("response", f"image/k{n}" * 40, "200") for n in range(300)]
    rows += [record("response", "text/html", f"2{n:06}") for n in range(300)]
    rows += [record("response", "image/JPEG; q=1", "200"), record("response", "text/html", "404")]
    path = tmp_path / "invented.warc"
    path.write_bytes(b"".join(rows))
    found = Counter(piece.what for piece in read_warc(path, 1000))
    assert found == {"no page: unknown record": 300, "no page: response record, another type": 300,
                     "no page: response record, no status": 300, "no page: response record, image/jpeg": 1,
                     "no page: response record, 404": 1}


def test_a_process_that_takes_too_long_is_killed_and_the_next_page_is_read() -> None:
    with ExtractionProcess(seconds=0.001, memory=1000) as process:  # nothing reads a megabyte in a millisecond
        slow = b"<table><tr><td>" * 60_000
        with pytest.raises(ExtractionError, match="took too long"):
            process.extract("html", slow, charset=None, careful=True, largest=10**7)
        assert process.kills == 1
        process.seconds = 60
        page = b"<html><body><article>" + b"<p>The bees of the garden hum in the morning.</p>" * 9
        assert "bees" in process.extract("html", page, charset=None, careful=False, largest=10**7)[0]


def test_a_process_that_runs_out_of_memory_ends_alone() -> None:
    with ExtractionProcess(seconds=60, memory=300) as process:
        with pytest.raises(ExtractionError, match="memory|crashed"):
            process.extract("html", bytes(200 << 20), charset=None, careful=False, largest=10**9)
        assert process.extract("html", b"<p>hello there, bees</p>", charset=None, careful=False, largest=10**7)
