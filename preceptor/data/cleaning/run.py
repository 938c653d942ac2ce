"""Clean a whole corpus into shards that can be stopped and gone on with.

    OUT/options.json              the sources, and every option with its value
    OUT/documents/00000.jsonl     what is kept
    OUT/decisions/00000.jsonl     a line for each document and problem, and the cursor behind them

A shard of decisions is written, whole, after its shard of documents; so as many shards of decisions as there are, so
many are done. Going on reads them back to know what was kept, and reads the sources on from the cursor.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from preceptor.data.cleaning.cleaner import Cleaner
from preceptor.data.cleaning.contamination import evaluation_files
from preceptor.data.cleaning.options import CleaningOptions
from preceptor.data.jsonl import read_rows, write_jsonl
from preceptor.data.reading.corpus import Cursor, Found, fingerprint, read_corpus
from preceptor.data.reading.files import expand
from preceptor.data.reading.options import ReadingOptions
from preceptor.data.records import Document
from preceptor.run.errors import UserError
from preceptor.run.files import read_json, write_json

SHARD = 1000  # documents that are read for one shard: what a killed run does again


def clean_corpus(sources: Sequence[str | Path], out: Path, reading: ReadingOptions, cleaning: CleaningOptions,
                 done: Callable[[int, int, int], None] = lambda shards, files, all_files: None) -> int:
    """Read and clean sources into the folder `out`, or go on where that stopped; returns how many shards there are.

    `done` is told after each shard how many shards and files are done, of how many files.

    Raises:
        UserError: a source does not exist, or `out` holds the result of other sources or options.
    """
    files = expand(sources, without=out)
    read_too = evaluation_files(cleaning.contamination)
    _claim(out, {"files": fingerprint([*files, *read_too]), "reading": asdict(reading), "cleaning": asdict(cleaning)})
    cleaner = Cleaner(cleaning)
    shards, cursor = _remembered(out, cleaner)
    kept: list[Document] = []
    rows: list[dict[str, Any]] = []
    read = 0
    for found in read_corpus(files, reading, cursor):
        rows += _accounted(found)
        for document in found.documents:
            clean, decision = cleaner.clean(document)
            rows.append(decision.to_dict())
            kept += [clean] if clean else []
            read += 1
        if read >= SHARD or (found.next == Cursor(len(files)) and found.last):
            _write_shard(out, shards, kept, rows, found.next)
            shards, kept, rows, read = shards + 1, [], [], 0
            done(shards, found.next.file, len(files))
    return shards


def _accounted(found: Found) -> list[dict[str, Any]]:
    if found.last:
        return [{"file": str(found.path), "format": found.format}]
    if found.problem:
        return [{"problem": found.problem.what, "detail": found.problem.detail, "in": str(found.path)}]
    return []


def _claim(out: Path, settings: dict[str, Any]) -> None:
    """Make the folder this run's, or see that it is."""
    path = out / "options.json"
    settings = json.loads(json.dumps(settings))  # tuples are lists there
    if path.exists() and read_json(path) != settings:
        raise UserError(f"'{out}' holds the result of other sources or options.", "Give another folder with --out.")
    write_json(path, settings)


def _remembered(out: Path, cleaner: Cleaner) -> tuple[int, Cursor]:
    """How many shards are done and where reading goes on; the cleaner is told what they kept."""
    cursor = Cursor()
    paths = sorted((out / "decisions").glob("[0-9]*.jsonl"))
    for path in paths:
        rows = [row for _, row in read_rows(path)]
        kept = [row for row in rows if "id" in row and "dropped" not in row]  # in the order of the documents: files
        for row, (_, document) in zip(kept, read_rows(out / "documents" / path.name), strict=True):  # may share names
            if cleaner.options.duplicates.on:
                cleaner.memory.remember(document["id"], document["text"], row["key"])
        cursor = Cursor(*rows[-1]["cursor"])
    return len(paths), cursor


def _write_shard(out: Path, number: int, kept: list[Document], rows: list[dict[str, Any]], cursor: Cursor) -> None:
    name = f"{number:05}.jsonl"
    write_jsonl(out / "documents" / name, kept)
    write_jsonl(out / "decisions" / name, [*rows, {"cursor": [cursor.file, cursor.piece]}])


def decisions(out: Path) -> Iterator[dict[str, Any]]:
    """All lines of decisions, in order.

    Raises:
        UserError: the folder holds none.
    """
    paths = sorted((out / "decisions").glob("[0-9]*.jsonl"))
    if not paths:
        raise UserError(f"'{out}' is no cleaned corpus.", "Give the folder that 'preceptor data clean' wrote.")
    for path in paths:
        for _, row in read_rows(path):
            yield row


def kept_documents(out: Path) -> Iterator[Document]:
    """What was kept, in order."""
    for path in sorted((out / "documents").glob("[0-9]*.jsonl")):
        for _, row in read_rows(path):
            yield Document.from_dict(row)
