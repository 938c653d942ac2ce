"""Packing: documents of any length into rows of one length, in an order drawn from a seed.

Every batch is a function of (seed, epoch, number), so the cursor is two integers and resuming costs nothing.
"""

from collections.abc import Sequence
from functools import cached_property, lru_cache
from typing import Any

import torch

from preceptor.data.batches import Batch, Example, collate
from preceptor.data.token_shards import Mapped, MappedPieces
from preceptor.run.errors import UserError


def pack(lengths: Sequence[int], capacity: int, open_rows: int = 64) -> list[list[int]]:
    """Put items into rows of at most `capacity`, in the order given, each into the fullest open row that has room.

    Only the last `open_rows` rows are looked at, so that the order stays nearly the order given (best fit with a
    window; with documents much shorter than rows it fills above 98 %). Returns the items' indices, row by row.
    """
    rows: list[list[int]] = []
    room: list[int] = []
    for index, length in enumerate(lengths):
        if length > capacity:
            raise ValueError(f"item {index} of length {length} is longer than a row of {capacity}")
        candidates = range(max(0, len(rows) - open_rows), len(rows))
        best = min((row for row in candidates if room[row] >= length), key=room.__getitem__, default=None)
        if best is None:
            rows.append([])
            room.append(capacity)
            best = len(rows) - 1
        rows[best].append(index)
        room[best] -= length
    return rows


def _refuse_without_targets(examples: Sequence[Example]) -> None:
    for example in examples:
        if example.count == 0:
            raise UserError(f"The sample '{example.id}' has no token that a loss would count.",
                            "Remove it, or give it an answer.")


class PackedBatches:
    """Packed rows of documents, `rows` rows a batch, for `epochs` passes or exactly `steps` batches.

    Documents longer than `length` are cut into pieces. A document with no target is refused: nothing in it would
    train the model, and nothing may be dropped in silence. Of a corpus that is mapped from the disk only the lengths
    of the pieces are held.
    """

    def __init__(self, examples: Sequence[Example] | Mapped, *, rows: int, length: int, pad: int, seed: int,
                 epochs: int | None = None, steps: int | None = None) -> None:
        if (epochs is None) == (steps is None):
            raise ValueError("say either how many epochs or how many steps")
        if not len(examples):
            raise UserError("There is nothing to train on.", "Give at least one document.")
        if isinstance(examples, Mapped):
            self.pieces: Sequence[Example] = MappedPieces(examples, length)
            self._lengths: Sequence[int] = self.pieces.lengths.tolist()
        else:
            _refuse_without_targets(examples)
            self.pieces = [piece for example in examples for piece in example.pieces(length) if piece.count]
            self._lengths = [len(piece.tokens) for piece in self.pieces]
        self.rows, self.length, self.pad, self.seed = rows, length, pad, seed
        self.epochs, self.steps = epochs, steps
        self.epoch = self.number = self.drawn = 0
        self.skipped: list[range] = []
        self._plan = lru_cache(maxsize=2)(self._draw_plan)

    @property
    def total(self) -> int:
        if self.steps is not None:
            return self.steps
        return self._planned - sum(len(range(span.start, min(span.stop, self._planned))) for span in self.skipped)

    @cached_property
    def _planned(self) -> int:
        """Batches of all epochs: the loop asks at every step, and to count them is to draw every epoch's plan."""
        return self.epoch_start(self.epochs)

    def epoch_start(self, epoch: int) -> int:
        """How many batches come before `epoch` (0 is the first)."""
        return sum(len(self._plan(earlier)) for earlier in range(epoch))

    def _draw_plan(self, epoch: int) -> list[list[list[int]]]:
        """The batches of one epoch: rows of indices into `pieces`."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        order = torch.randperm(len(self.pieces), generator=generator).tolist()
        packed = pack([self._lengths[index] for index in order], self.length)
        packed = [[order[item] for item in row] for row in packed]
        shuffled = [packed[row] for row in torch.randperm(len(packed), generator=generator).tolist()]
        return [shuffled[first:first + self.rows] for first in range(0, len(shuffled), self.rows)]

    def __iter__(self) -> "PackedBatches":
        return self

    def __next__(self) -> Batch:
        while True:
            if self.epochs is not None and self.epoch >= self.epochs:
                raise StopIteration
            plan = self._plan(self.epoch)
            rows = plan[self.number]
            drawn = self.drawn
            self.drawn += 1
            self.number += 1
            if self.number == len(plan):
                self.epoch, self.number = self.epoch + 1, 0
            if not any(drawn in span for span in self.skipped):
                return collate([[self.pieces[index] for index in row] for row in rows], self.pad)

    def state(self) -> dict[str, Any]:
        return {"epoch": self.epoch, "number": self.number, "drawn": self.drawn,
                "skipped": [[span.start, span.stop] for span in self.skipped]}

    def restore(self, state: dict[str, Any]) -> None:
        self.epoch, self.number, self.drawn = state["epoch"], state["number"], state["drawn"]
        self.skipped = [range(start, stop) for start, stop in state["skipped"]]

    def skip(self, span: range) -> None:
        self.skipped.append(span)
