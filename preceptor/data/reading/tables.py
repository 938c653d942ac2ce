"""Rows with a `text`: JSON Lines, JSON and Parquet. A bad row is a problem of its own; the rows behind it are read."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from preceptor.data.foreign import document_of
from preceptor.data.reading.files import opened
from preceptor.data.reading.raw import Piece, Problem, Raw
from preceptor.run.errors import UserError

GROUP = 256  # rows of a Parquet file in memory at once


def read_lines(path: Path, largest: int) -> Iterator[Piece]:
    """One document for each JSON object; a line longer than `largest` is passed over without being held."""
    with opened(path) as stream:
        number = 0
        while line := stream.readline(largest + 1):
            number += 1
            if len(line) > largest and not line.endswith(b"\n"):
                while line and not line.endswith(b"\n"):
                    line = stream.readline(largest + 1)
                yield Problem("larger than the option 'largest'", f"line {number}")
            elif line.strip():
                yield _parsed(line, number, path.name.partition(".")[0])
    if number == 0:
        yield Problem("file is empty")


def read_json(path: Path, largest: int) -> Iterator[Piece]:
    """One document for each object of a list, or for the one object that a file holds; it is read in one piece."""
    with opened(path) as stream:
        content = stream.read(largest + 1)
    if len(content) > largest:
        yield Problem("larger than the option 'largest'")
        return
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        if content.lstrip().startswith(b"["):
            yield Problem("file is not valid JSON")
        else:
            yield from read_lines(path, largest)  # many call JSON Lines so
        return
    for number, row in enumerate(found if isinstance(found, list) else [found], start=1):
        yield _row(row, number, path.name.partition(".")[0])


def _parsed(line: bytes, number: int, stem: str) -> Piece:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):  # UnicodeDecodeError is a ValueError
        return Problem("line is not valid JSON", f"line {number}")
    return _row(row, number, stem)


def _row(row: Any, number: int, stem: str) -> Piece:
    if not isinstance(row, dict):
        return Problem("row is not an object", f"row {number}")
    try:
        document, _ = document_of(row, f"{stem}:{number}", stem)
        document.text.encode()
    except (UserError, UnicodeEncodeError):
        return Problem("row has no text", f"row {number}")
    return Raw("text", document.text, document.id, document.source, document.language, document.license)


def read_parquet(path: Path, largest: int) -> Iterator[Piece]:
    """One document for each row of a Parquet file with a column `text`."""
    import pyarrow
    import pyarrow.parquet
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            if "text" not in file.schema_arrow.names:
                yield Problem("table has no column 'text'")
                return
            number = 0
            for batch in file.iter_batches(batch_size=GROUP):
                for row in batch.to_pylist():
                    number += 1
                    size = len(row["text"] or "") if isinstance(row["text"], str) else 0
                    yield (Problem("larger than the option 'largest'", f"row {number}") if size > largest
                           else _row(row, number, path.name.partition(".")[0]))
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        yield Problem("Parquet file is damaged", str(error)[:200])
