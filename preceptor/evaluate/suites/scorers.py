"""The scorers: from an examinee and the items of an arm to a value of each metric for each item.

    choice      which option is likeliest after the prompt (a server is asked for a letter)
    answer      an answer is written and compared with references
    judged      an answer is written, and trained judges say how likely their label is
    pair        which of two sentences is likelier, and how undecided the model is
    text        how many bits a byte of the text costs

`preference` compares models with each other, and lives in `preference.py`.
"""

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from preceptor.evaluate.suites.description import Task
from preceptor.evaluate.suites.examinee import Examinee
from preceptor.evaluate.suites.items import Arm, Item, filled, references, right_options
from preceptor.evaluate.suites.judges import TrainedJudge
from preceptor.generate.decoder import Sampling
from preceptor.metrics.calibration import expected_calibration_error, reliability
from preceptor.metrics.classification import by_class, macro
from preceptor.metrics.overlap import contains, exact_match, number_match, token_f1
from preceptor.metrics.rouge import best_rouge, signature, tokenizer_for
from preceptor.metrics.translation import bleu, chrf
from preceptor.run.errors import UserError, nearest

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
ASKED_BY_LETTER = {"en": "Answer with the letter of the right option alone.", "zh": "只回答正确选项的字母。"}
Judges = Mapping[str, TrainedJudge]


@dataclass(slots=True)
class Scored:
    """`values[metric][i]` belongs to item i, None where it says nothing; `whole` holds what only all items together
    have; `said` the answers, where some were written."""

    values: dict[str, list[float | None]]
    whole: dict[str, Any] = field(default_factory=dict)
    said: list[str] | None = None
    notes: list[str] = field(default_factory=list)


def choice(task: Task, arm: Arm, model: Examinee, judges: Judges, seed: int) -> Scored:
    """The likeliest option. `accuracy` by the sum of log p, `accuracy_norm` by the sum over the option's characters
    (both as lm-evaluation-harness), `mass` the share of exp(sum) that right options have (TruthfulQA's MC2)."""
    if not model.reads:
        return _by_letter(task, arm, model, seed)
    prompts = [asked(model, item, longest(item) + 1) for item in arm.items]
    pairs = [(prompt, task.delimiter + option) for prompt, item in zip(prompts, arm.items, strict=True)
             for option in item.options]
    found = iter(model.likelihoods(pairs))
    scored = Scored({"accuracy": [], "accuracy_norm": [], "mass": []})
    guesses, confidences = [], []
    for item in arm.items:
        sums = [next(found)[0] for _ in item.options]
        right, best = right_options(item), max(range(len(sums)), key=sums.__getitem__)
        shares = softmax(sums)
        normed = max(range(len(sums)), key=lambda index: sums[index] / max(len(item.options[index]), 1))
        for name, figure in (("accuracy", float(best in right)), ("accuracy_norm", float(normed in right)),
                             ("mass", math.fsum(shares[index] for index in right))):
            scored.values[name].append(figure)
        guesses.append(best)
        confidences.append(shares[best])
    table = reliability(confidences, scored.values["accuracy"], lowest=0.0)
    scored.whole["calibration_error"] = expected_calibration_error(table)
    if all(len(right_options(item)) == 1 for item in arm.items):
        gold = [min(right_options(item)) for item in arm.items]
        scored.whole["macro_f1"] = macro(by_class(gold, guesses).values()).f1
    return scored


def _by_letter(task: Task, arm: Arm, model: Examinee, seed: int) -> Scored:
    """A choice for a model that gives no likelihoods: options are lettered, and the letter of the answer counts."""
    orders = [lettered(item, seed) for item in arm.items]
    prompts = []
    for item, order in zip(arm.items, orders, strict=True):
        listed = [] if names_letters(item) else [f"{letter}. {item.options[index]}"
                                                 for letter, index in zip(LETTERS, order)]
        prompts.append("\n".join([item.asked(), *listed, ASKED_BY_LETTER[task.language]]))
    said = model.write(prompts, Sampling(temperature=0.0, max_tokens=16), seed)
    picked = [letter_of(answer, len(order)) for answer, order in zip(said, orders, strict=True)]
    right = [float(place is not None and order[place] in right_options(item))
             for place, order, item in zip(picked, orders, arm.items, strict=True)]
    return Scored({"accuracy": right}, {"unread": sum(place is None for place in picked)}, said,
                  ["asked by letter: a chat server gives no likelihoods"])


def lettered(item: Item, seed: int) -> list[int]:
    """The options in the order in which they get letters: drawn for each item, because many files have the right ones
    first, and a model that always says A would know them all. Options that are letters keep theirs.

    Raises:
        UserError: there are more options than letters.
    """
    count = len(item.options)
    if count > len(LETTERS):
        raise UserError(f"'{item.id}' has {count} options, and there are {len(LETTERS)} letters to ask a server by.",
                        "Examine a model folder, or leave such rows out with the task's `where`.")
    return list(range(count)) if names_letters(item) else random.Random(f"letters/{seed}/{item.id}").sample(
        range(count), count)


def names_letters(item: Item) -> bool:
    """Whether the options are the letters A, B, ... of a list that stands in the prompt."""
    return item.options == tuple(LETTERS[:len(item.options)])


def letter_of(answer: str, count: int) -> int | None:
    """The option that an answer names: its first capital letter that stands alone and is among `count`, or None."""
    for place, char in enumerate(answer):
        beside = answer[max(place - 1, 0):place] + answer[place + 1:place + 2]
        if char in LETTERS[:count] and not any(one.isascii() and one.isalnum() for one in beside):
            return LETTERS.index(char)
    return None


