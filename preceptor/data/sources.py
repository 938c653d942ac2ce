"""A user's files: one file or a folder of them, JSONL (plain or gzipped) or plain text."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from preceptor.data.foreign import document_of
from preceptor.data.jsonl import read_rows
from preceptor.data.records import Document, Record
from preceptor.run.errors import UserError

R = TypeVar("R", bound=Record)
Reader = Callable[[dict[str, Any], str, str], tuple[R | list[R], set[str]]]  # a row may hold several records
JSONL, PLAIN = (".jsonl", ".jsonl.gz"), (".txt", ".md")


def read_records(path: Path, reader: Reader[R], noted: Counter[str]) -> list[R]:
    """All records of a JSONL file, or of the JSONL files in a folder, in the order of their names.

    What is ignored on the way is counted in `noted` under a phrase that a person can read.

    Raises:
        UserError: a line cannot be used (its file, number and the reason are named), or there is no record at all.
    """
    records = [record for file in _files(path, JSONL, noted) for record in _rows(file, reader, noted)]
    return with_own_ids(_some(records, path), noted)


def read_documents(path: Path, passage: int, noted: Counter[str]) -> list[Document]:
    """Documents of JSONL files with a `text` field and of plain text files, which are cut at blank lines.

    Raises:
        UserError: as for `read_records`, or a file is not UTF-8.
    """
    documents: list[Document] = []
    for file in _files(path, JSONL + PLAIN, noted):
        if file.suffix in PLAIN:
            parts = passages(read_plain(file), passage)
            documents += [Document(text, f"{file.name}:{number}", _stem(file)) for number, text in enumerate(parts, 1)]
        else:
            documents += _rows(file, document_of, noted)
    return with_own_ids(_some(documents, path), noted)


def passages(text: str, length: int) -> Iterator[str]:
    """Cut a text after at least `length` UTF-8 bytes at the next blank line, or after twice that at any line's end.

    Joined by line ends the pieces are the text again, but for pieces of white space only, which are left out.
    """
    piece: list[str] = []
    size = 0
    for line in text.split("\n"):  # not splitlines: U+2028 and its like are part of a line
        piece.append(line)
        size += len(line.encode()) + 1
        if size >= length and (not line.strip() or size >= 2 * length):
            yield from _unless_blank(piece)
            piece, size = [], 0
    yield from _unless_blank(piece)


def _unless_blank(lines: list[str]) -> Iterator[str]:
    text = "\n".join(lines)
    if text.strip():
        yield text


def _files(path: Path, suffixes: tuple[str, ...], noted: Counter[str]) -> list[Path]:
    if not path.is_dir():
        return [path]
    every = sorted(file for file in path.rglob("*") if file.is_file() and not file.name.startswith("."))
    files = [file for file in every if file.name.endswith(suffixes)]
    noted.update(f"files ignored that are not {', '.join(suffixes)}" for file in every if file not in files)
    if not files:
        raise UserError(f"The folder '{path}' has no file that ends in {', '.join(suffixes)}.",
                        "Put your files there, or name another folder.")
    return files


def _rows(file: Path, reader: Reader[R], noted: Counter[str]) -> Iterator[R]:
    stem = _stem(file)
    for number, row in read_rows(file):
        try:
            record, ignored = reader(row, f"{stem}:{number}", stem)
            json.dumps(row, ensure_ascii=False).encode()  # an escape may stand for half a character
        except UserError as error:
            raise UserError(f"Line {number} of '{file}': {error.cause}", error.cure) from None
        except UnicodeEncodeError:
            raise UserError(f"Line {number} of '{file}' holds half of a surrogate pair, "
                            "which is no character.", "Mend or remove that line.") from None
        noted.update(f"fields '{name}' ignored" for name in sorted(ignored))
        yield from record if isinstance(record, list) else [record]


def read_plain(file: Path) -> str:
    """A plain text file.

    Raises:
        UserError: it is not there, or not UTF-8.
    """
    try:
        return file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"There is no file '{file}'.", "Check the path.") from None
    except UnicodeDecodeError as error:
        raise UserError(f"'{file}' is not UTF-8 text: {error.reason} at byte {error.start}.",
                        "Save the file as UTF-8.") from None


def _stem(file: Path) -> str:
    return file.name.removesuffix(".gz").rpartition(".")[0] or file.name


def _some(records: list[R], path: Path) -> list[R]:
    if not records:
        raise UserError(f"'{path}' holds no records.", "Put at least one in it.")
    return records


def with_own_ids(records: list[R], noted: Counter[str]) -> list[R]:
    """Give a record whose id was there before an id of its own: datasets of several files count from 0 in each."""
    seen: set[str] = set()
    unique = []
    for place, record in enumerate(records):
        if record.id in seen:
            noted["repeated ids made unique"] += 1
            record = replace(record, id=f"{record.id}#{place}")
        seen.add(record.id)
        unique.append(record)
    return unique
