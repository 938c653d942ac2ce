"""Records in JSON Lines files, plain or gzipped. A bad line is named by its number and the reason."""

import gzip
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from preceptor.data.records import Record
from preceptor.run.errors import UserError
from preceptor.run.files import write_lines

R = TypeVar("R", bound=Record)


def read_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number, JSON object) of each line that is not blank.

    Raises:
        UserError: the file is missing or unreadable, or a line is not a JSON object.
    """
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8", newline="\n") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, _parse(path, number, line)
    except FileNotFoundError:
        raise UserError(f"There is no file '{path}'.", "Check the path in your recipe.") from None
    except UnicodeDecodeError as error:
        raise UserError(f"'{path}' is not UTF-8 text: {error.reason} at byte {error.start}.",
                        "Save the file as UTF-8.") from None
    except (EOFError, gzip.BadGzipFile) as error:
        raise UserError(f"'{path}' is a broken gzip file: {error}.", "Fetch or compress it again.") from None
    except IsADirectoryError:
        raise UserError(f"'{path}' is a folder, not a file.", "Name a .jsonl file.") from None


def _parse(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise UserError(f"Line {number} of '{path}' is not valid JSON: {error}.", "Mend or remove that line.") from None
    if not isinstance(row, dict):
        raise UserError(f"Line {number} of '{path}' is not a JSON object.", "Write one object a line, in braces.")
    return row


def read_jsonl(path: Path, kind: type[R]) -> list[R]:
    """Read all records of a file.

    Raises:
        UserError: a line cannot be read as `kind` (its number and the reason are named), or the file has no record.
    """
    records = []
    for number, row in read_rows(path):
        try:
            records.append(kind.from_dict(row))
        except UserError as error:
            raise UserError(f"Line {number} of '{path}': {error.cause}", error.cure) from None
    if not records:
        raise UserError(f"'{path}' holds no records.", f"Put at least one {kind.__name__} in it.")
    return records


def write_jsonl(path: Path, records: Iterable[Record | dict[str, Any]]) -> int:
    """Write records atomically, one a line; returns how many."""
    rows = (record.to_dict() if isinstance(record, Record) else record for record in records)
    return write_lines(path, (json.dumps(row, ensure_ascii=False) for row in rows))
