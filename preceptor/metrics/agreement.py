"""Krippendorff's alpha: agreement of any number of raters who rate different units, corrected for chance.

    alpha = 1 - D_observed / D_expected

D is the mean difference delta(c, k) between two values of one unit (observed), or of any two values (expected);
Krippendorff 2018, chapter 12. 1 is perfect agreement, 0 is what chance gives, below 0 is systematic disagreement.
"""

from collections.abc import Hashable, Iterable, Sequence
from itertools import combinations

import numpy as np

from preceptor.data.records import Comparison

METRICS = ("nominal", "ordinal", "interval")


def krippendorff_alpha(units: Iterable[Sequence[float]], metric: str = "nominal") -> float | None:
    """alpha over the values that each unit was given; units with fewer than two values tell nothing.

    Args:
        units: the values of each unit, by whichever raters, in any order.
        metric: delta is 1 for different values (nominal), (c - k)^2 (interval), or the square of the number of values
            that lie between c and k, each of these two counting one half (ordinal).

    Returns:
        None where no unit has two values, or all values are the same.
    """
    if metric not in METRICS:
        raise ValueError(f"metric must be one of {METRICS}, not {metric}")
    rated = [np.asarray(values, dtype=np.float64) for values in units if len(values) > 1]
    if not rated:
        return None
    domain = np.unique(np.concatenate(rated))
    coincidences = np.zeros((len(domain), len(domain)))
    for values in rated:
        counts = (values[:, None] == domain).sum(0).astype(np.float64)
        coincidences += (np.outer(counts, counts) - np.diag(counts)) / (len(values) - 1)
    totals = coincidences.sum(0)
    delta = _differences(domain, totals, metric)
    expected = (np.outer(totals, totals) - np.diag(totals)) / (totals.sum() - 1)
    chance = float((expected * delta).sum())
    return 1 - float((coincidences * delta).sum()) / chance if chance else None


def _differences(domain: np.ndarray, totals: np.ndarray, metric: str) -> np.ndarray:
    if metric == "nominal":
        return 1 - np.eye(len(domain))
    if metric == "interval":
        return (domain[:, None] - domain[None, :]) ** 2
    middles = np.cumsum(totals) - totals / 2
    return (middles[:, None] - middles[None, :]) ** 2


def pair_units(comparisons: Iterable[Comparison]) -> dict[Hashable, list[float]]:
    """For each pair of answers to a prompt, by text: 1, -1 or 0 from each labeler who has both (first, second, tied).

    The units of a nominal alpha over rankings. Of a labeler who ranked a pair twice the last word counts: he is one
    rater, and does not agree with himself.
    """
    units: dict[Hashable, dict[str, float]] = {}
    for one in comparisons:
        said = sorted(zip((response.text for response in one.responses), one.ranks(), strict=True))
        for (text_a, rank_a), (text_b, rank_b) in combinations(said, 2):
            if text_a != text_b:
                key = (one.prompt.id, text_a, text_b)
                units.setdefault(key, {})[one.labeler] = float((rank_a < rank_b) - (rank_a > rank_b))
    return {key: list(values.values()) for key, values in units.items()}


def likert_units(comparisons: Iterable[Comparison], axis: str = "overall") -> dict[Hashable, list[float]]:
    """For each answer to a prompt, by text: its score on one axis by each labeler, the last one that he gave. The units
    of an ordinal alpha."""
    units: dict[Hashable, dict[str, float]] = {}
    for one in comparisons:
        for response in one.responses:
            if response.scores and axis in response.scores:
                units.setdefault((one.prompt.id, response.text), {})[one.labeler] = response.scores[axis]
    return {key: list(values.values()) for key, values in units.items()}
