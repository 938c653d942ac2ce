"""Malformed sources of every kind: no crash, no hang, every file accounted for.

    python benchmarks/malformed.py --json

Writes 10,000 files (--quick: 500) into a temporary folder: well-formed ones of every format that `preceptor data`
reads, damaged by truncation, flipped bytes, spliced and repeated parts, wrong names, broken compression; and the
bombs by name: nested HTML, XML entities, zip and gzip bombs, hostile EPUB paths, huge lines, bad UTF-8, empty files.
Then it reads them in one pass. The last line is one object: files, those accounted for, documents, problems by kind,
the slowest file and its seconds.
"""

import argparse
import bz2
import gzip
import io
import json
import lzma
import random
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

SECONDS = 5.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    parser.add_argument("--quick", action="store_true", help="500 files")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        count = write_malformed(Path(folder), 500 if options.quick else 10_000, seed=0)
        figures = read_all(Path(folder), SECONDS)
    figures["written"] = count
    print(json.dumps(figures) if options.json else json.dumps(figures, indent=2))


def read_all(folder: Path, seconds: float, extractor: str = "careful") -> dict[str, Any]:
    """Read every file of a folder; figures of what came of them."""
    from preceptor.data.reading.corpus import read_corpus
    from preceptor.data.reading.files import expand
    from preceptor.data.reading.options import ReadingOptions
    files = expand([folder])
    ended: Counter[str] = Counter()
    problems: Counter[str] = Counter()
    documents = 0
    slowest, began = ("", 0.0), time.monotonic()
    for found in read_corpus(files, ReadingOptions(extractor=extractor, seconds=seconds, memory=1000)):
        documents += len(found.documents)
        if found.problem:
            problems[found.problem.what] += 1
        if found.last:
            ended[str(found.path)] += 1
            took, began = time.monotonic() - began, time.monotonic()
            slowest = max(slowest, (found.path.name, took), key=lambda one: one[1])
            if len(ended) % 500 == 0:
                print(f"{len(ended)} of {len(files)} files", file=sys.stderr, flush=True)
    accounted = sum(ended[str(file)] == 1 for file in files)
    return {"files": len(files), "accounted_for": accounted, "documents": documents,
            "slowest_file": slowest[0], "slowest_seconds": round(slowest[1], 2),
            "problems": dict(problems.most_common())}


def write_malformed(folder: Path, count: int, seed: int) -> int:
    """Write `count` files: every bomb once, then damaged files of every format in turn; returns how many."""
    draw = random.Random(seed)
    files = [*bombs()]
    good = well_formed()
    damages: list[Callable[[bytes, random.Random], bytes]] = [_truncate, _flip, _splice, _repeat, _insert, _as_is]
    while len(files) < count:
        name, content = good[len(files) % len(good)]
        stem, _, suffix = name.partition(".")
        if draw.random() < 0.1:
            suffix = draw.choice(["txt", "html", "jsonl", "epub", "pdf", "warc.gz", "parquet", "xml", "bin", "txt.gz"])
        files.append((f"{stem}.{suffix}", draw.choice(damages)(content, draw)))
    for number, (name, content) in enumerate(files[:count]):
        (folder / f"{number:05}-{name}").write_bytes(content)
    return min(count, len(files))


def _truncate(content: bytes, draw: random.Random) -> bytes:
    return content[:draw.randrange(len(content) + 1)]


def _flip(content: bytes, draw: random.Random) -> bytes:
    damaged = bytearray(content)
    for _ in range(draw.choice([1, 5, 50])):
        damaged[draw.randrange(len(damaged))] = draw.randrange(256)
    return bytes(damaged)


def _splice(content: bytes, draw: random.Random) -> bytes:
    first, second = sorted(draw.randrange(len(content)) for _ in range(2))
    return content[:first] + content[second:]


def _repeat(content: bytes, draw: random.Random) -> bytes:
    first, second = sorted(draw.randrange(len(content)) for _ in range(2))
    return content[:second] + content[first:second] * draw.choice([1, 20]) + content[second:]


