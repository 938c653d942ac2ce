"""The comparisons stage: sample K answers to each prompt, and have them ranked.

With the village's panel each training prompt is ranked by one training labeler. The answers to a held-out prompt are
ranked by one training labeler and by one held-out labeler, so that both accuracies of a reward model are taken on the
same answers. A judge and people rank the held-out prompts once.

In rounds the answers come from the last policy and, in part, from those before it, and the rankings of earlier rounds
are carried on: the reward model learns from all of them.
"""

import random
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path

from preceptor.data.jsonl import read_jsonl, write_jsonl
from preceptor.data.records import Comparison, Prompt, Response
from preceptor.feedback.rankers import rankings
from preceptor.generate.answers import Asked, by_prompt, written
from preceptor.generate.decoder import Request, Sampling
from preceptor.metrics.rankings import labeler_agreement
from preceptor.run.errors import UserError
from preceptor.run.manifest import plain_name
from preceptor.run.step import Step


def run(step: Step) -> None:
    """Read `model`, `prompts`, `heldout`, who ranks, and of earlier rounds `before` and `earlier_N`.

    Writes comparisons.{train,valid,heldout}.jsonl.
    """
    earlier = _earlier_rankings(step)
    train, held_out = _prompts(step, earlier)
    asked = {"train": _asked(step, train), "heldout": _asked(step, held_out)}
    step.plan(prompts=len(train), heldout_prompts=len(held_out), answers=sum(map(len, asked.values())),
              models=len({one.model for some in asked.values() for one in some}))
    answered = {split: _rankable(step, split, some, written(step, split, some, step.options.rows))
                for split, some in asked.items()}
    wanted = {"train": answered["train"], "valid": answered["heldout"]}
    if step.options.labelers == "panel":
        wanted["heldout"] = answered["heldout"]
    ranked = rankings(step, wanted)
    for name, some in ranked.items():
        if rows := [*earlier.get(name, []), *some]:
            write_jsonl(step.folder / f"comparisons.{name}.jsonl", rows)
    _report(step, ranked)


def _earlier_rankings(step: Step) -> dict[str, list[Comparison]]:
    """The rankings of the rounds before this one, by split."""
    if "before" not in step.inputs:
        return {}
    found = {path.name.split(".")[1]: read_jsonl(path, Comparison)
             for path in sorted(step.input("before").glob("comparisons.*.jsonl"))}
    if "train" not in found:
        raise UserError(f"There are no rankings in the input 'before' of step '{step.name}'.",
                        "Name a step of stage comparisons, or leave it out.")
    return found


def _prompts(step: Step, earlier: Mapping[str, Sequence[Comparison]]) -> tuple[list[Prompt], list[Prompt]]:
    """The prompts to be answered, those that no earlier round has had before the others."""
    options = step.options
    if not 2 <= options.k_min <= options.k_max:
        raise UserError(f"Between {options.k_min} and {options.k_max} answers to a prompt cannot be ranked.",
                        f"Set {step.name}.k_min to 2 or more, and {step.name}.k_max no lower.")
    train = read_jsonl(step.input("prompts"), Prompt)
    held_out = read_jsonl(step.input("heldout"), Prompt)
    shared = {prompt.id for prompt in train} & {prompt.id for prompt in held_out}
    if shared:
        raise UserError(f"{len(shared)} prompts are both in 'prompts' and in 'heldout', for example "
                        f"'{min(shared)}'.", "Give two files without a prompt in common.")
    had = {one.prompt.id for some in earlier.values() for one in some}
    train, held_out = (sorted(some, key=lambda prompt: prompt.id in had) for some in (train, held_out))
    return train[:options.prompts or None], held_out[:options.heldout_prompts or None]


def _asked(step: Step, prompts: Sequence[Prompt]) -> list[Asked]:
    """K requests for each prompt; K, the seeds and who answers depend on the step's seed and the prompt's id alone."""
    options, model, earlier = step.options, step.input("model"), step.several("earlier")
    if not 0 <= options.earlier_share < 1:
        raise UserError(f"The share {options.earlier_share:g} of answers by earlier policies is not possible.",
                        f"Set {step.name}.earlier_share from 0 to below 1.")
    sampling = Sampling(temperature=options.temperature, max_tokens=options.max_tokens)
    asked = []
    for prompt in prompts:
        draw = random.Random(f"comparisons/{step.seed}/{prompt.id}")
        k = draw.randint(options.k_min, options.k_max)
        by_others = min(k - 1, max(1, round(options.earlier_share * k))) if earlier and options.earlier_share else 0
        for number in range(k):
            source: Path = draw.choice(earlier) if number < by_others else model
            asked.append(Asked(Request(prompt, sampling, draw.getrandbits(31)), source, plain_name(source)))
    return asked


def _rankable(step: Step, split: str, asked: Sequence[Asked],
              answers: Sequence[Response]) -> list[tuple[Prompt, list[Response]]]:
    """The prompts with two answers or more to rank; what is left out is counted and said."""
    every = by_prompt(asked, answers)
    found = [(prompt, responses) for prompt, responses in every if len(responses) > 1]
    duplicates, alone = len(answers) - sum(len(responses) for _, responses in every), len(every) - len(found)
    unfinished = sum(answer.finish == "length" for answer in answers)
    step.log.write(0, **{f"{split}_answers": len(answers), f"{split}_duplicates": duplicates,
                         f"{split}_prompts_with_one_answer": alone, f"{split}_unfinished": unfinished})
    step.say(f"{split}: {len(answers)} answers, {duplicates} dropped as identical to another, {unfinished} cut at "
             f"{step.options.max_tokens} tokens; {alone} of {len(every)} prompts left out with one distinct answer")
    if not found:
        raise UserError(f"No {split} prompt has two different answers.", f"Raise {step.name}.temperature or k_min.")
    return found


def _report(step: Step, ranked: Mapping[str, Sequence[Comparison]]) -> None:
    """Log how many pairs the rankings hold, how many of them are tied, and how far the labelers agree."""
    pairs = tied = 0
    for comparison in ranked["train"]:
        ranks = comparison.ranks()
        pairs += len(ranks) * (len(ranks) - 1) // 2
        tied += sum(one == other for one, other in combinations(ranks, 2))
    agreement = labeler_agreement([*ranked["valid"], *ranked.get("heldout", [])], seed=step.seed)
    agreed = {"labeler_agreement": agreement.to_dict()} if agreement else {}
    step.log.write(0, pairs=pairs, tied_pairs=tied, **agreed)
    step.say(f"{len(ranked['train'])} rankings hold {pairs} pairs, {tied / pairs:.1%} of them tied"
             + (f"; labelers agree on {agreement.mean:.1%} of held-out pairs" if agreement else ""))
