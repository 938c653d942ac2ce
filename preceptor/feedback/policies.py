"""Which item next: at random, the most uncertain, or the most informative one.

Both informed policies rest on a linear utility of an answer's features, u = x·w, learned from the rankings so far by
Bradley and Terry's model (1952), P(i over j) = sigmoid((x_i - x_j)·w), with a prior w ~ N(0, I / precision). Around its
maximum the posterior is N(mean, H^-1) with H = precision I + sum s p(1 - p) d d', d = x_i - x_j (Laplace's method). The
C(K, 2) pairs of one ranking count s = 2/K each, as together they tell about K - 1 comparisons.

    uncertain    mean over the item's pairs of d' H^-1 d: where the model knows least what it would say
    informative  log det(I + H^-1 sum s p(1 - p) d d'): how much a ranking of the item would shrink the posterior
                 (D-optimal design; Fedorov 1972, for reward models arXiv 2502.04354)

That informed choice beats chance is not certain (arXiv 2604.02766), so one item in five is drawn at random.
"""

import random
import re
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np

from preceptor.data.records import Comparison, Prompt, Response
from preceptor.feedback.assign import POOL, at_random
from preceptor.feedback.records import comparisons, item_content
from preceptor.feedback.store import Store
from preceptor.run.errors import UserError, nearest

POLICIES = ("random", "uncertain", "informative")
CONTROL = 0.2  # share of items that are drawn at random all the same
WIDTH = 128    # features of an answer
FEW = 32       # items that are enough to draw one from
Features = Callable[[Prompt, Sequence[Response]], np.ndarray]  # K answers to a prompt: [K, features]


@dataclass(frozen=True)
class LinearUtility:
    """The posterior of w: `mean` [d] and `hessian` [d, d], its precision."""

    mean: np.ndarray
    hessian: np.ndarray

    @cached_property
    def whitening(self) -> np.ndarray:
        """L^-1 [d, d] of H = L L', so that d' H^-1 d = |L^-1 d|^2."""
        return np.linalg.inv(np.linalg.cholesky(self.hessian))

    def chances(self, differences: np.ndarray) -> np.ndarray:
        """[P]: probability that the first answer of each pair is preferred; `differences` is [P, d]."""
        return _sigmoid(differences @ self.mean)

    def uncertainty(self, x: np.ndarray) -> float:
        """Mean variance of the difference in utility over the pairs of an item's answers, x [K, d]."""
        return float(np.mean(((_pairs(x) @ self.whitening.T) ** 2).sum(1)))

    def information(self, x: np.ndarray) -> float:
        """log det(I + H^-1 F), F the Fisher information of a ranking of the answers x [K, d]."""
        pairs = _pairs(x)
        p = self.chances(pairs)
        half = pairs * np.sqrt(2 / len(x) * p * (1 - p))[:, None] @ self.whitening.T
        small = half if half.shape[0] < half.shape[1] else half.T
        return float(np.linalg.slogdet(np.eye(len(small)) + small @ small.T)[1])


def fit_utility(differences: np.ndarray, weights: np.ndarray, precision: float = 1.0) -> LinearUtility:
    """The posterior from pairs in which the first answer was preferred, by Newton's method (the posterior is convex).

    Args:
        differences: [P, d], features of the preferred answer less those of the other.
        weights: [P], how much each pair counts; negative where the labeler is held to say the reverse of the truth.
        precision: of the prior.
    """
    signed, weights = differences * np.sign(weights)[:, None], np.abs(weights)
    w = np.zeros(differences.shape[1])
    for _ in range(100):
        p = _sigmoid(signed @ w)
        gradient = precision * w - signed.T @ (weights * (1 - p))
        hessian = precision * np.eye(len(w)) + (signed * (weights * p * (1 - p))[:, None]).T @ signed
        step = np.linalg.solve(hessian, gradient)
        w = w - step / max(1.0, float(np.abs(signed @ step).max(initial=0.0)))  # no margin moves by more than 1
        if np.abs(step).max() < 1e-9:
            break
    return LinearUtility(w, hessian)


def ranked_pairs(comparison: Comparison, x: np.ndarray) -> np.ndarray:
    """[P, d]: x of the better answer less x of the worse one, for each pair that the ranking sets apart."""
    ranks = comparison.ranks()
    pairs = [(i, j) if ranks[i] < ranks[j] else (j, i)
             for i, j in combinations(range(len(ranks)), 2) if ranks[i] != ranks[j]]
    return np.array([x[better] - x[worse] for better, worse in pairs]).reshape(-1, x.shape[1])


def hashed_words(prompt: Prompt, responses: Sequence[Response]) -> np.ndarray:
    """[K, WIDTH]: words (Chinese: characters) hashed with signs to unit length; length; overlap with the prompt."""
    asked = set(_words(" ".join(str(message["content"]) for message in prompt.messages)))
    rows = np.zeros((len(responses), WIDTH))
    hashed = WIDTH - 5
    for row, response in zip(rows, responses):
        words = _words(response.text)
        for word in words:
            code = zlib.crc32(word.encode())
            row[code % hashed] += 1 if code & 1 << 31 else -1
        row /= max(1.0, np.linalg.norm(row))
        repeated = sum(word in asked for word in words)
        row[hashed:] = (np.log1p(len(words)), np.log1p(repeated), np.log1p(len(words) - repeated),
                        repeated / max(1, len(words)), len(asked.intersection(words)) / max(1, len(asked)))
    return rows


def _words(text: str) -> list[str]:
    return re.findall(r"[\u4e00-\u9fff]|[^\W\u4e00-\u9fff]+", text.lower())


class Selector:
    """A policy of `assign.next_item` that looks at the labels of a store, and looks again after every `every` calls."""

    def __init__(self, store: Store, kind: str, *, features: Features = hashed_words, every: int = 20) -> None:
        if kind not in POLICIES:
            raise UserError(f"There is no policy '{kind}' of what is labelled next.", nearest(kind, POLICIES))
        self.store, self.kind, self.features, self.every = store, kind, features, every
        self.pool = FEW if kind == "random" else POOL
        self._utility: LinearUtility | None = None
        self._x: dict[str, np.ndarray] = {}
        self._calls = 0

    def look(self) -> None:
        """Fit the utility to the labels that there are. Called between assignments, for it takes a while."""
        self._calls += 1
        if self.kind != "random" and self._calls % self.every == 1:
            pairs = [(ranked_pairs(one, self.features(one.prompt, one.responses)), len(one.responses))
                     for one in comparisons(self.store)]
            differences = np.concatenate([pair for pair, _ in pairs] or [np.zeros((0, WIDTH))])
            weights = np.concatenate([np.full(len(pair), 2 / count) for pair, count in pairs] or [np.zeros(0)])
            self._utility = fit_utility(differences, weights)

    def __call__(self, open_items: Sequence[str], draw: random.Random) -> Sequence[str]:
        """Open items, the best first; at random where nothing is known yet, and for the control arm."""
        shuffled = at_random(open_items, draw)
        if self._utility is None or draw.random() < CONTROL:
            return shuffled
        score = self._utility.uncertainty if self.kind == "uncertain" else self._utility.information
        return sorted(shuffled, key=lambda item: -score(self._features_of(item)))

    def _features_of(self, item: str) -> np.ndarray:
        if item not in self._x:
            self._x[item] = self.features(*item_content(self.store, item))
        return self._x[item]


def _pairs(x: np.ndarray) -> np.ndarray:
    first, second = np.triu_indices(len(x), 1)
    return x[first] - x[second]


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(x, -500, 500)))