def _insert(content: bytes, draw: random.Random) -> bytes:
    place = draw.randrange(len(content))
    return content[:place] + draw.choice([b"\0" * 99, b"\xff\xfe\xfd" * 30, b"\n" * 500, b"<" * 999, b"{[" * 400]) \
        + content[place:]


def _as_is(content: bytes, draw: random.Random) -> bytes:
    return content


PAGE = ("<!DOCTYPE html><html><head><meta charset='utf-8'><title>Bees</title></head><body><nav>Home | About</nav>"
        "<article><h1>Bees</h1>" + "<p>The bees of the garden hum in the morning, and the keeper listens. "
        "蜜蜂在清晨的花园里嗡嗡作响。</p>" * 8 + "</article>"
        "<footer>All rights reserved</footer></body></html>").encode()


def well_formed() -> list[tuple[str, bytes]]:
    """One small valid file of each format, and of each compression."""
    text = ("The bees hum.\n\n" * 40 + "蜜蜂嗡嗡作响。\n\n" * 40).encode()
    lines = b"".join(json.dumps({"text": f"Line {n} about bees.", "id": str(n)}).encode() + b"\n" for n in range(30))
    wiki = ("<mediawiki><siteinfo><dbname>beewiki</dbname></siteinfo>" + "".join(
        f"<page><title>Bee {n}</title><ns>0</ns><id>{n}</id><revision><id>9</id><text>'''Bee {n}''' is a [[bee]]."
        "{{Infobox|a=b}}&lt;ref&gt;x&lt;/ref&gt;</text></revision></page>" for n in range(5)) + "</mediawiki>").encode()
    return [("t.txt", text), ("t.txt.gz", gzip.compress(text)), ("t.txt.bz2", bz2.compress(text)),
            ("t.txt.xz", lzma.compress(text)), ("m.md", b"# Title\n\n" + text), ("l.jsonl", lines),
            ("l.jsonl.gz", gzip.compress(lines)), ("p.html", PAGE), ("w.xml", wiki),
            ("w.xml.bz2", bz2.compress(wiki)),
            ("b.epub", epub({"c1.xhtml": PAGE, "c2.xhtml": PAGE}, ["c1.xhtml", "c2.xhtml"])),
            ("a.warc", archive(PAGE)), ("a.warc.gz", gzip.compress(archive(PAGE))), ("d.pdf", pdf("The bees hum.")),
            ("t.parquet", _parquet()),
            ("a.warc.wet.gz", gzip.compress(conversion(b"The bees hum.")))]


def _parquet() -> bytes:
    import pyarrow
    import pyarrow.parquet
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table({"text": ["The bees hum.", None, "蜜蜂"], "id": ["a", "b", "c"]}), buffer)
    return buffer.getvalue()


def epub(files: dict[str, bytes], order: list[str]) -> bytes:
    """A book with these files, read in this order."""
    items = "".join(f'<item id="i{n}" href="{name}" media-type="application/xhtml+xml"/>'
                    for n, name in enumerate(order))
    spine = "".join(f'<itemref idref="i{n}"/>' for n in range(len(order)))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as book:
        book.writestr("mimetype", "application/epub+zip")
        book.writestr("META-INF/container.xml", '<container><rootfiles><rootfile full-path="content.opf"/></rootfiles>'
                                                "</container>")
        book.writestr("content.opf", f"<package><manifest>{items}</manifest><spine>{spine}</spine></package>")
        for name, content in files.items():
            book.writestr(name, content)
    return buffer.getvalue()


