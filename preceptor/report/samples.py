"""Answers side by side: prompts chosen by the score of the last model's answer, the best, the middle, the worst."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from preceptor.evaluate.answers import JudgedAnswer

EACH = 4


@dataclass(frozen=True, slots=True)
class Sample:
    """A prompt's last message, what stood before it, and every model's answer to it."""

    prompt: str
    earlier: Sequence[str]
    category: str | None
    answers: Sequence[JudgedAnswer]


def score(answer: JudgedAnswer) -> float | None:
    """The oracle's overall score, else the reward model's, else none."""
    return answer.verdict["overall"] if answer.verdict else answer.reward


def samples(answers: Sequence[JudgedAnswer]) -> dict[str, list[Sample]]:
    """`{best | typical | worst: samples}` of the last model; empty where nothing was judged.

    Equal scores are ordered by a hash of the prompt's id, so that the choice among them is arbitrary and yet fixed.
    """
    last = [answer for answer in answers if answer.model == answers[-1].model and score(answer) is not None]
    ranked = sorted(last, key=lambda answer: (-score(answer), hashlib.sha256(answer.prompt.id.encode()).digest()))
    each = min(EACH, len(ranked) // 3)
    if each == 0:
        return {}
    middle = (len(ranked) - each) // 2
    chosen = {"best": ranked[:each], "typical": ranked[middle:middle + each], "worst": ranked[-each:]}
    by_prompt: dict[str, list[JudgedAnswer]] = {}
    for answer in answers:
        by_prompt.setdefault(answer.prompt.id, []).append(answer)
    return {name: [_sample(by_prompt[answer.prompt.id]) for answer in some] for name, some in chosen.items()}


def _sample(answers: Sequence[JudgedAnswer]) -> Sample:
    prompt = answers[0].prompt
    *earlier, last = [message["content"] for message in prompt.messages]
    return Sample(last, earlier, prompt.category, answers)