ANSWER_METRICS: dict[str, Callable[[str, list[str]], float]] = {
    "exact_match": exact_match, "f1": token_f1, "contains": contains, "number": number_match}
ROUGE = ("rouge1", "rouge2", "rougeL")


def answer(task: Task, arm: Arm, model: Examinee, judges: Judges, seed: int) -> Scored:
    """A greedy answer against the references, by each metric that the task names."""
    said = write(task, arm, model, seed)
    wanted = [references(item) for item in arm.items]
    scored = Scored({}, said=said)
    for metric in task.metrics or ("exact_match", "f1"):
        if metric in ANSWER_METRICS:
            scored.values[metric] = [ANSWER_METRICS[metric](one, some) for one, some in zip(said, wanted, strict=True)]
        elif metric in ROUGE:
            tokenizer = tokenizer_for(task.language)
            scored.values[metric] = [best_rouge(one, some, tokenizer)[metric]
                                     for one, some in zip(said, wanted, strict=True)]
            scored.whole["rouge_signature"] = signature(tokenizer)
        elif metric in ("bleu", "chrf"):
            first = [some[:1] or [""] for some in wanted]  # sacrebleu wants as many references for every answer
            found = bleu(said, first, task.language) if metric == "bleu" else chrf(said, first)
            scored.whole[metric] = {"mean": found.score, "low": found.low, "high": found.high, "n": found.n}
            scored.whole[f"{metric}_signature"] = found.signature
        else:
            raise UserError(f"The task '{task.name}' asks for the metric '{metric}'.",
                            nearest(metric, [*ANSWER_METRICS, *ROUGE, "bleu", "chrf"]))
    return scored


def judged(task: Task, arm: Arm, model: Examinee, judges: Judges, seed: int) -> Scored:
    """A greedy answer under each judge: how likely its label is, and with several judges whether all say yes."""
    said = write(task, arm, model, seed)
    rows = [{**item.row, "answer": one} for item, one in zip(arm.items, said, strict=True)]
    texts = [filled(task.text, row, task.name) for row in rows]
    scored = Scored({}, said=said)
    verdicts = []
    for name in task.judges:
        chances = judges[name].probabilities(texts, rows)
        verdicts.append([chance > 0.5 for chance in chances])
        scored.values[name] = [float(yes) for yes in verdicts[-1]]
        scored.values[f"{name}_chance"] = chances
    if len(verdicts) > 1:
        scored.values[" and ".join(task.judges)] = [float(all(some)) for some in zip(*verdicts, strict=True)]
    return scored


def pair(task: Task, arm: Arm, model: Examinee, judges: Judges, seed: int) -> Scored:
    """`prefers_first`: whether the first sentence is likelier, ties one half; `entropy`: that of the binary choice
    p = P(first) / (P(first) + P(second)) in bits, InstructGPT's measure of bias: 1 is undecided."""
    for item in arm.items:
        if len(item.options) != 2:
            raise UserError(f"The task '{task.name}' compares two sentences, and '{item.id}' has {len(item.options)}.",
                            "Let `options` give two, and `where` or `join` leave out what is alone.")
    found = iter(model.likelihoods([("", option) for item in arm.items for option in item.options]))
    scored = Scored({"prefers_first": [], "entropy": []})
    for _ in arm.items:
        first, second = next(found)[0], next(found)[0]
        share = softmax([first, second])[0]
        scored.values["prefers_first"].append(0.5 if first == second else float(first > second))
        scored.values["entropy"].append(-sum(p * math.log2(p) for p in (share, 1 - share) if p > 0))
    return scored


def text(task: Task, arm: Arm, model: Examinee, judges: Judges, seed: int) -> Scored:
    """Bits a byte of each text, read from its beginning; the mean weighs texts alike."""
    texts = [filled(task.text, item.row, task.name) for item in arm.items]
    found = model.likelihoods([("", one) for one in texts])
    return Scored({"bits_per_byte": [-nats / math.log(2) / max(len(one.encode()), 1)
                                     for (nats, _), one in zip(found, texts, strict=True)]})


SCORERS: dict[str, Callable[[Task, Arm, Examinee, Judges, int], Scored]] = {
    "choice": choice, "answer": answer, "judged": judged, "pair": pair, "text": text}


def write(task: Task, arm: Arm, model: Examinee, seed: int) -> list[str]:
    """A greedy answer to each item of the arm."""
    longest = model.longest(task.max_tokens)
    sampling = Sampling(temperature=0.0, max_tokens=longest, stop=task.stop)
    return model.write([asked(model, item, longest) for item in arm.items], sampling, seed)


def asked(model: Examinee, item: Item, room: int) -> str:
    """The item's prompt with as many of its examples as leave `room` tokens."""
    for shots in range(len(item.shots), 0, -1):
        if model.fits(item.asked(shots), room):
            return item.asked(shots)
    return item.asked(0)


def longest(item: Item) -> int:
    """The most tokens that an option can have: its bytes."""
    return max((len(option.encode()) for option in item.options), default=0)


def softmax(sums: Sequence[float]) -> list[float]:
    """exp(s) / sum of exp(s)."""
    top = max(sums)
    shares = [math.exp(one - top) for one in sums]
    return [one / math.fsum(shares) for one in shares]


def groups(task: Task, arm: Arm) -> dict[str, list[int]]:
    """The places of the items of each value of the task's `by`."""
    found: dict[str, list[int]] = {}
    for number, item in enumerate(arm.items):
        if item.group:
            found.setdefault(item.group, []).append(number)
    return found


