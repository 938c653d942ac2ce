"""Which of two answers is better: by people's labels, by a reward model, or by a model as judge.

A judge is asked twice, each answer once in front, because judges favour a place (Wang et al. 2023, arXiv 2305.17926);
what it says in one order only counts one half for each side, and how often that is stands beside the win rate. Every
win rate is given plainly and at equal length (`metrics/length_control.py`).
"""

from collections.abc import Callable, Sequence
from typing import Any

from preceptor.data.records import Comparison, Prompt, Response
from preceptor.data.reward import Reward
from preceptor.evaluate.suites.examinee import Examinee
from preceptor.evaluate.suites.scorers import letter_of
from preceptor.generate.decoder import Sampling
from preceptor.metrics.intervals import bootstrap_mean
from preceptor.metrics.length_control import length_controlled_win_rate
from preceptor.metrics.repetition import text_tokens

QUESTION = """Here are a request and two answers to it. Which answer serves the person who asks better?
Judge whether it does what is asked, whether it is true, and whether it is clear; length is no merit.

Request: {prompt}

Answer A: {first}

Answer B: {second}

Say A or B and nothing else."""

Outcomes = list[float]
"""1 where the first answer of a pair is better, 0 where the second is, 1/2 where they are alike."""
Preference = Callable[[Sequence[str], Sequence[str], Sequence[str]], tuple[Outcomes, dict[str, float]]]
"""From prompts and both answers to outcomes, and figures on the judge itself."""


def by_reward(reward: Reward) -> Preference:
    """The answer of the higher score is better."""
    def prefer(prompts: Sequence[str], first: Sequence[str], second: Sequence[str]) -> tuple[Outcomes, dict]:
        asked = [Prompt(f"p{number}", [{"role": "user", "content": text}]) for number, text in enumerate(prompts)]
        scores = [reward.score(asked, [Response(text) for text in some]) for some in (first, second)]
        return [(a > b) + 0.5 * (a == b) for a, b in zip(*scores, strict=True)], {}
    return prefer


def by_judge(judge: Examinee) -> Preference:
    """A model is asked in both orders: a local one by the likelihood of "A" and "B", a server for the letter."""
    def asks(prompts: Sequence[str], first: Sequence[str], second: Sequence[str]) -> Outcomes:
        texts = [QUESTION.format(prompt=prompt, first=one, second=other)
                 for prompt, one, other in zip(prompts, first, second, strict=True)]
        if judge.reads:
            found = judge.likelihoods([(text, f" {letter}") for text in texts for letter in "AB"])
            return [float(a > b) + 0.5 * (a == b) for (a, _), (b, _) in zip(found[::2], found[1::2], strict=True)]
        said = judge.write(texts, Sampling(temperature=0.0, max_tokens=8), seed=0)
        return [verdict(text) for text in said]

    def prefer(prompts: Sequence[str], first: Sequence[str], second: Sequence[str]) -> tuple[Outcomes, dict]:
        straight = asks(prompts, first, second)
        swapped = asks(prompts, second, first)
        outcomes = [(one + 1 - other) / 2 for one, other in zip(straight, swapped, strict=True)]
        both = [*straight, *swapped]
        return outcomes, {"first_place": sum(both) / len(both),
                          "consistent": sum(one == 1 - other != 0.5 for one, other in zip(straight, swapped))
                          / len(straight)}
    return prefer


def verdict(said: str) -> float:
    """1 for an answer that says A, 0 for B, 1/2 for neither."""
    return {0: 1.0, 1: 0.0, None: 0.5}[letter_of(said.strip(), 2)]


def win_rates(prompts: Sequence[str], ids: Sequence[str], first: Sequence[str], second: Sequence[str],
              prefer: Preference) -> dict[str, Any]:
    """How often the first answers win, plainly and at equal length, with what is known of the judge."""
    outcomes, about = prefer(prompts, first, second)
    return rates(outcomes, first, second, ids) | about


def rates(outcomes: Sequence[float], first: Sequence[str], second: Sequence[str],
          ids: Sequence[str]) -> dict[str, Any]:
    """`win_rate` and `win_rate_at_equal_length` of outcomes, with intervals over prompts; lengths are in words."""
    lengths = [[len(text_tokens(text)) for text in some] for some in (first, second)]
    return {"win_rate": bootstrap_mean(outcomes, ids).to_dict(),
            "win_rate_at_equal_length": length_controlled_win_rate(outcomes, *lengths, ids).to_dict(),
            "longer": bootstrap_mean([(a > b) + 0.5 * (a == b) for a, b in zip(*lengths, strict=True)], ids).to_dict()}


def by_people(comparisons: Sequence[Comparison], model: str, against: str) -> dict[str, Any] | None:
    """The win rate of `model` over `against` by the labels in which answers of both stand; None where there is none."""
    outcomes, first, second, ids = [], [], [], []
    for one in comparisons:
        ranks = one.ranks()
        ours = [number for number, response in enumerate(one.responses) if response.model == model]
        theirs = [number for number, response in enumerate(one.responses) if response.model == against]
        for a in ours:
            for b in theirs:
                outcomes.append((ranks[a] < ranks[b]) + 0.5 * (ranks[a] == ranks[b]))
                first.append(one.responses[a].text)
                second.append(one.responses[b].text)
                ids.append(one.prompt.id)
    return rates(outcomes, first, second, ids) if outcomes else None
