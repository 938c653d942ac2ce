"""What records say an answer is worth, other than by a labeler's ranking: ratings, fitted scores, votes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np

from preceptor.data.records import Comparison, Response
from preceptor.metrics.strengths import bradley_terry
from preceptor.run.errors import UserError


def ratings(comparison: Comparison, weights: Mapping[str, float]) -> list[float]:
    """The weighted mean of each answer's ratings on the axes named.

    Raises:
        UserError: an answer lacks one of them, or the weights cancel out.
    """
    if not sum(weights.values()):
        raise UserError(f"The ratings' weights {dict(weights)} sum to 0.", "Give at least one axis a weight.")
    return [sum(weight * _score(comparison, response, axis) for axis, weight in weights.items())
            / sum(weights.values()) for response in comparison.responses]


def _score(comparison: Comparison, response: Response, name: str) -> float:
    if response.scores is None or name not in response.scores:
        known = ", ".join(sorted(response.scores or ())) or "none"
        raise UserError(f"An answer of comparison '{comparison.id}' has no score '{name}' (it has: {known}).",
                        "Name scores that every answer has, or leave the comparison out.")
    return response.scores[name]


def fitted(comparisons: Sequence[Comparison], prior: float) -> list[tuple[Comparison, list[float]]]:
    """One comparison for each prompt, with all its answers, and their Bradley-Terry scores from all its rankings.

    Every pair of every ranking is a game, a tie half a game won by each; answers are told apart by their text. The
    prior N(0, 1/prior) keeps the scores of an answer that never lost finite. They average 0 for each prompt.
    """
    by_prompt: dict[str, list[Comparison]] = {}
    for one in comparisons:
        by_prompt.setdefault(one.prompt.id, []).append(one)
    found = []
    for some in by_prompt.values():
        responses = {response.text: response for one in some for response in one.responses}
        place = {text: number for number, text in enumerate(responses)}
        wins = np.zeros((len(place), len(place)))
        for one in some:
            ranked = [(place[response.text], rank) for response, rank in zip(one.responses, one.ranks())]
            for (i, rank_i), (j, rank_j) in combinations(ranked, 2):
                wins[i, j] += (rank_i < rank_j) + 0.5 * (rank_i == rank_j)
                wins[j, i] += (rank_j < rank_i) + 0.5 * (rank_i == rank_j)
        np.fill_diagonal(wins, 0.0)
        scores = bradley_terry(wins, prior).tolist()
        merged = replace(some[0], responses=list(responses.values()), ranking=in_order(scores), shown=None)
        found.append((merged, scores))
    return found


def in_order(scores: Sequence[float]) -> list[list[int]]:
    """The ranking of answers by score, the best first; scores that differ by rounding alone are tied."""
    groups: dict[float, list[int]] = {}
    for index, score in enumerate(scores):
        groups.setdefault(round(score, 6), []).append(index)
    return [groups[score] for score in sorted(groups, reverse=True)]


def standardised(rows: Sequence[Sequence[float]]) -> tuple[list[list[float]], float, float]:
    """All numbers with mean 0 and deviation 1, and the mean and the deviation that they had.

    Raises:
        UserError: they are all the same.
    """
    values = [value for row in rows for value in row]
    mean = math.fsum(values) / len(values)
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / len(values))
    if deviation < 1e-9:
        raise UserError(f"All answers are worth the same ({mean:g}): there is nothing to predict.",
                        "Give answers with different ratings or ranks.")
    return [[(value - mean) / deviation for value in row] for row in rows], mean, deviation


def ranked_by_votes(comparison: Comparison) -> Comparison:
    """The answers in the order of preference-model pretraining (Askell et al. 2021, arXiv 2112.00861, section 4).

    An answer's score is log2(1 + votes), rounded, one more where the asker accepted it, and -1 where its votes are
    negative; equal scores are tied, so that 40 votes and 43 are no preference.

    Raises:
        UserError: an answer has no votes.
    """
    scores = []
    for response in comparison.responses:
        votes = _score(comparison, response, "votes")
        accepted = bool((response.scores or {}).get("accepted", 0))
        scores.append(-1.0 if votes < 0 else round(math.log2(1 + votes)) + accepted)
    return replace(comparison, ranking=in_order(scores))
