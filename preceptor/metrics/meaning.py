"""Repetition of meaning: sentences that are new in their words, and in what a model makes of them are not.

A sentence is the mean of its tokens' last hidden states. Its novelty is judged by the cosine to the likest earlier
sentence; a running sum of what that exceeds a reference (CUSUM, Page 1954) tells a spell of likeness from a chance
one, as the semantic channel of arXiv 2601.05693 does. Models differ in how alike all their states are, so reference
and limit come from honest texts read by the same model (`calibrated`).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

SLACK = 1.0  # standard deviations above the mean likeness of honest sentences before it counts
MARGIN = 1.1  # the limit is the largest sum that honest texts reach, and a tenth


@dataclass(frozen=True, slots=True)
class Limits:
    """What likeness counts (`reference`), and what sum of it is an alarm (`limit`)."""

    reference: float
    limit: float


class MeaningWatch:
    """Looks at the sentences of one text as they end."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.sum = 0.0
        self.start: int | None = None
        self._earlier: list[np.ndarray] = []

    def add(self, vector: np.ndarray, place: int) -> int | None:
        """Look at a sentence that began at `place`; returns where the spell of likeness began, when it is an alarm."""
        unit = vector / max(float(np.linalg.norm(vector)), 1e-12)
        if self._earlier:
            likeness = float((np.stack(self._earlier) @ unit).max())
            self.sum = max(0.0, self.sum + likeness - self.limits.reference)
            self.start = None if self.sum == 0 else place if self.start is None else self.start
        self._earlier.append(unit)
        return self.start if self.sum > self.limits.limit else None


def calibrated(texts: Iterable[Sequence[np.ndarray]]) -> Limits:
    """Limits at which none of these honest texts, each a list of sentence vectors, gives an alarm.

    Raises:
        ValueError: no text has two sentences.
    """
    texts = [list(text) for text in texts]
    watches = [_likenesses(text) for text in texts]
    everything = np.array([value for values in watches for value in values])
    if not len(everything):
        raise ValueError("meaning is calibrated on texts of two sentences and more, and there is none")
    reference = float(everything.mean() + SLACK * everything.std())
    largest = 0.0
    for values in watches:
        total = 0.0
        for value in values:
            total = max(0.0, total + value - reference)
            largest = max(largest, total)
    return Limits(reference, MARGIN * largest)


def _likenesses(vectors: Sequence[np.ndarray]) -> list[float]:
    """The cosine of each sentence but the first to the likest one before it."""
    units = [vector / max(float(np.linalg.norm(vector)), 1e-12) for vector in vectors]
    return [float((np.stack(units[:place]) @ units[place]).max()) for place in range(1, len(units))]
