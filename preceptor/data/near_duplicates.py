"""Near-duplicates: which texts are the same but for a few words, in any language, in time linear in their number.

A text is the set of its character 8-grams (lower case, no white space, so that Chinese needs no word breaker). The 64
smallest hashes of that set are its sketch; two sketches estimate the Jaccard similarity of the sets with a standard
error below 0.06 (Broder 1997, "On the resemblance and containment of documents", section 4).
"""

from array import array
from collections.abc import Sequence

import numpy as np

GRAM = 8
SKETCH = 64
BANDS = 8  # of pairs at similarity 0.7 fewer than one in ten thousand share none of their 8 smallest hashes (0.3^8)
LEADERS = 8  # texts kept per hash: boilerplate that is in every text must not make the work quadratic


def near_duplicates(texts: Sequence[str], threshold: float = 0.7) -> list[tuple[int, int]]:
    """Pairs (earlier, later) of texts whose similarity is at least `threshold`.

    Not every such pair, but enough to link all texts of a cluster: each text is compared with the first ones that
    share one of its smallest hashes.
    """
    sketches = [sketch(text) for text in texts]
    sets = [frozenset(hashes) for hashes in sketches]
    leaders: dict[int, list[int]] = {}
    pairs = []
    for index, hashes in enumerate(sketches):
        seen = sorted({leader for value in hashes[:BANDS] for leader in leaders.get(value, ())})
        pairs += [(leader, index) for leader in seen if alike(sets[leader], sets[index], threshold)]
        for value in hashes[:BANDS]:
            if len(found := leaders.setdefault(value, [])) < LEADERS:
                found.append(index)
    return pairs


class NearDuplicateIndex:
    """Near-duplicates of what was added before, one text at a time: what `near_duplicates` finds, as a stream.

    A text takes 64 hashes and up to 8 places in the table of leaders, about 2 KB.
    """

    def __init__(self, threshold: float = 0.7) -> None:
        self.threshold = threshold
        self.names: list[str] = []
        self._hashes, self._ends = array("Q"), array("Q", [0])
        self._leaders: dict[int, list[int]] = {}

    def find(self, hashes: Sequence[int]) -> tuple[str, float] | None:
        """The most similar text before this sketch that reaches the threshold, and its estimated similarity."""
        own, best = frozenset(hashes), None
        for index in sorted({leader for value in hashes[:BANDS] for leader in self._leaders.get(value, ())}):
            other = frozenset(self._hashes[self._ends[index]:self._ends[index + 1]])
            if alike(other, own, self.threshold):
                similarity = resemblance(other, own)
                if best is None or similarity > best[1]:
                    best = (self.names[index], similarity)
        return best

    def add(self, name: str, hashes: Sequence[int]) -> None:
        """Remember a text under its name."""
        for value in hashes[:BANDS]:
            if len(found := self._leaders.setdefault(value, [])) < LEADERS:
                found.append(len(self.names))
        self.names.append(name)
        self._hashes.extend(hashes)
        self._ends.append(len(self._hashes))


def sketch(text: str) -> list[int]:
    """The smallest hashes of a text's 8-grams, ascending, distinct, at most 64."""
    letters = "".join(text.lower().split()).ljust(GRAM, "\0")
    codes = np.frombuffer(letters.encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
    grams = np.zeros(len(codes) - GRAM + 1, np.uint64)
    for offset in range(GRAM):  # a polynomial in an odd base, modulo 2^64
        grams = grams * np.uint64(0x9E3779B97F4A7C15) + codes[offset:len(codes) - GRAM + 1 + offset]
    return np.unique(_mixed(grams))[:SKETCH].tolist()


def _mixed(values: np.ndarray) -> np.ndarray:
    """Spread 64-bit values evenly (the finaliser of MurmurHash3): the smallest must be a fair sample."""
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        values = (values ^ (values >> np.uint64(33))) * np.uint64(factor)
    return values ^ (values >> np.uint64(33))


def alike(first: frozenset[int], second: frozenset[int], threshold: float) -> bool:
    """Whether two sketches' estimated Jaccard similarity reaches `threshold`; exact for texts of under 64 grams."""
    shared, union = first & second, first | second
    size = SKETCH if SKETCH in (len(first), len(second)) else len(union)
    if size == SKETCH and len(shared) >= threshold * size:
        limit = sorted(union)[SKETCH - 1]  # a full sketch says nothing of what lies beyond its 64th hash
        return sum(value <= limit for value in shared) >= threshold * size
    return len(shared) >= threshold * size


def resemblance(first: frozenset[int], second: frozenset[int]) -> float:
    """The Jaccard similarity that two sketches estimate; exact for texts of under 64 grams."""
    union = sorted(first | second)[:SKETCH]
    return sum(value in first and value in second for value in union) / len(union)