def archive(page: bytes, url: str = "http://example.org/bees") -> bytes:
    """A WARC with a request and a response."""
    http = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\r\n" + page
    return (_record("request", "application/http;msgtype=request", b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n", url)
            + _record("response", "application/http;msgtype=response", http, url))


def conversion(text: bytes, url: str = "http://example.org/bees") -> bytes:
    """A WET with one text."""
    return _record("conversion", "text/plain", text, url)


def _record(kind: str, content_type: str, block: bytes, url: str) -> bytes:
    return (f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Target-URI: {url}\r\nWARC-Record-ID: <urn:{kind}>\r\n"
            f"WARC-Date: 2026-01-01T00:00:00Z\r\nContent-Type: {content_type}\r\nContent-Length: {len(block)}\r\n\r\n"
            ).encode() + block + b"\r\n\r\n"


def pdf(text: str) -> bytes:
    """A PDF of one page with a line of text."""
    stream = f"BT /F1 12 Tf 50 700 Td ({text}) Tj ET".encode()
    objects = [b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
               b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>",
               b"<</Length %d>>stream\n%s\nendstream" % (len(stream), stream),
               b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"]
    content, places = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, start=1):
        places.append(len(content))
        content += b"%d 0 obj%s endobj\n" % (number, body)
    start = len(content)
    content += b"xref\n0 6\n0000000000 65535 f \n" + b"".join(b"%010d 00000 n \n" % place for place in places)
    return content + b"trailer<</Size 6/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % start


def bombs() -> list[tuple[str, bytes]]:
    """Files made to harm."""
    entities = '<!ENTITY a0 "ha">' + "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12))
    laughs = f"<!DOCTYPE m [{entities}]><mediawiki><page><title>&a11;</title><text>x</text></page></mediawiki>"
    outside = ('<!DOCTYPE m [<!ENTITY x SYSTEM "file:///etc/passwd">]><mediawiki><page><text>&x;</text></page>'
               "</mediawiki>")
    return [
        ("empty.txt", b""), ("empty.html", b""), ("empty.jsonl", b""), ("empty.gz", b""), ("empty.epub", b""),
        ("blank.txt", b" \n" * 1000), ("nothing.unknown", b"\0\1\2\3" * 50),
        ("latin.txt", "h\xf4tel ".encode("latin-1")),
        ("badutf8.txt", b"ok \xc3\x28 \xa0\xa1 \xf0\x28\x8c\xbc" * 50), ("utf16.txt", "蜜蜂嗡嗡".encode("utf-16")),
        ("nul.txt", b"\0" * 100_000), ("line.txt", b"a" * 5_000_000), ("line.jsonl", b'{"text": "' + b"a" * 30_000_000),
        ("array.jsonl", b"[" * 200_000), ("deep.jsonl", b'{"a":' * 50_000), ("half.jsonl", b'{"text": "\\ud83d"}\n'),
        ("wrong.jsonl", b'{"text": 5}\n[1]\n"x"\n{"txt": 1}\nnull\n{"text": ""}\n{"text": "a", "id": [1]}\n'),
        ("nested.html", b"<div>" * 100_000 + b"x"), ("tables.html", b"<table><tr><td>" * 20_000 + b"x"),
        ("spans.html", b"<html><body><p>" + b"<b><i>x</b></i>" * 30_000), ("attrs.html", b"<p " + b"a='1' " * 200_000),
        ("unclosed.html", b"<html><body><!-- " + b"x" * 1_000_000), ("script.html", b"<script>" + b"<p>" * 300_000),
        ("laughs.xml", laughs.encode()), ("outside.xml", outside.encode()), ("other.xml", b"<a><b/></a>"),
        ("bomb.txt.gz", gzip.compress(b"\0" * 50_000_000)), ("bomb.html.gz", gzip.compress(b"<p>" * 7_000_000)),
        ("twice.gz", gzip.compress(gzip.compress(b"bees"))), ("bomb.epub", epub({"a.html": b"x" * 60_000_000},
                                                                                ["a.html"])),
        ("paths.epub", epub({"../../../../etc/cron.d/x": PAGE, "/etc/passwd": PAGE},
                            ["../../../../etc/cron.d/x", "/etc/passwd", "file:///etc/passwd"])),
        ("loop.epub", epub({"a.html": PAGE}, ["a.html"] * 9999)), ("zip.epub", b"PK\x03\x04" + b"\0" * 500),
        ("nolen.warc", b"WARC/1.0\r\nWARC-Type: response\r\n\r\n" + PAGE),
        ("long.warc", archive(PAGE).replace(b"Content-Length: ", b"Content-Length: 9999999")),
        ("minus.warc", archive(PAGE).replace(b"Content-Length: ", b"Content-Length: -")),
        ("deep.pdf", b"%PDF-1.4\n1 0 obj" + b"<<" * 50_000), ("head.parquet", b"PAR1" + b"\xff" * 200 + b"PAR1"),
    ]


if __name__ == "__main__":
    main()
