"""How far a run has come, from its folder alone, and the process that goes on with it."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from preceptor.run.errors import UserError
from preceptor.run.files import read_json
from preceptor.run.log import read_log
from preceptor.run.manifest import in_use, read_manifest

OUTPUT = "next-round.txt"  # in the run folder: what the process said


@dataclass(frozen=True, slots=True)
class StepState:
    """One step: `state` is done, running, waiting (for people), stopped, or to_do; `share` of it that is done."""

    name: str
    state: str
    seconds: float
    share: float | None = None
    waits_for: int = 0


@dataclass(frozen=True, slots=True)
class RunState:
    """A run: whether a process works on it, its steps, and what can be started: go_on, one_more, relearn, or None."""

    running: bool
    steps: list[StepState]
    next: str | None
    said: list[str]


def run_state(run: Path, begun: bool = False) -> RunState | None:
    """What there is to show of a run folder; None where no recipe was run in it.

    Args:
        begun: a process was started that may not have taken hold of the folder yet.
    """
    manifest, recipe = read_manifest(run), run / "recipe.yaml"
    if not manifest["steps"] or not recipe.exists():
        return None
    names = [step["name"] for step in yaml.safe_load(recipe.read_text(encoding="utf-8"))["steps"]]
    running, log = begun or in_use(run), read_log(run / "log.jsonl")
    steps = [_step(name, manifest["steps"].get(name), log.get(name, {}), running) for name in names]
    unfinished = any(step.state != "done" for step in steps)
    command = manifest.get("command")
    following = None
    if command and not running:
        following = "go_on" if unfinished else "one_more" if command["rounds"] else \
            "relearn" if manifest["steps"].get("reward", {}).get("stage") == "reward" else None
    output = run / OUTPUT
    said = output.read_text(encoding="utf-8", errors="replace").splitlines()[-3:] if output.exists() else []
    return RunState(running, steps, following, said if not running else [])


def _step(name: str, entry: dict[str, Any] | None, log: dict[int, dict[str, Any]], running: bool) -> StepState:
    if entry is None:
        return StepState(name, "to_do", 0.0)
    state = "stopped" if entry["status"] == "running" and not running else entry["status"]
    planned = log.get(0, {}).get("plan", {}).get("optimiser_steps")
    share = min(1.0, max(log) / planned) if planned and state == "running" else None
    return StepState(name, state, entry["wall_seconds"], share, entry.get("waits_for", 0))


def start_next(run: Path, place: str, begun: bool = False) -> subprocess.Popen[bytes]:
    """Start a process that goes on with the run: what is left, a round more, or the labels of the store at `place`.

    Raises:
        UserError: a process works on the run, or nobody has told how it was run.
    """
    state, command = run_state(run, begun), read_manifest(run).get("command")
    if state is None or state.next is None or command is None:
        raise UserError("There is no round to start: a process works on this run, or it was not started by a recipe.",
                        "Wait for it, or give the command preceptor run yourself.")
    sets = [*command["sets"]]
    if state.next == "one_more":
        sets.append(f"rounds={command['rounds'] + 1}")
    elif state.next == "relearn":
        sets.append(f"reward.needs.comparisons={place}")
    arguments = ["run", command["recipe"], "--out", str(run.resolve())]
    arguments += [part for name in command["settings"] for part in ("--setting", name)]
    arguments += [part for change in sets for part in ("--set", change)]
    with (run / OUTPUT).open("w", encoding="utf-8") as output:
        return subprocess.Popen([sys.executable, "-m", "preceptor.cli.main", *arguments], cwd=command["folder"],
                                stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True)


def final_ladder(run: Path) -> dict[str, Any] | None:
    """results.json of a run's ladder step, where one is done."""
    done = [entry for entry in read_manifest(run)["steps"].values()
            if entry["stage"] == "ladder" and entry["status"] == "done"]
    return read_json(run / done[-1]["folder"] / "results.json") if done else None
