"""Whether a probability means what it says: of what is called 80 % sure, do 80 % come true?"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from math import exp

import numpy as np

from preceptor.data.records import Comparison

BINS = 10


@dataclass(frozen=True, slots=True)
class Bin:
    """Predictions of like confidence: their mean confidence, the share that came true, and how many there are."""

    confidence: float
    accuracy: float
    pairs: int

    def to_dict(self) -> dict[str, float]:
        """A JSON object."""
        return asdict(self)


def pair_confidences(comparisons: Sequence[Comparison],
                     scores: Sequence[Sequence[float]]) -> tuple[list[float], list[float]]:
    """For each pair that a ranking sets apart: how sure the scores are of their own order, and whether they are right.

    Sureness is sigmoid(|difference|), from 1/2 to 1: what a reward model of Bradley and Terry's form says of the
    chance that a labeler prefers the answer with the higher score. Equal scores are right by one half.
    """
    confidences, right = [], []
    for comparison, row in zip(comparisons, scores, strict=True):
        for (score_a, rank_a), (score_b, rank_b) in combinations(zip(row, comparison.ranks(), strict=True), 2):
            if rank_a != rank_b:
                difference = score_a - score_b if rank_a < rank_b else score_b - score_a
                confidences.append(1 / (1 + exp(-min(abs(difference), 700.0))))
                right.append(1.0 if difference > 0 else 0.5 if difference == 0 else 0.0)
    return confidences, right


def reliability(confidences: Sequence[float], right: Sequence[float], bins: int = BINS,
                lowest: float = 0.5) -> list[Bin]:
    """The predictions in bins of equal width from `lowest` to 1; empty bins are left out.

    The choice of one of two cannot be less sure than 1/2; that of one of n can be 1/n, and begins at 0 here.
    """
    groups: list[list[tuple[float, float]]] = [[] for _ in range(bins)]
    for confidence, outcome in zip(confidences, right, strict=True):
        groups[min(int((confidence - lowest) / (1 - lowest) * bins), bins - 1)].append((confidence, outcome))
    return [Bin(sum(confidence for confidence, _ in group) / len(group), sum(outcome for _, outcome in group)
                / len(group), len(group)) for group in groups if group]


def expected_calibration_error(table: Sequence[Bin]) -> float:
    """sum_b n_b / N |accuracy_b - confidence_b|  (Naeini et al. 2015; Guo et al. 2017, arXiv 1706.04599, equation 3).

    It is never negative and grows with noise: with few pairs a model that is perfectly calibrated has some too.
    """
    return sum(one.pairs * abs(one.accuracy - one.confidence) for one in table) / sum(one.pairs for one in table)


@dataclass(frozen=True, slots=True)
class Sureness:
    """A score as a probability of being right: p = sigmoid(slope · score + offset), the slope never below 0."""

    slope: float
    offset: float

    def of(self, score: float) -> float:
        """The probability, between 0 and 1."""
        return 1 / (1 + exp(min(max(-self.slope * score - self.offset, -700.0), 700.0)))

    def to_dict(self) -> dict[str, float]:
        """A JSON object."""
        return asdict(self)


def fit_sureness(scores: Sequence[float], right: Sequence[bool]) -> Sureness:
    """Platt's scaling: the slope and offset of the greatest likelihood, on records that no training saw.

    Of n⁺ right and n⁻ wrong ones the targets are (n⁺ + 1) / (n⁺ + 2) and 1 / (n⁻ + 2) in place of 1 and 0, so that the
    fit is finite even where all are right (Platt 1999, "Probabilistic outputs for support vector machines", §2.2).

    Raises:
        ValueError: there is no score, or one is not finite.
    """
    from scipy.optimize import minimize
    x, hit = np.asarray(scores, dtype=np.float64), np.asarray(right, dtype=bool)
    if not len(x) or x.shape != hit.shape or not np.isfinite(x).all():
        raise ValueError("one finite score for each outcome, and at least one")
    targets = np.where(hit, (hit.sum() + 1) / (hit.sum() + 2), 1 / ((~hit).sum() + 2))
    middle, spread = x.mean(), x.std() or 1.0
    z = (x - middle) / spread

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        logits = parameters[0] * z + parameters[1]
        wrong = 1 / (1 + np.exp(-logits)) - targets
        return float((np.logaddexp(0, logits) - targets * logits).sum()), np.array([(wrong * z).sum(), wrong.sum()])

    slope, offset = minimize(loss, np.array([1.0, 0.0]), jac=True, method="L-BFGS-B", bounds=[(0, None), (None, None)],
                             options={"ftol": 1e-14, "gtol": 1e-8}).x
    return Sureness(float(slope / spread), float(offset - slope * middle / spread))
