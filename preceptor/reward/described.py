"""Rewards that are put together instead of trained: the stages `ensemble` and `program`.

Each writes reward.json, by which `models/rewards.py` finds the reward wherever a recipe names the step.
"""

import os
from pathlib import Path

from preceptor.models.causal import model_folder
from preceptor.models.rewards import DESCRIPTION, Ensemble, find_function, load_reward
from preceptor.reward.measure import measure
from preceptor.run.files import write_json
from preceptor.run.step import Step

MEMBERS = ("first", "second", "third", "fourth", "fifth")


def run_ensemble(step: Step) -> None:
    """Read two to five rewards (and `comparisons`, `village`); write reward.json and results.json.

    Members stay where they are: reward.json names them relative to the step's folder.
    """
    members = [step.input(name) for name in MEMBERS if name in step.inputs]
    step.plan(members=len(members), combine=step.options.combine)
    write_json(step.folder / DESCRIPTION, {
        "kind": "ensemble", "combine": step.options.combine, "weight": step.options.disagreement_weight,
        "members": [_relative(member, step.folder) for member in members]})
    ensemble = load_reward(step.folder, rows=step.options.score_rows)
    if "comparisons" in step.inputs:
        assert isinstance(ensemble, Ensemble)
        measure(step, ensemble)


def run_program(step: Step) -> None:
    """Write reward.json for a function of a prompt and a response; `code` is the folder or file of its module."""
    code = step.input("code") if "code" in step.inputs else None
    find_function(step.options.function, code)  # a wrong name is an error now, not in training
    step.plan(function=step.options.function)
    write_json(step.folder / DESCRIPTION, {
        "kind": "program", "function": step.options.function,
        "code": _relative(code, step.folder) if code else None})


def _relative(path: Path, folder: Path) -> str:
    return os.path.relpath(model_folder(path).resolve(), folder.resolve())
