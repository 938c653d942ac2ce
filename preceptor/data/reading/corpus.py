"""A corpus as a stream: every file that a user named, every piece of it as documents or as a problem, in one order.

The cursor is (file, piece): reading again from it yields exactly what would have come next. Pieces before the cursor
are passed over without extraction, which is where the time goes.
"""

import lzma
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from preceptor.data.reading.extraction import ExtractionError
from preceptor.data.reading.files import format_of
from preceptor.data.reading.options import ReadingOptions
from preceptor.data.reading.plain import read_text, whole_file
from preceptor.data.reading.raw import Piece, Problem, Raw, Reader
from preceptor.data.reading.tables import read_json, read_lines, read_parquet
from preceptor.data.reading.warc import read_warc
from preceptor.data.reading.wikipedia import read_wikipedia
from preceptor.data.reading.worker import ExtractionProcess
from preceptor.data.records import Document

READERS: dict[str, Reader] = {
    "warc": read_warc, "html": whole_file("html"), "pdf": whole_file("pdf"), "epub": whole_file("epub"),
    "wikipedia": read_wikipedia, "jsonl": read_lines, "json": read_json, "parquet": read_parquet, "text": read_text,
}


@dataclass(frozen=True, slots=True)
class Cursor:
    """The next piece to be read: `piece` of the file with number `file`."""

    file: int = 0
    piece: int = 0


@dataclass(frozen=True, slots=True)
class Found:
    """What came of one piece of a file; `next` is the cursor behind it. `last` marks the end of the file."""

    path: Path
    format: str
    documents: list[Document]
    problem: Problem | None
    next: Cursor
    last: bool = False


def read_corpus(files: Sequence[Path], options: ReadingOptions, start: Cursor = Cursor()) -> Iterator[Found]:
    """Documents and problems of files, in order, from a cursor on. Each file ends with a `Found` marked `last`."""
    with ExtractionProcess(options.seconds, options.memory) as process:
        for number in range(start.file, len(files)):
            path = files[number]
            kind = format_of(path)
            first = start.piece if number == start.file else 0
            place = first
            for place, piece in enumerate(_pieces(path, kind, options)):
                if place >= first:
                    yield _found(piece, path, kind or "unknown", place, process, options, Cursor(number, place + 1))
            yield Found(path, kind or "unknown", [], None, Cursor(number + 1), last=True)


def _pieces(path: Path, kind: str | None, options: ReadingOptions) -> Iterator[Piece]:
    """The pieces of a file; a failure of the file itself becomes the last of them."""
    if kind is None:
        yield Problem("format is unknown")
        return
    try:
        yield from READERS[kind](path, options.passage if kind == "text" else options.largest)
    except (EOFError, OSError, ValueError, zlib.error, lzma.LZMAError) as error:
        yield Problem("file is damaged", f"{type(error).__name__}: {str(error)[:160]}")
    except Exception as error:
        if not type(error).__module__.startswith(("zstandard", "warcio", "zstd")):
            raise
        yield Problem("file is damaged", f"{type(error).__name__}: {str(error)[:160]}")


def _found(piece: Piece, path: Path, kind: str, place: int, process: ExtractionProcess, options: ReadingOptions,
           after: Cursor) -> Found:
    if isinstance(piece, Problem):
        return Found(path, kind, [], piece, after)
    try:
        texts = _texts(piece, process, options)
    except ExtractionError as error:
        return Found(path, kind, [], Problem(str(error), piece.id or ""), after)
    name = piece.id or f"{path.name}:{place + 1}"
    source = piece.source or path.name.partition(".")[0] or path.name
    documents = [Document(text, name if len(texts) == 1 else f"{name}#{part}", source, piece.language, piece.license)
                 for part, text in enumerate(texts, start=1)]
    return Found(path, kind, documents, None, after)


def _texts(piece: Raw, process: ExtractionProcess, options: ReadingOptions) -> list[str]:
    if piece.kind == "text":
        return [piece.content]
    content = piece.content.encode("utf-8", "replace") if isinstance(piece.content, str) else piece.content
    careful = options.extractor == "careful"
    try:
        return process.extract(piece.kind, content, charset=piece.charset, careful=careful, largest=options.largest)
    except ExtractionError:
        if piece.kind != "html" or not careful:
            raise
    return process.extract(piece.kind, content, charset=piece.charset, careful=False, largest=options.largest)


def fingerprint(files: Sequence[Path]) -> list[tuple[str, int]]:
    """What a cursor belongs to: the names and sizes of the files, in order."""
    return [(str(path), path.stat().st_size) for path in files]
