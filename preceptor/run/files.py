"""Atomic writes and content hashes.

A reader sees a file or a folder whole or not at all: everything is written beside its place under a name that starts
with a dot, flushed to the disk, and then renamed. What a killed process leaves behind is such a dotted name, and it is
removed by the next writer.
"""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from preceptor.run.errors import UserError
from preceptor.run.processes import leads, rank

PROBE = 1 << 20  # bytes that must fit for a failed write not to be blamed on the disk


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path; when the block ends well, what was written there takes the place of `path`.

    Of several processes only the leader's takes it; what the others wrote, which is the same, is removed.

    Raises:
        OSError: with ENOSPC and the name of `path`, where the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.writing" + ("" if leads() else f"-{rank()}"))
    _remove(temporary)
    try:
        yield temporary
        if not leads():
            return
        _flush(temporary)
        if path.is_dir() and not path.is_symlink():  # a folder cannot be renamed over a folder that has files
            old = path.with_name(f".{path.name}.replaced")
            _remove(old)
            path.rename(old)
            temporary.rename(path)
            _remove(old)
        else:
            temporary.replace(path)
        _flush(path.parent, children=False)
    except Exception as error:
        _name_full_disk(path, error)
        raise
    finally:
        _remove(temporary)


def refuse_to_replace(folder: Path, mark: str = "") -> None:
    """Refuse a folder that holds anything, but for one with the file `mark`, which says that the same command wrote it:
    `replacing` would remove all that is there.

    Raises:
        UserError: it does.
    """
    ours = mark and (folder / mark).is_file()
    if not ours and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"'{folder}' exists, and holds something that this command did not write.",
                        "Give --to a new folder.")


def _name_full_disk(path: Path, error: Exception) -> None:
    """Raise ENOSPC with the file's name where a write failed because there was no room.

    Python leaves out the name; torch, safetensors and tokenizers report a full disk as errors of their own, so that
    only trying to write shows whether it is one. What was half written still takes its room at this time.
    """
    if not isinstance(error, (OSError, UserError)):
        error = _failure_to_write(path.with_name(f".{path.name}.room")) or error
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        raise OSError(error.errno, error.strerror, str(path)) from error


def _failure_to_write(probe: Path) -> OSError | None:
    try:
        probe.write_bytes(bytes(PROBE))
    except OSError as error:
        return error
    finally:
        probe.unlink(missing_ok=True)
    return None


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _flush(path: Path, children: bool = True) -> None:
    """Ask the kernel to put `path` on the disk, so that a rename never outlives its content."""
    if children and path.is_dir():
        for child in sorted(path.rglob("*")):
            if child.is_file():
                _flush(child)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file atomically, indented for people."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        UserError: the file is missing or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"There is no file '{path}'.", "Check the path.") from None
    except ValueError as error:
        raise UserError(f"'{path}' is not valid JSON: {error}.", "Mend the file, or make it anew.") from None


def hash_value(value: Any) -> str:
    """SHA-256 of a JSON value, independent of the order of its keys."""
    canonical = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def hash_path(path: Path) -> str:
    """SHA-256 of the content of a file, or of the names and contents of a folder's files."""
    if path.is_dir():
        children = sorted(child for child in path.rglob("*") if child.is_file())
        return hash_value([[str(child.relative_to(path)), hash_path(child)] for child in children])
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_lines(path: Path, lines: Iterable[str]) -> int:
    """Write lines atomically, without holding them in memory; returns how many."""
    count = 0
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        for line in lines:
            file.write(line + "\n")
            count += 1
    return count
