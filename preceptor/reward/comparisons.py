"""The comparisons stage: sample K answers to each prompt, and have the village's labelers rank them.

Each training prompt is ranked by one training labeler. The answers to a held-out prompt are ranked by one training
labeler and by one held-out labeler, so that both accuracies of a reward model are taken on the same answers.
"""

import random
import re
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

from preceptor.data.jsonl import read_jsonl, write_jsonl
from preceptor.data.records import Comparison, Prompt, Response
from preceptor.generate.decoder import Request, Sampling, in_order
from preceptor.generate.local import LocalDecoder
from preceptor.metrics.rankings import labeler_agreement
from preceptor.models.causal import load_causal, model_folder
from preceptor.run.errors import UserError
from preceptor.run.step import Step
from preceptor.tokenizer.chat import load_tokenizer
from preceptor.village.labelers import Panel
from preceptor.village.stage import load_panel


def run(step: Step) -> None:
    """Read `model`, `prompts`, `heldout` and `village`; write comparisons.{train,valid,heldout}.jsonl."""
    train, held_out = _prompts(step)
    panel = load_panel(step.input("village"))
    requests = {"train": _requests(step, train), "heldout": _requests(step, held_out)}
    step.plan(prompts=len(train), heldout_prompts=len(held_out), answers=sum(map(len, requests.values())),
              labelers=len(panel.training), heldout_labelers=len(panel.heldout))
    answered = {split: _distinct(step, split, wanted, _sampled(step, split, wanted))
                for split, wanted in requests.items()}
    rankings = {"train": _ranked(panel, panel.training, answered["train"]),
                "valid": _ranked(panel, panel.training, answered["heldout"]),
                "heldout": _ranked(panel, panel.heldout, answered["heldout"])}
    for name, comparisons in rankings.items():
        write_jsonl(step.folder / f"comparisons.{name}.jsonl", comparisons)
    _report(step, rankings)


def _prompts(step: Step) -> tuple[list[Prompt], list[Prompt]]:
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
    return train[:options.prompts or None], held_out[:options.heldout_prompts or None]


def _requests(step: Step, prompts: Sequence[Prompt]) -> list[Request]:
    """K requests for each prompt; K and the seeds depend on the step's seed and the prompt's id alone."""
    options = step.options
    sampling = Sampling(temperature=options.temperature, max_tokens=options.max_tokens)
    requests = []
    for prompt in prompts:
        draw = random.Random(f"comparisons/{step.seed}/{prompt.id}")
        for _ in range(draw.randint(options.k_min, options.k_max)):
            requests.append(Request(prompt, sampling, draw.getrandbits(31)))
    return requests


def _sampled(step: Step, split: str, requests: Sequence[Request]) -> list[Response]:
    """The answers, from the file of an earlier attempt when there is one: nothing is sampled twice."""
    path = step.folder / f"answers.{split}.jsonl"
    if not path.exists():
        folder = model_folder(step.input("model"))
        decoder = LocalDecoder(load_causal(folder), load_tokenizer(folder), rows=step.options.rows,
                               name=_model_name(step.input("model")))
        answers = in_order(decoder, requests, step.progress(len(requests), f"{split} answers"))
        if decoder.truncated:
            step.say(f"{decoder.truncated} of {len(requests)} requests lost the beginning of their prompt to fit the "
                     "context")
        write_jsonl(path, (answer.response for answer in answers))
    return read_jsonl(path, Response)


def _model_name(path: Path) -> str:
    """The step that made the model, or the name of its folder."""
    return re.sub(r"^\d\d-", "", path.name)


def _distinct(step: Step, split: str, requests: Sequence[Request],
              answers: Sequence[Response]) -> list[tuple[Prompt, list[Response]]]:
    """Each prompt with its different answers: identical texts are kept once, as they could only be tied."""
    by_prompt: dict[str, tuple[Prompt, dict[str, Response]]] = {}
    for request, answer in zip(requests, answers, strict=True):
        by_prompt.setdefault(request.prompt.id, (request.prompt, {}))[1].setdefault(answer.text, answer)
    rankable = [(prompt, list(texts.values())) for prompt, texts in by_prompt.values() if len(texts) > 1]
    duplicates = len(answers) - sum(len(texts) for _, texts in by_prompt.values())
    alone = len(by_prompt) - len(rankable)
    unfinished = sum(answer.finish == "length" for answer in answers)
    step.log.write(0, **{f"{split}_answers": len(answers), f"{split}_duplicates": duplicates,
                         f"{split}_prompts_with_one_answer": alone, f"{split}_unfinished": unfinished})
    step.say(f"{split}: {len(answers)} answers, {duplicates} dropped as identical to another, {unfinished} cut at "
             f"{step.options.max_tokens} tokens; {alone} of {len(by_prompt)} prompts left out with one distinct answer")
    if not rankable:
        raise UserError(f"No {split} prompt has two different answers.", f"Raise {step.name}.temperature or k_min.")
    return rankable


def _ranked(panel: Panel, labelers: Sequence[str],
            answered: Sequence[tuple[Prompt, list[Response]]]) -> list[Comparison]:
    """One ranking for each prompt, by the labelers in turn."""
    rankings = []
    for number, (prompt, responses) in enumerate(answered):
        labeler = labelers[number % len(labelers)]
        rankings.append(panel.rank(prompt, responses, labeler, f"{prompt.id}/{labeler}"))
    return rankings


def _report(step: Step, rankings: dict[str, list[Comparison]]) -> None:
    """Log how many pairs the rankings hold, how many of them are tied, and how far the labelers agree."""
    pairs = tied = 0
    for comparison in rankings["train"]:
        ranks = comparison.ranks()
        pairs += len(ranks) * (len(ranks) - 1) // 2
        tied += sum(one == other for one, other in combinations(ranks, 2))
    agreement = labeler_agreement(rankings["valid"] + rankings["heldout"], seed=step.seed)
    agreed = {"labeler_agreement": agreement.to_dict()} if agreement else {}
    step.log.write(0, pairs=pairs, tied_pairs=tied, **agreed)
    step.say(f"{len(rankings['train'])} rankings hold {pairs} pairs, {tied / pairs:.1%} of them tied"
             + (f"; labelers agree on {agreement.mean:.1%} of held-out pairs" if agreement else ""))
