"""95 % intervals: by bootstrap over prompts, for proportions, for win rates, and over seeds.

Answers to one prompt are not independent, nor are the C(K, 2) pairs of one ranking: an interval over pairs that
forgets this covers the truth 79 % of the time at K = 7 instead of 95 % (measured, docs/formulas.md). So the unit that
is drawn again is the prompt (the cluster), with all that belongs to it.
"""

import math
from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist

import numpy as np

from preceptor.run.errors import UserError

CONFIDENCE = 0.95
_CELLS = 1_000_000  # indices drawn at once: bounds the memory of a bootstrap at 8 MB


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its 95 % interval; `n` counts the independent units (prompts, seeds) behind it."""

    mean: float
    low: float
    high: float
    n: int

    def to_dict(self) -> dict[str, float]:
        """The JSON object of `summary.json`."""
        return asdict(self)


def bootstrap_ratio(
    numerators: Sequence[float], denominators: Sequence[float], resamples: int = 2000, seed: int = 0
) -> Interval:
    """sum(numerators) / sum(denominators), one of each for a cluster, by the percentile bootstrap over clusters.

    Efron and Tibshirani 1993, chapter 13. Clusters with denominator 0 hold no observation and are left out. When all
    clusters agree the interval has no width: below some 20 clusters, or near 0 % and 100 %, read it with care.

    Args:
        numerators: for each cluster the sum of its values, such as the number of its pairs that are right.
        denominators: for each cluster how many values that sums over.
        resamples: how often the clusters are drawn again.
        seed: of the draw. The interval is a function of the data and the seed.

    Raises:
        UserError: no cluster holds an observation.
    """
    top, bottom = np.asarray(numerators, dtype=np.float64), np.asarray(denominators, dtype=np.float64)
    if top.shape != bottom.shape or top.ndim != 1:
        raise ValueError(f"one numerator and one denominator a cluster, not {top.shape} and {bottom.shape}")
    top, bottom = top[bottom > 0], bottom[bottom > 0]
    n = len(top)
    if n == 0:
        raise UserError("There is no observation to take an interval of.", "Check that the data are not empty.")
    draw = np.random.default_rng(seed)
    ratios = []
    for done in range(0, resamples, block := max(1, _CELLS // n)):
        chosen = draw.integers(0, n, size=(min(block, resamples - done), n))
        ratios.append(top[chosen].sum(1) / bottom[chosen].sum(1))
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(np.concatenate(ratios), [tail, 1 - tail])
    return Interval(float(top.sum() / bottom.sum()), float(low), float(high), n)


def bootstrap_ratio_difference(
    first: tuple[Sequence[float], Sequence[float]],
    second: tuple[Sequence[float], Sequence[float]],
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """sum(n_1) / sum(d_1) - sum(n_2) / sum(d_2), drawing clusters that both share: what differs is not the prompts.

    Args:
        first, second: numerators and denominators, one of each for a cluster; cluster c of both is the same prompt.
        resamples, seed: as in `bootstrap_ratio`.

    Raises:
        UserError: one of the two has no observation.
    """
    table = np.asarray([*first, *second], dtype=np.float64)
    n = table.shape[1]
    if not (table[1].any() and table[3].any()):
        raise UserError("There is no observation to take a difference of.", "Check that the data are not empty.")
    draw, block = np.random.default_rng(seed), max(1, _CELLS // (4 * n))
    sums = np.concatenate([table[:, draw.integers(0, n, size=(min(block, resamples - done), n))].sum(2)
                           for done in range(0, resamples, block)], axis=1)
    sums = sums[:, (sums[1] > 0) & (sums[3] > 0)]
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(sums[0] / sums[1] - sums[2] / sums[3], [tail, 1 - tail])
    top_1, bottom_1, top_2, bottom_2 = table.sum(1)
    return Interval(float(top_1 / bottom_1 - top_2 / bottom_2), float(low), float(high), n)


def bootstrap_mean(
    values: Sequence[float],
    clusters: Sequence[Hashable] | None = None,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """The mean of `values`, every value of the same weight, by `bootstrap_ratio` over clusters.

    Args:
        values: one for each observation.
        clusters: what each observation belongs to (the id of its prompt); None when all are independent.

    Raises:
        UserError: there is no value.
    """
    if clusters is None:
        return bootstrap_ratio(values, [1] * len(values), resamples, seed)
    groups: dict[Hashable, list[float]] = {}
    for value, cluster in zip(values, clusters, strict=True):
        groups.setdefault(cluster, []).append(value)
    return bootstrap_ratio(
        [math.fsum(group) for group in groups.values()], [len(group) for group in groups.values()], resamples, seed
    )


def mean_over_prompts(values: Sequence[float], prompts: Sequence[Hashable] | None = None) -> Interval:
    """The mean of one figure of each prompt: Wilson's interval where all are 0 or 1 and no two share a prompt, since a
    bootstrap has no width where all agree; else `bootstrap_mean`.

    Raises:
        UserError: there is no value.
    """
    apart = prompts is None or len(set(prompts)) == len(values)
    if apart and all(value in (0, 1) for value in values):
        return wilson(int(sum(values)), len(values))
    return bootstrap_mean(values, prompts)


def win_rate(
    scores_a: Sequence[float],
    scores_b: Sequence[float],
    prompts: Sequence[Hashable],
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """How often a judge scores the answer of A above that of B; a tie counts one half.

    Args:
        scores_a, scores_b: the judge's scores of the two answers to the same prompt, one pair a comparison.
        prompts: the id of the prompt of each comparison; the bootstrap draws prompts.

    Raises:
        UserError: there is no comparison.
    """
    outcomes = [(a > b) + 0.5 * (a == b) for a, b in zip(scores_a, scores_b, strict=True)]
    return bootstrap_mean(outcomes, prompts, resamples, seed)


def wilson(successes: int, n: int) -> Interval:
    """A proportion of independent trials, by Wilson's score interval (1927): sound at 0 and 1 and for small n.

        (p + z^2/2n -+ z sqrt(p(1 - p)/n + z^2/4n^2)) / (1 + z^2/n),  p = successes / n,  z = 1.96

    Raises:
        UserError: there is no trial.
    """
    if n == 0:
        raise UserError("There is no trial to take a proportion of.", "Check that the data are not empty.")
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n} trials")
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    p = successes / n
    centre = p + z * z / (2 * n)
    reach = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return Interval(p, max(0.0, (centre - reach) / scale), min(1.0, (centre + reach) / scale), n)


def interval_over_seeds(values: Sequence[float]) -> Interval:
    """mean -+ t s / sqrt(n), with s the sample deviation and t Student's quantile at n - 1 degrees of freedom.

    With 3 seeds t is 4.30, not 1.96: few seeds make a wide interval, and should.

    Raises:
        UserError: fewer than two seeds.
    """
    n = len(values)
    if n < 2:
        raise UserError(f"An interval over seeds needs at least two runs, not {n}.", "Run more seeds.")
    mean = math.fsum(values) / n
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
    reach = _student_t(n - 1) * deviation / math.sqrt(n)
    return Interval(mean, mean - reach, mean + reach, n)


def _student_t(degrees: int) -> float:
    """The t with P(|T| < t) = 0.95, by bisection on the angle theta = arctan(t / sqrt(degrees))."""
    low, high = 0.0, math.pi / 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _student_mass(middle, degrees) < CONFIDENCE else (low, middle)
    return math.sqrt(degrees) * math.tan(low)


def _student_mass(theta: float, degrees: int) -> float:
    """P(|T| < sqrt(degrees) tan theta): Abramowitz and Stegun 26.7.3 (odd degrees) and 26.7.4 (even)."""
    cosine = math.cos(theta)
    odd = degrees % 2
    term, series = (cosine if odd else 1.0), 0.0
    for step in range(2 + odd, degrees + 1, 2):
        series += term
        term *= cosine * cosine * (step - 1) / step
    series *= math.sin(theta)
    return 2 / math.pi * (theta + series) if odd else series
