"""Rewards that are put together instead of trained: the stages `ensemble`, `program`, `known_answers` and `person`.

Each writes reward.json, by which `feedback/rewards.py` finds the reward wherever a recipe names the step.
"""

import os
from pathlib import Path

from preceptor.data.jsonl import read_jsonl
from preceptor.data.records import Conversation, content_text
from preceptor.feedback.place import is_store, is_url
from preceptor.feedback.rewards import open_reward
from preceptor.models.causal import model_folder
from preceptor.models.rewards import DESCRIPTION, Ensemble, find_function
from preceptor.reward.measure import measure
from preceptor.run.errors import UserError
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
    ensemble = open_reward(step.folder, step.options.score_rows, step.say)
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


def run_known(step: Step) -> None:
    """Read `demonstrations`, a file of them or a folder with several; write answers.json and reward.json for the reward
    that knows their answers: the last message of each, by its id.

    Raises:
        UserError: two demonstrations have one id and different answers, or there are none.
    """
    source = step.input("demonstrations")
    answers: dict[str, str] = {}
    for path in sorted(source.glob("demonstrations*.jsonl")) if source.is_dir() else [source]:
        for one in read_jsonl(path, Conversation):
            answer = content_text(one.messages[-1]["content"])
            if answers.setdefault(one.id, answer) != answer:
                raise UserError(f"Two demonstrations are called '{one.id}' and answer differently.",
                                "Give each an id of its own.")
    if not answers:
        raise UserError(f"'{source}' holds no demonstrations.", "Name a file demonstrations*.jsonl, or its folder.")
    step.plan(answers=len(answers))
    write_json(step.folder / "answers.json", answers)
    write_json(step.folder / DESCRIPTION, {"kind": "known", "answers": "answers.json"})


def run_person(step: Step) -> None:
    """Write reward.json for people who rank at the labelling page; nobody is asked before a step wants scores."""
    options = step.options
    if options.overlap < 1 or options.every <= 0:
        raise UserError(f"Step '{step.name}' cannot wait for {options.overlap} rankings, looking every "
                        f"{options.every:g} s.", f"Set {step.name}.overlap to 1 or more, {step.name}.every above 0.")
    place = options.store or step.folder.parent / "feedback.sqlite"
    if not is_store(place):
        raise UserError(f"'{place}' is no store of labels.",
                        "Give a path that ends in .sqlite, or a postgresql:// URL.")
    store = str(place) if is_url(place) else os.path.relpath(Path(place).resolve(), step.folder.resolve())
    step.plan(overlap=options.overlap, score_by=options.score_by)
    write_json(step.folder / DESCRIPTION, {"kind": "person", "store": store, "overlap": options.overlap,
                                           "score_by": options.score_by, "every": options.every})


def _relative(path: Path, folder: Path) -> str:
    return os.path.relpath(model_folder(path).resolve(), folder.resolve())
