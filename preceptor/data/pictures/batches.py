"""Batches of pictures with texts. A batch is a function of (seed, epoch, number), so two integers are the cursor.

Tensors of B rows, each a picture with its text of at most T tokens:

    pixels    float32 (B, 3, H, W) in [-1, 1]; with `several` pictures in a row (B, P, 3, H, W), where a row with fewer
              than P has zeros behind its own
    tokens, targets, positions, segments    (B, T), as in data/batches.py; segments are 1 for text and 0 for padding
    concepts  int64 (B,): pictures and texts of equal number belong together
    wordings  int64 (B,): rows of equal number have the same text

The next batch is made in a thread while the trainer uses the one before it.
"""

import hashlib
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor

from preceptor.data.batches import Batch, Example, Numbered, collate
from preceptor.data.pictures.augment import Augmentation, augmented
from preceptor.data.pictures.store import Pictures


@dataclass(frozen=True, slots=True)
class Pair:
    """A picture, by its number, or several, and a text about it; pairs of equal `concept` show the same, of equal
    `wording` say so."""

    pictures: tuple[int, ...]
    text: Example
    concept: int
    wording: int


class PictureBatches(Numbered):
    """Batches of `rows` pairs in an order drawn anew for every epoch; the last batch of an epoch is filled up from the
    next one's front, so that all batches have as many rows: a loss of pairs depends on how many there are."""

    def __init__(self, pictures: Pictures, pairs: Sequence[Pair], *, rows: int, steps: int, seed: int, pad: int,
                 augmentation: Augmentation | None = None, several: bool = False) -> None:
        super().__init__()
        self.pictures, self.pairs, self.rows, self.total = pictures, pairs, min(rows, len(pairs)), steps
        self.seed, self.pad, self.augmentation, self.several = seed, pad, augmentation, several
        self._orders: dict[int, list[int]] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="pictures")
        self._ahead: tuple[int, Future[Batch]] | None = None

    def __next__(self) -> Batch:
        number = self.due()
        made, ahead = self._ahead or (-1, None)
        batch = ahead.result() if made == number else self._make(number)
        self.number += 1
        self._ahead = (self.number, self._thread.submit(self._make, self.number))
        return batch

    def _make(self, number: int) -> Batch:
        """Batch `number` of the run."""
        places = range(number * self.rows, (number + 1) * self.rows)
        chosen = [self.pairs[self._order(place // len(self.pairs))[place % len(self.pairs)]] for place in places]
        text = collate([[pair.text] for pair in chosen], self.pad)
        pixels = self.pictures.take([number for pair in chosen for number in pair.pictures])
        if self.augmentation:
            pixels = augmented(pixels, self.augmentation, self._generator(f"batch {number}"))
        if self.several:
            pixels = _by_row(pixels, [len(pair.pictures) for pair in chosen])
        tensors = text.tensors | {"pixels": pixels, "concepts": torch.tensor([pair.concept for pair in chosen]),
                                  "wordings": torch.tensor([pair.wording for pair in chosen])}
        return Batch(tensors, [1] * len(chosen), text.documents)

    def _order(self, epoch: int) -> list[int]:
        if epoch not in self._orders:
            drawn = torch.randperm(len(self.pairs), generator=self._generator(f"order {epoch}")).tolist()
            self._orders = {one: order for one, order in self._orders.items() if one >= epoch - 1} | {epoch: drawn}
        return self._orders[epoch]

    def _generator(self, what: str) -> torch.Generator:
        digest = hashlib.sha256(f"{self.seed}/{what}".encode()).digest()
        return torch.Generator().manual_seed(int.from_bytes(digest[:8]) >> 1)


def _by_row(pixels_PCHW: Tensor, counts_B: list[int]) -> Tensor:
    """Pictures of rows one after the other as (B, most, 3, H, W)."""
    there = torch.arange(max(counts_B)) < torch.tensor(counts_B)[:, None]
    apart = pixels_PCHW.new_zeros(*there.shape, *pixels_PCHW.shape[1:])
    apart[there] = pixels_PCHW
    return apart
