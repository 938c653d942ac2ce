"""Plain text and Markdown, cut at blank lines as it streams; and whole files that the extractor takes in one piece."""

import codecs
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from preceptor.data.reading.files import opened
from preceptor.data.reading.raw import Kind, Piece, Problem, Raw, Reader

CHUNK = 1 << 20
BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
        (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
PARAGRAPH = re.compile(r"\n[ \t\r]*\n")


def read_text(path: Path, passage: int) -> Iterator[Piece]:
    """Passages of at least `passage` bytes that end at a blank line, or after twice that wherever they are."""
    with opened(path) as stream:
        head = stream.read(CHUNK)
        if not head.strip():
            yield Problem("file is empty")
            return
        if b"\0" in head and not head.startswith(tuple(bom for bom, _ in BOMS[1:])):
            yield Problem("file is binary, not text")
            return
        encoding = encoding_of(head)
        if encoding is None:
            yield Problem("encoding is unknown")
            return
        for number, text in enumerate(_passages(_decoded(stream, head, encoding), passage), start=1):
            yield Raw("text", text, f"{path.name}:{number}")


def encoding_of(head: bytes) -> str | None:
    """UTF-8 where the bytes are UTF-8, else what a byte order mark or their statistics say."""
    for bom, name in BOMS:
        if head.startswith(bom):
            return name
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)  # a character may be cut at the end of the chunk
        return "utf-8"
    except UnicodeDecodeError:
        from resiliparse.parse.encoding import detect_encoding
        name = detect_encoding(head)
    try:
        return codecs.lookup(name).name if name and name != "utf-8" else "utf-8"
    except LookupError:
        return None


def _decoded(stream: BinaryIO, head: bytes, encoding: str) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder(encoding)("replace")
    while head:
        yield decoder.decode(head)
        head = stream.read(CHUNK)
    yield decoder.decode(b"", True)


def _passages(chunks: Iterator[str], passage: int) -> Iterator[str]:
    """Cut a stream of text; joined, the pieces are the text again, but for white space at the cuts."""
    rest = ""
    for chunk in chunks:
        rest += chunk.replace("\r\n", "\n")
        while len(rest) >= 2 * passage:  # characters stand for bytes: a Chinese passage holds more of the latter
            found = PARAGRAPH.search(rest, passage, 2 * passage)
            end = found.end() if found else rest.rfind("\n", passage, 2 * passage) + 1 or 2 * passage
            if rest[:end].strip():
                yield rest[:end].strip("\n")
            rest = rest[end:]
    if rest.strip():
        yield rest.strip("\n")


def whole_file(kind: Kind) -> Reader:
    """A reader that hands a file to the extractor in one piece."""
    def read(path: Path, largest: int) -> Iterator[Piece]:
        with opened(path) as stream:
            content = stream.read(largest + 1)
        if len(content) > largest:
            yield Problem("larger than the option 'largest'")
        elif not content.strip():
            yield Problem("file is empty")
        else:
            yield Raw(kind, content, path.name)
    return read
