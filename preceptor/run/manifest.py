"""The manifest of a run, `run.json`: what each step is, whether it is done, and what it took.

    {"recipe", "seed", "machine", "versions", "command": {"recipe", "settings", "sets", "folder", "rounds"},
     "steps": {NAME: {"stage", "identity", "parts", "status", "seed", "attempts", "wall_seconds", "core_seconds",
                     "peak_rss_mb"}}}

`parts` are what the identity is the hash of, kept so that a later run can say what changed. A status is `running`,
`waiting` (for people, with how many rankings as `waits_for`) or `done`. `command` is how the run was last asked for, so
that a page can go on with it; it takes no part in any hash.
"""

import fcntl
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from preceptor.run.errors import UserError
from preceptor.run.files import read_json, write_json


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the run folder for this process; the kernel lets go of it however the process ends.

    Raises:
        UserError: another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"The run folder '{folder}' is in use by another process.",
                            "Wait for it to end, or give another folder with --out.") from None
        yield


def in_use(folder: Path) -> bool:
    """Whether a process holds the run folder at this moment."""
    if not (folder / ".lock").exists():
        return False
    with (folder / ".lock").open("r") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a run folder, or an empty one where there is none yet."""
    path = folder / "run.json"
    return read_json(path) if path.exists() else {"steps": {}}


def write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    """Write the manifest atomically."""
    write_json(folder / "run.json", manifest)


def step_folder(folder: Path, name: str) -> Path:
    """The folder of a finished or started step, by the step's name.

    Raises:
        UserError: the run has no such step.
    """
    found = [path for path in sorted(folder.glob("[0-9][0-9]-*")) if path.name[3:] == name]
    if not found:
        raise UserError(f"There is no step '{name}' in the run '{folder}'.", "Run it first, or check the name.")
    return found[0]


def plain_name(folder: Path) -> str:
    """The name of the step that a folder belongs to, or of the folder."""
    return re.sub(r"^\d\d-", "", folder.name)
