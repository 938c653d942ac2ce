"""Malformed files of every kind: 200 of those that benchmarks/malformed.py writes 10,000 of."""

from pathlib import Path
from types import ModuleType

import pytest

from preceptor.data.reading.extraction import ExtractionError
from preceptor.data.reading.worker import ExtractionProcess
from tests.data.reading.test_formats import malformed  # noqa: F401


def test_no_crash_no_hang_and_every_file_accounted_for(malformed: ModuleType, tmp_path: Path) -> None:  # noqa: F811
    malformed.write_malformed(tmp_path, 200, seed=1)
    figures = malformed.read_all(tmp_path, seconds=1.0, extractor="fast")
    assert figures["files"] == figures["accounted_for"] == 200
    assert sum(figures["problems"].values()) > 50


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
