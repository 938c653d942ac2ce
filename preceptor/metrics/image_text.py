"""Measures of a score matrix of pictures and texts, by the conventions of the field's own code.

Legend: I pictures, C classes, T texts. Every measure keeps one number for each picture (or text), so that an interval
can be taken over what is independent. Of equal scores the first column wins, as `argmax` and `topk` have it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class ZeroShot:
    """Of every picture whether its class is the best scored, and whether it is among the best five; the mean over
    classes of the share of their pictures that are right."""

    top1: Bools
    top5: Bools
    per_class: float


def zero_shot(scores_IC: Floats, labels_I: NDArray[np.integer]) -> ZeroShot:
    """Classification by the best-scored class, as CLIP reports it (top-1, top-5, mean per-class recall)."""
    best_IK = np.argsort(-scores_IC, axis=1, kind="stable")[:, :5]
    right = best_IK == labels_I[:, None]
    recalls = [right[labels_I == label, 0].mean() for label in np.unique(labels_I)]
    return ZeroShot(right[:, 0], right.any(1), float(np.mean(recalls)))


def found_at(scores_QK: Floats, positives_QK: Bools, k: int) -> Bools:
    """Of each query whether ANY of what belongs to it is among its k best: the R@k of CLIP's and LAVIS' code, which is
    a hit rate and no recall where several belong to one."""
    best = np.argsort(-scores_QK, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(positives_QK, best, axis=1).any(1)


@dataclass(frozen=True, slots=True)
class WordOrder:
    """Of every pair of pictures with its pair of texts: the right text for both pictures, the right picture for both
    texts, and both. By chance 1/4, 1/4 and 1/6."""

    text: Bools
    image: Bools
    group: Bools


def word_order(scores_P22: Floats) -> WordOrder:
    """Winoground (Thrush et al. 2022, arXiv 2204.03162, eq. 1-3): `scores[p, i, t]` is of picture i with text t of the
    pair p, of which text i belongs to picture i. A tie is wrong. A score that is only log p(text | picture) orders the
    texts of one picture: of it only `text` means anything."""
    same, other = scores_P22[:, [0, 1], [0, 1]], scores_P22[:, [0, 1], [1, 0]]
    text = (same > other).all(1)
    image = (scores_P22[:, 0, 0] > scores_P22[:, 1, 0]) & (scores_P22[:, 1, 1] > scores_P22[:, 0, 1])
    return WordOrder(text, image, text & image)


def score_auc(scores_IT: Floats, positives_IT: Bools) -> Floats:
    """How often each picture scores a text that is true of it above one that is not, over all such pairs; a tie counts
    one half. 1/2 by chance, whatever the scale of the scores; NaN for a picture without such a pair."""
    shares = np.full(len(scores_IT), np.nan)
    for row, (scores, true) in enumerate(zip(scores_IT, positives_IT, strict=True)):
        if true.any() and not true.all():
            ranked = np.sort(scores[~true])
            below, up_to = (np.searchsorted(ranked, scores[true], side=side) for side in ("left", "right"))
            shares[row] = (below + up_to).mean() / (2 * len(ranked))
    if np.isnan(shares).all():
        raise ValueError("no picture has both a text that is true of it and one that is not")
    return shares


def overlap(box: Sequence[float] | None, other: Sequence[float] | None) -> float:
    """Intersection over union of two boxes (left, top, right, bottom); 0 where one is absent or has no area."""
    if box is None or other is None:
        return 0.0
    sides = np.clip(np.minimum(box[2:], other[2:]) - np.maximum(box[:2], other[:2]), 0, None)
    areas = [float(np.prod(np.clip(np.subtract(one[2:], one[:2]), 0, None))) for one in (box, other)]
    shared = float(np.prod(sides))
    return shared / (sum(areas) - shared) if shared else 0.0
