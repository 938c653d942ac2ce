"""Rankings of the answers that a step asks about, by whoever its options name: a panel, a judge, or people.

A panel and a judge rank at once. People find the answers in the store; until they have ranked them the step is
`Waiting`, and the same command, given again, takes what they said. What counts is what the store holds at that moment:
rankings taken back and labelers excluded before it are left out, and later labels change nothing unless the step is
redone (`--from`).
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import sqlalchemy as sql

from preceptor.data.records import Comparison, Prompt, Response
from preceptor.feedback.machines import in_order
from preceptor.feedback.options import LabellingOptions
from preceptor.feedback.place import is_url
from preceptor.feedback.records import add_items, comparisons
from preceptor.feedback.rewards import open_reward
from preceptor.feedback.store import Store, open_store
from preceptor.feedback.tables import labels
from preceptor.models.rewards import DESCRIPTION
from preceptor.run.errors import UserError, Waiting
from preceptor.run.files import read_json
from preceptor.run.manifest import plain_name
from preceptor.run.step import Step
from preceptor.village.stage import load_panel

Asked = Sequence[tuple[Prompt, Sequence[Response]]]
WHO = "preceptor run"


def rankings(step: Step, asked: Mapping[str, Asked]) -> dict[str, list[Comparison]]:
    """The rankings of the answers of each split, in the order of the prompts.

    Of a panel the training labelers rank, and those held out the split "heldout".

    Raises:
        Waiting: people have not ranked enough of them yet.
        UserError: the step lacks the input that its labelers need.
    """
    rank = {"panel": _by_panel, "judge": _by_judge, "people": _by_people}[step.options.labelers]
    number = step.options.round or None
    return {split: [replace(one, round=number) for one in some] for split, some in rank(step, asked).items()}


def _by_panel(step: Step, asked: Mapping[str, Asked]) -> dict[str, list[Comparison]]:
    """One ranking for each prompt, by the labelers in turn."""
    if "village" not in step.inputs:
        raise UserError(f"Step '{step.name}' has no village, whose panel would rank.",
                        f"Add 'village' to its needs, or set {step.name}.labelers to judge or people.")
    panel = load_panel(step.input("village"))
    found = {}
    for split, some in asked.items():
        labelers = panel.heldout if split == "heldout" else panel.training
        turns = ((prompt, responses, labelers[number % len(labelers)])
                 for number, (prompt, responses) in enumerate(some))
        found[split] = [panel.rank(prompt, responses, labeler, _id(step, prompt, labeler))
                        for prompt, responses, labeler in turns]
    return found


def _id(step: Step, prompt: Prompt, labeler: str) -> str:
    """The id of a ranking: a prompt may come again in another round, with other answers."""
    return f"{prompt.id}/{labeler}" + (f"/{step.options.round}" if step.options.round else "")


def _by_judge(step: Step, asked: Mapping[str, Asked]) -> dict[str, list[Comparison]]:
    """One ranking for each prompt by the scores of the input `judge`, under that judge's name."""
    if "judge" not in step.inputs:
        raise UserError(f"Step '{step.name}' has no judge to rank.",
                        f"Add 'judge', a step or folder of a reward, to its needs, or set {step.name}.labelers.")
    folder = step.input("judge")
    judge, kind, name = open_reward(folder, say=step.say), kind_of_judge(folder), plain_name(folder)
    found: dict[str, list[Comparison]] = {}
    for split, some in asked.items():
        scores = iter(judge.score([prompt for prompt, responses in some for _ in responses],
                                  [response for _, responses in some for response in responses]))
        found[split] = [Comparison(_id(step, prompt, name), prompt, list(responses),
                                   in_order([next(scores) for _ in responses]), name, kind)
                        for prompt, responses in some]
    return found


def kind_of_judge(folder: Path) -> str:
    """What the labeler is whose judgements the reward in a folder gives: a program, or else a model."""
    described = folder / DESCRIPTION
    computed = described.exists() and read_json(described)["kind"] in ("program", "known")
    return "program" if computed else "model"


def _by_people(step: Step, asked: Mapping[str, Asked]) -> dict[str, list[Comparison]]:
    """All rankings of these answers by people that count in the store, once there are enough of them. What models and
    programs rank there under their own names is left to be compared with."""
    options: LabellingOptions = step.options
    if not 0 < options.enough <= 1 or options.overlap < 1:
        raise UserError(f"Step '{step.name}' cannot ask {options.overlap} people and go on with {options.enough:g} of "
                        "the rankings.", "overlap: 1 or more. enough: above 0, at most 1.")
    place = options.store or step.folder.parent / "feedback.sqlite"
    store = open_store(place)
    try:
        keys = {split: add_items(store, some, overlap=options.overlap, split=split, round=options.round or None,
                                 who=WHO) for split, some in asked.items()}
        found = {split: _of_items(store, some) for split, some in keys.items()}
    finally:
        store.close()
    ranked = Counter(item for some in found.values() for item, _ in some)
    items = {item for some in keys.values() for item in some}
    wanted = math.ceil(options.enough * options.overlap * len(items))
    left = wanted - sum(min(ranked[item], options.overlap) for item in items)
    step.say(f"{wanted - left} of {wanted} rankings by people are there")
    if left > 0:
        label = f"preceptor label {step.folder.parent}" + (f" --database {place}" if is_url(place) else "")
        raise Waiting(f"Step '{step.name}' waits for {left:,} rankings of {wanted:,} by people.",
                      f"Rank them with: {label}. Then give the same command again: it goes on.", left)
    return {split: [one for _, one in some] for split, some in found.items()}


def _of_items(store: Store, keys: Sequence[str]) -> list[tuple[str, Comparison]]:
    """People's rankings of items that are no gold questions, in the order of the items, each with its item's key."""
    place = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    with store.reading() as connection:
        item_of = dict(connection.execute(sql.select(labels.c.key, labels.c.item)).all())
    found = [(item_of[one.id], one) for one in comparisons(store, kinds=["person"])
             if item_of.get(one.id) in place and not one.gold]  # a ranking may come in between the two readings
    return sorted(found, key=lambda pair: place[pair[0]])
