"""Which models of a run can be talked with, by the names of its steps."""

from pathlib import Path

from preceptor.run.errors import UserError
from preceptor.run.manifest import read_manifest, step_folder

POLICIES = ("ppo_ptx", "ppo", "select", "sft", "base")
"""The steps of the shipped recipes that make one, the newest first; other steps of stage `rlhf` are newer."""


def policies(run: Path) -> dict[str, Path]:
    """The folders of the steps that have made a policy so far, by name, the newest first."""
    found = {}
    steps = read_manifest(run)["steps"]
    trained = [name for name in reversed(steps) if steps[name]["stage"] == "rlhf" and name not in POLICIES]
    for name in (*trained, *POLICIES):
        try:
            folder = step_folder(run, name)
        except UserError:  # this recipe has no such step, or has not come so far
            continue
        if (folder / "model").is_dir():
            found[name] = folder
    return found
