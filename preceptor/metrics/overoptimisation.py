"""How far a reward can be pushed before the truth behind it falls: Gao, Schulman and Hilton 2022 (arXiv 2210.10760).

A policy is pushed by a proxy reward away from where it began, by a divergence KL; d = sqrt(KL). What the true (gold)
reward does meanwhile they found to follow, with coefficients of the proxy's own,

    best of n                R(d) = d (alpha - beta d)
    reinforcement learning   R(d) = d (alpha - beta log d)

Gold and proxy are 0 at d = 0.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np

Method = Literal["best_of_n", "rl"]


def best_of_n(proxy: Sequence[float], values: Sequence[float], n: int) -> float:
    """The mean of `values` at the answer with the highest proxy score of n, over all n of the N answers to a prompt.

    Nakano et al. 2021 (arXiv 2112.09332), appendix I: with answers in the order of the proxy, the i-th (from 1) is the
    best of C(i - 1, n - 1) of the C(N, n) subsets. Answers with one proxy score share their mean value.

    Args:
        proxy, values: [N], of the same answers.
        n: 1 to N.
    """
    total = len(proxy)
    if not 1 <= n <= total:
        raise ValueError(f"the best of {n} among {total} answers")
    levels: dict[float, list[float]] = {}
    for score, value in zip(proxy, values, strict=True):
        levels.setdefault(score, []).append(value)
    below, found = 0, 0.0
    for score in sorted(levels):
        group = levels[score]
        upto = below + len(group)
        found += sum(group) / len(group) * (math.comb(upto, n) - math.comb(below, n)) / math.comb(total, n)
        below = upto
    return found


def kl_best_of_n(n: int) -> float:
    """log n - (n - 1)/n nats: the divergence of the best of n from one answer, where no two answers are alike."""
    return math.log(n) - (n - 1) / n


@dataclass(frozen=True, slots=True)
class Frontier:
    """A fitted curve of gold reward, and the share of the variance of its points that it explains."""

    alpha: float
    beta: float
    r2: float

    def to_dict(self) -> dict[str, float]:
        return asdict(self)


def shape(d: np.ndarray, method: Method) -> np.ndarray:
    """[P, 2]: what alpha and beta are multiplied by at each d > 0."""
    return np.stack([d, -d * (d if method == "best_of_n" else np.log(d))], axis=1)


def fit_frontier(d: Sequence[float], gold: Sequence[float], method: Method) -> Frontier:
    """The least-squares alpha and beta. Points with d = 0 hold nothing, as the curve is 0 there.

    Args:
        d: [P], square roots of divergences in nats; at least two above 0.
        gold: [P], gold reward less that at d = 0.
    """
    points = [(x, y) for x, y in zip(d, gold, strict=True) if x > 0]
    if len(points) < 2:
        raise ValueError(f"two coefficients from {len(points)} points")
    x, y = (np.array(column, dtype=np.float64) for column in zip(*points))
    design = shape(x, method)
    (alpha, beta), *_ = np.linalg.lstsq(design, y, rcond=None)
    left = float(np.square(y - design @ np.array([alpha, beta])).sum())
    spread = float(np.square(y - y.mean()).sum())
    return Frontier(float(alpha), float(beta), 1 - left / spread if spread else 0.0)
