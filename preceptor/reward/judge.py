"""The judge stage: a larger model, here or behind a server, as a reward; and as the labeler of answers that are there.

As a labeler it ranks through a store of its own (`feedback/machines.py`), so that a step which was killed goes on
behind the last rankings that it kept, and asks no question twice.
"""

import os
from collections.abc import Sequence
from typing import Any

from preceptor.data.jsonl import read_jsonl, write_jsonl
from preceptor.data.ranked import HELD_OUT
from preceptor.data.records import Comparison
from preceptor.feedback.judge import CONSTITUTION, Judge
from preceptor.feedback.machines import rank_with
from preceptor.feedback.records import add_items, comparisons
from preceptor.feedback.rewards import open_reward
from preceptor.feedback.store import Store, open_store
from preceptor.metrics.rankings import accuracy
from preceptor.models.causal import model_folder
from preceptor.models.rewards import DESCRIPTION
from preceptor.reward.options import JudgeOptions
from preceptor.run.errors import UserError
from preceptor.run.files import write_json
from preceptor.run.step import Step

TRAIN = "comparisons.train.jsonl"


def run(step: Step) -> None:
    """Read `model`, `constitution` and `comparisons` where they are given; write reward.json, and rankings."""
    options: JudgeOptions = step.options
    if bool(options.url) == ("model" in step.inputs):
        raise UserError(f"Step '{step.name}' needs either a model folder or the address of a server.",
                        f"Give --set {step.name}.needs.model=FOLDER or --set {step.name}.url=http://HOST/v1.")
    if options.max_tokens < 1 or options.tries < 1:
        raise UserError(f"Step '{step.name}' cannot read {options.max_tokens} tokens in {options.tries} tries.",
                        f"Set {step.name}.max_tokens and {step.name}.tries to 1 or more.")
    source = step.input("constitution") if "constitution" in step.inputs else CONSTITUTION
    try:
        constitution = source.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"The constitution '{source}' cannot be read: {error}.", "Give a text file in UTF-8.") from None
    model = None
    if not options.url:
        model = os.path.relpath(model_folder(step.input("model")).resolve(), step.folder.resolve())
    write_json(step.folder / DESCRIPTION, {
        "kind": "judge", "form": options.form, "constitution": constitution, "model": model, "url": options.url,
        "served_model": options.served_model, "key_variable": options.key_variable,
        "max_tokens": options.max_tokens, "tries": options.tries})
    step.plan(form=options.form, judge=options.served_model or "a local model", tries=options.tries,
              principles=sum(bool(line.strip()) for line in constitution.splitlines()))
    if "comparisons" in step.inputs:
        judge = open_reward(step.folder, options.rows, step.say)
        assert isinstance(judge, Judge)
        _label(step, judge)


def _label(step: Step, judge: Judge) -> None:
    """Rank the answers of the comparisons; people's held-out rankings stay beside the judge's own.

    A reward model that learns from what is written here is measured on `same_labelers` by the judge's rankings, and on
    `heldout_labelers` by those of people on the same prompts.
    """
    people = _people(step)
    store = open_store(step.folder / "labels.sqlite")
    try:
        _rank(step, store, judge, people)
        own = {split: list(comparisons(store, split=split)) for split in ("train", "valid")}
    finally:
        store.close()
    for split, rankings in own.items():
        if rankings:
            write_jsonl(step.folder / f"comparisons.{split}.jsonl", rankings)
    if held_out := people["valid"]:
        write_jsonl(step.folder / HELD_OUT["heldout_labelers"], held_out)
    results: dict[str, Any] = {"judge": judge.report()}
    agreed = _agreement(step, [one for some in people.values() for one in some], own["train"] + own["valid"])
    results |= {"agreement": agreed} if agreed else {}
    step.log.write(0, **results)
    write_json(step.folder / "results.json", results)


def _people(step: Step) -> dict[str, list[Comparison]]:
    """The rankings there are, for training and held out; the judge is asked about their answers."""
    folder = step.input("comparisons")
    found = {"train": read_jsonl(step.input("comparisons", TRAIN), Comparison), "valid": []}
    for file in HELD_OUT.values():
        if (folder / file).exists():
            found["valid"] += read_jsonl(folder / file, Comparison)
    return found


def _rank(step: Step, store: Store, judge: Judge, people: dict[str, list[Comparison]]) -> None:
    for split, rankings in people.items():
        if rankings:
            add_items(store, [(one.prompt, one.responses) for one in rankings], overlap=0, split=split, who=step.name)
    items = len({(one.prompt.id, *sorted(answer.text for answer in one.responses))
                 for rankings in people.values() for one in rankings})
    progress = step.progress(items, "prompts")
    rank_with(store, judge, step.name, "model", done=progress.update)


def _agreement(step: Step, people: Sequence[Comparison], judged: Sequence[Comparison]) -> dict[str, float]:
    """Of the pairs that people set apart, how often the judge orders them alike (a tie counts one half)."""
    ranks = {(one.prompt.id, answer.text): -rank for one in judged for answer, rank in zip(one.responses, one.ranks())}
    apart = [one for one in people if len(one.ranking) > 1]
    if not apart:
        return {}
    found = accuracy(apart, [[ranks[one.prompt.id, answer.text] for answer in one.responses] for one in apart],
                     seed=step.seed)
    step.say(f"the judge orders {found.mean:.1%} ({found.low:.1%} to {found.high:.1%}, {found.n} prompts) of the pairs "
             "as the labelers did")
    return found.to_dict()
