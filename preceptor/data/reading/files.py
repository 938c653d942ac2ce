"""Which files a user named, what format each has, and its bytes after decompression, as a stream."""

import bz2
import gzip
import io
import lzma
import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from preceptor.run.errors import UserError

COMPRESSIONS = {".gz": b"\x1f\x8b", ".bz2": b"BZh", ".xz": b"\xfd7zXZ\x00", ".zst": b"\x28\xb5\x2f\xfd"}
FORMATS = {
    ".warc": "warc", ".wet": "warc", ".wat": "warc", ".arc": "warc",
    ".html": "html", ".htm": "html", ".xhtml": "html",
    ".xml": "wikipedia", ".epub": "epub", ".pdf": "pdf",
    ".txt": "text", ".text": "text", ".md": "text", ".markdown": "text",
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json", ".parquet": "parquet",
}
MAGIC = ((b"%PDF-", "pdf"), (b"PAR1", "parquet"), (b"WARC/", "warc"), (b"filedesc://", "warc"), (b"PK\x03\x04", "epub"))


def expand(sources: Sequence[str | Path], without: Path | None = None) -> list[Path]:
    """The files that paths, folders and glob patterns name, each once, in the order of their names.

    What lies in the folder `without` is passed over: where the result goes is no source, even inside one.

    Raises:
        UserError: a path does not exist, or a pattern or folder holds no file.
    """
    files: dict[Path, None] = {}
    for source in sources:
        path = Path(source)
        if path.is_dir():
            found = [file for file in path.rglob("*") if file.is_file() and not _hidden(file.relative_to(path))]
        elif path.exists():
            found = [path]
        elif any(mark in str(source) for mark in "*?["):
            anchor = Path(path.anchor) if path.is_absolute() else Path()
            found = [file for file in anchor.glob(str(path.relative_to(path.anchor))) if file.is_file()]
        else:
            raise UserError(f"There is no file or folder '{source}'.", "Check the path.")
        found = [file for file in found if without is None or not file.resolve().is_relative_to(without.resolve())]
        if not found:
            raise UserError(f"'{source}' names no file.", "Check the pattern, or put files into the folder.")
        files |= dict.fromkeys(sorted(found))
    return list(files)


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def format_of(path: Path) -> str | None:
    """The format that a file's name says, else its first bytes; None where neither says one."""
    name = path.name.lower()
    for suffix in COMPRESSIONS:
        name = name.removesuffix(suffix)
    named = FORMATS.get(os.path.splitext(name)[1])
    if named:
        return named
    try:
        with opened(path) as stream:
            head = stream.read(4096)
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError):
        return None
    return _sniffed(head)


def _sniffed(head: bytes) -> str | None:
    for magic, kind in MAGIC:
        if head.startswith(magic):
            return kind
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return "html"
    if start.startswith(b"<mediawiki"):
        return "wikipedia"
    if start.startswith(b"{") and (b"\n" not in start or start.partition(b"\n")[0].rstrip().endswith(b"}")):
        return "jsonl"
    if start.startswith(b"[") and start[1:].lstrip().startswith(b"{"):
        return "json"
    return "text" if head and b"\0" not in head else None


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """The bytes of a file after decompression. Its first bytes say how it is compressed, whatever its name says."""
    with path.open("rb") as file:
        head = file.read(8)
        file.seek(0)
        yield _decompressed(file, head)


def _decompressed(file: BinaryIO, head: bytes) -> BinaryIO:
    if head.startswith(COMPRESSIONS[".gz"]):
        return gzip.open(file)
    if head.startswith(COMPRESSIONS[".bz2"]):
        return bz2.open(file)
    if head.startswith(COMPRESSIONS[".xz"]):
        return lzma.open(file)
    if head.startswith(COMPRESSIONS[".zst"]):
        try:
            import zstandard
        except ModuleNotFoundError:
            raise UserError("Reading .zst files needs the package zstandard.",
                            "pip install 'preceptor[corpus]'") from None
        return io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True))
    return file
