"""Denoising: an encoder reads a damaged text, a decoder writes what is missing (T5) or the whole text (BART)."""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from preceptor.data.batches import IGNORE, Batch, Example

Pair = tuple[list[int], list[int]]  # what is read, what is to be written


@dataclass(frozen=True, kw_only=True)
class SpanCorruption:
    """Raffel et al. 2020 (T5), §3.1.4: spans of a mean length, a share of the tokens in all, each replaced by a
    sentinel of its own; to be written are the sentinels, each with its span, and the end."""

    sentinels: Sequence[int]
    end: int
    pad: int
    start: int
    share: float = 0.15
    span: float = 3.0

    def __call__(self, rows: Sequence[Sequence[Example]], draw: random.Random) -> Batch:
        return lay_pairs(rows, lambda tokens: self.damaged(tokens, draw), self.end, self.pad, self.start)

    def damaged(self, tokens: list[int], draw: random.Random) -> Pair:
        """Noise and kept stretches alternate, kept first; their lengths are a random composition of the two totals."""
        noise = min(max(1, round(len(tokens) * self.share)), max(1, len(tokens) - 1))
        kept = len(tokens) - noise
        spans = max(1, min(round(noise / self.span), noise, kept or 1, len(self.sentinels)))
        read: list[int] = []
        written: list[int] = []
        place = 0
        for number, (calm, lost) in enumerate(zip(_composition(kept, spans, draw), _composition(noise, spans, draw))):
            read += [*tokens[place:place + calm], self.sentinels[number]]
            written += [self.sentinels[number], *tokens[place + calm:place + calm + lost]]
            place += calm + lost
        return [*read, self.end], [*written, self.end]


def _composition(total: int, parts: int, draw: random.Random) -> list[int]:
    """`total` as a sum of `parts` numbers of at least 1, all such sums equally likely; [0] where there is nothing."""
    if total == 0:
        return [0] * parts
    cuts = [0, *sorted(draw.sample(range(1, total), parts - 1)), total]
    return [after - before for before, after in zip(cuts, cuts[1:])]


@dataclass(frozen=True, kw_only=True)
class Infilling:
    """Lewis et al. 2020 (BART), §2.2: sentences in a drawn order, then spans of Poisson length replaced by one mask
    each (one of no tokens is a mask put in) until the share is hidden; to be written is the whole text and the end."""

    mask: int
    end: int
    pad: int
    start: int
    sentence_ends: frozenset[int]
    share: float = 0.3
    span: float = 3.0

    def __call__(self, rows: Sequence[Sequence[Example]], draw: random.Random) -> Batch:
        return lay_pairs(rows, lambda tokens: self.damaged(tokens, draw), self.end, self.pad, self.start)

    def damaged(self, tokens: list[int], draw: random.Random) -> Pair:
        read = self._infilled(self._shuffled(tokens, draw), draw)
        return [*read, self.end], [*tokens, self.end]

    def _shuffled(self, tokens: list[int], draw: random.Random) -> list[int]:
        sentences: list[list[int]] = [[]]
        for token in tokens:
            sentences[-1].append(token)
            if token in self.sentence_ends:
                sentences.append([])
        draw.shuffle(sentences)
        return [token for sentence in sentences for token in sentence]

    def _infilled(self, tokens: list[int], draw: random.Random) -> list[int]:
        """Choose span lengths until their sum is due, then deal the tokens that stay to the gaps between the spans."""
        due = max(1, round(self.share * len(tokens)))
        lengths: list[int] = []
        while sum(lengths) < due:
            lengths.append(min(_poisson(self.span, draw), due - sum(lengths)))
        draw.shuffle(lengths)
        gaps = [0] * (len(lengths) + 1)
        for _ in range(len(tokens) - due):
            gaps[draw.randrange(len(gaps))] += 1
        read, place = [], 0
        for gap, length in zip(gaps, lengths):
            read += [*tokens[place:place + gap], self.mask]
            place += gap + length
        return read + tokens[place:]


def _poisson(mean: float, draw: random.Random) -> int:
    """Knuth's method: how many uniform numbers can be multiplied before the product falls below e^-mean."""
    limit, product, count = math.exp(-mean), draw.random(), 0
    while product > limit:
        product *= draw.random()
        count += 1
    return count


def lay_pairs(rows: Sequence[Sequence[Example]], damaged: Callable[[list[int]], Pair], end: int, pad: int,
              start: int) -> Batch:
    """Lay what is read and what is to be written side by side in rows, documents in the same order in both.

    Tensors: `tokens`, `segments` (rows, S) of what is read; `written`, `written_segments`, `targets` (rows, T) of what
    is to be written, `written` being the targets one later behind `start`. End tokens of the examples are left out.
    """
    pairs = [[damaged([token for token in example.tokens if token != end]) for example in row] for row in rows]
    read = [[(one, one) for one, _ in row] for row in pairs]
    written = [[([start, *text[:-1]], text) for _, text in row] for row in pairs]
    tokens, _, segments = _side_by_side(read, pad)
    shifted, targets, written_segments = _side_by_side(written, pad)
    return Batch({"tokens": tokens, "segments": segments, "written": shifted, "written_segments": written_segments,
                  "targets": targets}, [sum(len(text) for _, text in row) for row in pairs],
                 [[example.id for example in row] for row in rows])


def _side_by_side(rows: list[list[Pair]], pad: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(first of the pairs, second of the pairs, segment numbers), each (rows, widest row)."""
    shape = (len(rows), max(sum(len(one) for one, _ in row) for row in rows))
    first, second, segments = torch.full(shape, pad), torch.full(shape, IGNORE), torch.zeros(shape, dtype=torch.long)
    for r, row in enumerate(rows):
        place = 0
        for number, (one, other) in enumerate(row, start=1):
            span = slice(place, place + len(one))
            first[r, span], second[r, span], segments[r, span] = torch.tensor(one), torch.tensor(other), number
            place = span.stop
    return first, second, segments
