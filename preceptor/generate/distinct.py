"""Answers to one prompt that are not nearly the same: those that are, are written anew."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from preceptor.generate.decoder import Answer, Request
from preceptor.metrics.filtering import ALIKE, Embed, distinct

OTHER_SEED = 7_919  # added for each further try


class Answering(Protocol):
    """A decoder that keeps the order of its requests."""

    def answers(self, requests: Sequence[Request]) -> list[Answer]: ...


@dataclass(frozen=True, slots=True)
class DistinctAnswers:
    """`answers` in the order of the requests; so many were `rewritten` with another seed."""

    answers: list[Answer]
    rewritten: int
    alike: list[int]
    """Indices of the answers that are still like an earlier one to their prompt: drop them, or keep them."""


def distinct_answers(decoder: Answering, requests: Sequence[Request], *, tries: int = 3, threshold: float = ALIKE,
                     embed: Embed | None = None) -> DistinctAnswers:
    """Answer the requests; where two answers to one prompt are nearly the same, ask for the later one again.

    A greedy request gives the same answer again, so only its prompt's other requests are asked anew.
    """
    answers = decoder.answers(requests)
    rewritten: set[int] = set()
    for attempt in range(1, tries + 1):
        again = [number for number in _alike(requests, answers, threshold, embed)
                 if requests[number].sampling.temperature > 0]
        if not again:
            break
        anew = decoder.answers([replace(requests[number], seed=requests[number].seed + attempt * OTHER_SEED)
                                for number in again])
        for number, answer in zip(again, anew):
            answers[number] = answer
        rewritten |= set(again)
    return DistinctAnswers(answers, len(rewritten), _alike(requests, answers, threshold, embed))


def _alike(requests: Sequence[Request], answers: Sequence[Answer], threshold: float, embed: Embed | None) -> list[int]:
    """Indices of the answers that are like an earlier answer to the same prompt."""
    groups: dict[str, list[int]] = defaultdict(list)
    for number, request in enumerate(requests):
        groups[f"{request.prompt.id}\n{request.prompt.messages}"].append(number)
    found = []
    for numbers in groups.values():
        kept = distinct([answers[number].response.text for number in numbers], threshold, embed)
        found += [number for place, number in enumerate(numbers) if place not in kept]
    return sorted(found)
