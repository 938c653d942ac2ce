"""The runner: does what is not done, redoes what changed, and goes on where it was killed."""

import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

from preceptor.feedback.place import is_store
from preceptor.recipe.identity import differences, identity_parts
from preceptor.recipe.load import Recipe, RecipeStep
from preceptor.recipe.stages import find_stage
from preceptor.run.errors import UserError, Waiting, nearest
from preceptor.run.files import hash_value, write_text
from preceptor.run.log import Log
from preceptor.run.machine import description, peak_rss_mb, prepare, versions
from preceptor.run.manifest import locked, read_manifest, write_manifest
from preceptor.run.processes import alone, joined, leads, meet
from preceptor.run.progress import clock
from preceptor.run.step import Step


def run_recipe(recipe: Recipe, folder: Path, again_from: str | None = None,
               command: Mapping[str, Any] | None = None) -> None:
    """Bring the run folder up to date with the recipe. The same call after a kill goes on where that one was.

    Args:
        again_from: a step that is redone, with all that depends on it, though nothing in the recipe changed (new
            labels, say).
        command: how a person asked for this, kept in the manifest for the page that goes on with the run.

    Raises:
        Waiting: a step waits for people.
        UserError: the folder is in use, `again_from` is not a step, or a stage met bad input.
    """
    with joined(), locked(folder) if leads() else nullcontext():
        manifest = read_manifest(folder)
        meet()  # all read what the leader is about to change
        parts = identity_parts(recipe)
        _announce(recipe, manifest, parts, _forced(recipe, again_from))
        for name in _forced(recipe, again_from):
            manifest["steps"].pop(name, None)
        manifest |= {"recipe": recipe.name, "seed": recipe.seed, "machine": description(), "versions": versions()}
        if command is not None:
            manifest["command"] = dict(command)
        write_text(folder / "recipe.yaml", recipe.to_yaml())
        write_manifest(folder, manifest)
        for number, step in enumerate(recipe.steps):
            entry = manifest["steps"].get(step.name)
            if not (entry and entry["identity"] == hash_value(parts[step.name]) and entry["status"] == "done"):
                _run_step(recipe, step, folder, f"{number:02d}-{step.name}", manifest, parts[step.name])


def _forced(recipe: Recipe, again_from: str | None) -> list[str]:
    """The step `again_from` and all that depend on it."""
    if again_from is None:
        return []
    names = [step.name for step in recipe.steps]
    if again_from not in names:
        raise UserError(f"There is no step '{again_from}' in recipe '{recipe.name}'.", nearest(again_from, names))
    forced = [again_from]
    for step in recipe.steps:
        if any(source.split("/")[0] in forced for source in step.needs.values()):
            forced.append(step.name)
    return forced


def _announce(recipe: Recipe, manifest: dict[str, Any], parts: dict[str, Any], forced: Sequence[str]) -> None:
    """Say, before work starts, which steps are done, which go on, and which are redone and why."""
    if not leads():
        return
    for step in recipe.steps:
        entry = manifest["steps"].get(step.name)
        if entry is None:
            state = "to do"
        elif step.name in forced:
            state = "redone, as asked"
        elif entry["identity"] != hash_value(parts[step.name]):
            state = f"redone: {', '.join(differences(entry['parts'], parts[step.name]))}"
        else:
            state = "done" if entry["status"] == "done" else "goes on"
        print(f"{step.name:<14} {state}", file=sys.stderr)


def _run_step(recipe: Recipe, step: RecipeStep, run: Path, folder_name: str, manifest: dict[str, Any],
              parts: dict[str, Any]) -> None:
    folder = run / folder_name
    identity = hash_value(parts)
    entry = manifest["steps"].get(step.name)
    fresh = entry is None or entry["identity"] != identity
    if fresh:
        for old in run.glob(f"[0-9][0-9]-{step.name}") if leads() else ():
            shutil.rmtree(old)
        entry = {"stage": step.stage, "identity": identity, "parts": parts, "seed": parts["seed"],
                 "attempts": 0, "wall_seconds": 0.0, "core_seconds": 0.0}
    log = Log(run / "log.jsonl", step.name, entry["attempts"] + 1)
    if fresh:
        log.begin_anew()
    entry.pop("waits_for", None)
    entry |= {"status": "running", "attempts": entry["attempts"] + 1, "folder": folder_name}
    manifest["steps"][step.name] = entry
    write_manifest(run, manifest)
    meet()  # what the leader removed is gone
    folder.mkdir(exist_ok=True)
    started, used = time.monotonic(), time.process_time()
    prepare(parts["seed"])
    inputs = {key: _input_path(source, run, manifest, folder / f"{key}-snapshot") for key, source in step.needs.items()}
    try:
        stage = find_stage(step.stage, asdict(step.options))
        if stage.spread or leads():
            with nullcontext() if stage.spread else alone():
                stage.function()(Step(step.name, folder, inputs, step.options, parts["seed"], log))
        meet()
    except Waiting as error:
        entry |= {"status": "waiting", "waits_for": error.left}
        raise
    finally:
        entry["wall_seconds"] = round(entry["wall_seconds"] + time.monotonic() - started, 3)
        entry["core_seconds"] = round(entry.get("core_seconds", 0.0) + time.process_time() - used, 3)
        write_manifest(run, manifest)
    if leads():
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    entry |= {"status": "done", "peak_rss_mb": round(peak_rss_mb(), 1)}
    write_manifest(run, manifest)
    if leads():
        print(f"{step.name}: done in {clock(entry['wall_seconds'])}", file=sys.stderr)


def _input_path(source: str, run: Path, manifest: dict[str, Any], snapshot: Path) -> Path:
    """Where a stage finds an input. Of a store of labels it reads a snapshot in its own folder, made when it starts."""
    first, _, rest = source.partition("/")
    if first in manifest["steps"]:
        return run / manifest["steps"][first]["folder"] / rest
    if not is_store(source):
        return Path(source)
    if leads() and not snapshot.exists():
        from preceptor.feedback.snapshot import take_snapshot
        counts = take_snapshot(source, snapshot)
        print("labels: " + ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in counts.items()),
              file=sys.stderr)
    return snapshot
