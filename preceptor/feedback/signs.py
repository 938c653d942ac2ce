"""Signs that a labeler does not do what he should, each as a z-value over his rankings, with what it is measured on.

    position    Kendall's tau between his ranks and the order in which the answers were shown; that order is random
    length      tau between his ranks and the answers' lengths, less what his agreement with the consensus explains
    company     tau between two labelers on the items they share, less what their agreement with the consensus explains

Under the null hypothesis tau over K answers without ties has the variance 2(2K + 5) / 9K(K - 1) (Kendall 1938), and
items are independent. Positive position: what was shown first is ranked first. Positive length: longer is better.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean

from preceptor.data.records import Comparison
from preceptor.metrics.rankings import kendall_tau_b

Quality = Mapping[str, Mapping[str, float]]  # of each prompt's answers by text, as `trust` finds them


@dataclass(frozen=True, slots=True)
class Sign:
    """A z-value, the mean tau behind it, and how many rankings (or shared items) it is taken over."""

    z: float
    tau: float
    n: int


def tau_variance(k: int) -> float:
    """Variance of Kendall's tau between two independent orders of k things."""
    return 2 * (2 * k + 5) / (9 * k * (k - 1))


def consensus_agreement(rankings: Sequence[Comparison], quality: Quality) -> dict[str, float]:
    """Mean tau between each labeler's ranks and the consensus, 0 for who never set two answers apart."""
    taus: dict[str, list[float]] = defaultdict(list)
    for one in rankings:
        tau = kendall_tau_b(_liking(one), [quality[one.prompt.id][response.text] for response in one.responses])
        taus[one.labeler].append(tau or 0.0)
    return {labeler: fmean(values) for labeler, values in taus.items()}


def position_signs(rankings: Sequence[Comparison]) -> dict[str, Sign]:
    """By labeler; rankings whose shown order is not known, or that set nothing apart, are left out."""
    residuals: dict[str, list[tuple[float, int]]] = defaultdict(list)
    for one in rankings:
        if one.shown is not None:
            earliness = [-float(one.shown.index(index)) for index in range(len(one.responses))]
            tau = kendall_tau_b(_liking(one), earliness)
            if tau is not None:
                residuals[one.labeler].append((tau, len(one.responses)))
    return {labeler: _sign(found) for labeler, found in residuals.items()}


def length_signs(rankings: Sequence[Comparison], quality: Quality) -> dict[str, Sign]:
    """By labeler; lengths in characters."""
    agreement = consensus_agreement(rankings, quality)
    residuals: dict[str, list[tuple[float, int]]] = defaultdict(list)
    for one in rankings:
        lengths = [float(len(response.text)) for response in one.responses]
        tau = kendall_tau_b(_liking(one), lengths)
        if tau is not None:
            common = kendall_tau_b([quality[one.prompt.id][response.text] for response in one.responses], lengths)
            residuals[one.labeler].append((tau - agreement[one.labeler] * (common or 0.0), len(one.responses)))
    return {labeler: _sign(found) for labeler, found in residuals.items()}


def company_signs(rankings: Sequence[Comparison], quality: Quality) -> dict[str, dict[str, Sign]]:
    """For each labeler, each other one with whom he shares items, matched by prompt and texts."""
    agreement = consensus_agreement(rankings, quality)
    by_answers: dict[tuple[str, ...], dict[str, dict[str, float]]] = defaultdict(dict)
    for one in rankings:
        texts = [response.text for response in one.responses]
        by_answers[one.prompt.id, *sorted(texts)][one.labeler] = dict(zip(texts, _liking(one)))
    residuals: dict[tuple[str, str], list[tuple[float, int]]] = defaultdict(list)
    for ballots in by_answers.values():
        for (a, liked_a), (b, liked_b) in combinations(sorted(ballots.items()), 2):
            tau = kendall_tau_b(list(liked_a.values()), [liked_b[text] for text in liked_a])
            if tau is not None:
                residuals[a, b].append((tau - agreement[a] * agreement[b], len(liked_a)))
    signs: dict[str, dict[str, Sign]] = defaultdict(dict)
    for (a, b), found in residuals.items():
        signs[a][b] = signs[b][a] = _sign(found)
    return dict(signs)


def _liking(comparison: Comparison) -> list[float]:
    """Minus the rank of each response: higher is better."""
    return [-float(rank) for rank in comparison.ranks()]


def _sign(residuals: Sequence[tuple[float, int]]) -> Sign:
    spread = math.sqrt(sum(tau_variance(k) for _, k in residuals))
    return Sign(sum(tau for tau, _ in residuals) / spread, fmean(tau for tau, _ in residuals), len(residuals))
