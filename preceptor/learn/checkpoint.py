"""Checkpoints: everything that the next optimiser step depends on, written whole or not at all.

    checkpoints/step-00000200/state.pt      weights in full precision, optimisers, averages, loss scale, random states,
                                            cursors, running levels, rescues, best score
    checkpoints/step-00000200/state.sha256  checksum of state.pt

A checkpoint whose checksum does not fit is passed over, with a line that says so, and the one before it is used.
"""

import random
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from preceptor.run.files import hash_path, replacing
from preceptor.run.processes import leads, meet


def save_checkpoint(folder: Path, number: int, state: dict[str, Any], keep: int) -> None:
    """Write the checkpoint of optimiser step `number` and remove all but the last `keep`; the leader alone does."""
    if leads():
        with replacing(checkpoint_path(folder, number)) as temporary:
            temporary.mkdir()
            torch.save(state, temporary / "state.pt")
            (temporary / "state.sha256").write_text(hash_path(temporary / "state.pt"))
        for old in _checkpoints(folder)[:-max(keep, 1)]:
            shutil.rmtree(old)
    meet()


def keep_for_good(folder: Path, number: int, place: Path) -> None:
    """Copy the checkpoint of optimiser step `number` to `place`, where no later one removes it."""
    if leads():
        with replacing(place) as temporary:
            shutil.copytree(checkpoint_path(folder, number), temporary)


def load_checkpoint(folder: Path) -> tuple[int, dict[str, Any]] | None:
    """The newest whole checkpoint as (optimiser step, state), or None when there is none."""
    return next(whole_checkpoints(folder), None)


def whole_checkpoints(folder: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Checkpoints as (optimiser step, state), the newest first; damaged ones are passed over, with a line."""
    for path in reversed(_checkpoints(folder)):
        try:
            if hash_path(path / "state.pt") == (path / "state.sha256").read_text():
                state = torch.load(path / "state.pt", map_location="cpu", weights_only=True)
                yield int(path.name.removeprefix("step-")), state
                continue
        except OSError:
            pass
        print(f"Checkpoint {path.name} is damaged; using the one before it.", file=sys.stderr)


def checkpoint_path(folder: Path, number: int) -> Path:
    """The folder of the checkpoint of optimiser step `number`."""
    return folder / f"step-{number:08d}"


def _checkpoints(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*")) if folder.is_dir() else []


def random_states() -> dict[str, Any]:
    """The state of every global source of randomness."""
    version, words, gauss = random.getstate()
    states: dict[str, Any] = {"torch": torch.get_rng_state(), "python": [version, list(words), gauss]}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state_all()
    return states


def restore_random_states(states: dict[str, Any]) -> None:
    """Set every global source of randomness back to `random_states()`."""
    torch.set_rng_state(states["torch"])
    version, words, gauss = states["python"]
    random.setstate((version, tuple(words), gauss))
    if "cuda" in states:
        torch.cuda.set_rng_state_all(states["cuda"])
