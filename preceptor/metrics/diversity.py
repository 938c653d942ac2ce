"""How much texts differ from each other: distinct n-grams, self-BLEU, Zipf's exponent, distinct tokens.

A text is a list of tokens, of any hashable kind (`metrics/repetition.py` cuts strings). All of these change with the
number and length of the texts: compare equal numbers.
"""

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence

Text = Sequence[Hashable]

SMOOTHING = 0.1  # in place of no match: Chen and Cherry 2014, method 1, as Holtzman et al. 2020 use it


def distinct_n(texts: Iterable[Text], n: int) -> float | None:
    """Distinct n-grams of all texts together / n-grams (Li et al. 2016, arXiv 1510.03055); None where there is none."""
    grams = Counter(gram for text in texts for gram in _grams(text, n))
    return len(grams) / grams.total() if grams else None


def uniq_seq(texts: Iterable[Text]) -> tuple[int, int]:
    """(distinct tokens, all tokens) of the texts together (Welleck et al. 2020's uniq-seq and what it depends on)."""
    counts = Counter(token for text in texts for token in text)
    return len(counts), counts.total()


def zipf(texts: Iterable[Text], ranks: int = 5000) -> float | None:
    """Zipf's exponent: minus the slope of log frequency over log rank, by least squares over the commonest tokens.

    Holtzman et al. 2020, section 5.4. Returns None where fewer than two tokens differ.
    """
    counts = sorted(Counter(token for text in texts for token in text).values(), reverse=True)[:ranks]
    if len(counts) < 2:
        return None
    xs = [math.log(rank) for rank in range(1, len(counts) + 1)]
    ys = [math.log(count) for count in counts]
    mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys)) / sum((x - mean_x) ** 2 for x in xs)
    return -slope


def self_bleu(texts: Sequence[Text], n: int = 4) -> float | None:
    """The mean BLEU-n of each text with all others as its references (Zhu et al. 2018, arXiv 1802.01886).

    1 where all texts are the same. Linear in the length of the texts: an n-gram may match as often as it occurs in the
    one other text that has most of it, and the two largest counts answer that for every text.

    Returns:
        The mean, or None where fewer than two texts have a token.
    """
    texts = [text for text in texts if len(text)]
    if len(texts) < 2:
        return None
    tables = [_CountsElsewhere([Counter(_grams(text, size)) for text in texts]) for size in range(1, n + 1)]
    lengths = Counter(map(len, texts))
    return math.fsum(_bleu(index, texts, tables, lengths) for index in range(len(texts))) / len(texts)


class _CountsElsewhere:
    """For every n-gram, the largest count in one text other than a given one."""

    def __init__(self, counts: list[Counter]) -> None:
        self.counts = counts
        self.best: dict[tuple, tuple[int, int]] = {}
        self.second: Counter = Counter()
        for index, found in enumerate(counts):
            for gram, count in found.items():
                most, _ = self.best.get(gram, (0, -1))
                if count > most:
                    self.second[gram] = most
                    self.best[gram] = (count, index)
                else:
                    self.second[gram] = max(self.second[gram], count)

    def matches(self, index: int) -> int:
        """N-grams of text `index` that its references have, each as often as one of them has it."""
        total = 0
        for gram, count in self.counts[index].items():
            most, owner = self.best[gram]
            total += min(count, self.second[gram] if owner == index else most)
        return total


def _bleu(index: int, texts: Sequence[Text], tables: Sequence[_CountsElsewhere], lengths: Counter) -> float:
    """BLEU of one text against all others (Papineni et al. 2002), smoothed; the reference length is the nearest."""
    size = len(texts[index])
    logs = 0.0
    for n, table in enumerate(tables, start=1):
        total = max(size - n + 1, 1)
        logs += math.log((table.matches(index) or SMOOTHING) / total) / len(tables)
    others = lengths - Counter([size])
    nearest = min(others, key=lambda length: (abs(length - size), length))
    return math.exp(logs + min(0.0, 1 - nearest / size))


def _grams(text: Text, n: int) -> list[tuple]:
    return [tuple(text[start:start + n]) for start in range(len(text) - n + 1)]
