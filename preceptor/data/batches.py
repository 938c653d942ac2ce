"""Batches: what one optimiser step sees, with the exact cursor behind it.

A batch holds tensors whose first axis is rows, how many positions of each row its loss counts, and the ids of the
documents in each row. A row is the unit that is never split: a packed row of documents, or a prompt with its K answers.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

import torch
from torch import Tensor

IGNORE = -100  # a target that no loss counts, torch's own convention


@dataclass(frozen=True, slots=True)
class Batch:
    """`tensors` share their first axis, the rows; `counts[r]` is what the loss counts in row r."""

    tensors: dict[str, Tensor]
    counts: list[int]
    documents: list[list[str]]
    passes: int = 1
    """Pieces in which it is learned from at least: where its rows do not need each other, and all at once would only
    take memory."""

    def __getitem__(self, name: str) -> Tensor:
        return self.tensors[name]

    @property
    def count(self) -> int:
        """Positions (or prompts, or pairs: the loss says which) that count in the whole batch."""
        return sum(self.counts)

    def split(self, parts: int) -> Iterator["Batch"]:
        """Split into at most `parts` micro-batches of whole rows. No row is lost."""
        rows = len(self.counts)
        size = -(-rows // parts)
        for first in range(0, rows, size):
            span = slice(first, first + size)
            yield Batch({name: tensor[span] for name, tensor in self.tensors.items()},
                        self.counts[span], self.documents[span])

    def to(self, device: str) -> Self:
        """The same batch on a device."""
        return replace(self, tensors={name: tensor.to(device) for name, tensor in self.tensors.items()})


class Batches(Protocol):
    """An endless or finite supply of batches that can be stopped and gone on with exactly."""

    total: int
    """Batches that it yields altogether."""

    def __next__(self) -> Batch: ...

    def state(self) -> dict[str, Any]:
        """The cursor: a JSON-like value, tensors allowed, from which `restore` goes on with the next batch."""
        ...

    def restore(self, state: dict[str, Any]) -> None: ...

    def skip(self, span: range) -> None:
        """Never yield the batches that would come as numbers `span` (0 is the first of the run)."""
        ...


class Numbered:
    """What supplies share whose batch is a function of its number: the cursor is that of the next one, and what is
    never yielded."""

    def __init__(self) -> None:
        self.number = 0
        self.skipped: list[range] = []

    def __iter__(self) -> Self:
        return self

    def due(self) -> int:
        """The number of the next batch, those that are skipped passed over."""
        while any(self.number in span for span in self.skipped):
            self.number += 1
        return self.number

    def state(self) -> dict[str, Any]:
        return {"number": self.number, "skipped": [[span.start, span.stop] for span in self.skipped]}

    def restore(self, state: dict[str, Any]) -> None:
        self.number = state["number"]
        self.skipped = [range(start, stop) for start, stop in state["skipped"]]

    def skip(self, span: range) -> None:
        self.skipped.append(span)


@dataclass(frozen=True, slots=True)
class Example:
    """One tokenised document: `targets[t]` is the token that position t must predict, or IGNORE."""

    id: str
    tokens: list[int]
    targets: list[int]

    @classmethod
    def of_text(cls, id: str, tokens: list[int]) -> Self:
        """A text of which every token but the first is predicted."""
        return cls(id, tokens, [*tokens[1:], IGNORE])

    @property
    def count(self) -> int:
        return sum(target != IGNORE for target in self.targets)

    def pieces(self, length: int) -> Iterator["Example"]:
        """Cut into pieces of at most `length` positions; a target may be the first token of the next piece."""
        for first in range(0, len(self.tokens), length):
            yield Example(self.id, self.tokens[first:first + length], self.targets[first:first + length])


def collate(rows: Sequence[Sequence[Example]], pad: int) -> Batch:
    """Lay documents side by side in rows, as wide as the longest row.

    Tensors, all (rows, time): `tokens`, `targets`, `positions` (restarting with each document) and `segments`
    (0 where there is padding, else 1, 2, ... by document), from which the attention mask is made.
    """
    width = max(sum(len(example.tokens) for example in row) for row in rows)
    shape = (len(rows), width)
    tokens, targets = torch.full(shape, pad), torch.full(shape, IGNORE)
    positions, segments = torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.long)
    for r, row in enumerate(rows):
        start = 0
        for number, example in enumerate(row, start=1):
            span = slice(start, start + len(example.tokens))
            tokens[r, span] = torch.tensor(example.tokens)
            targets[r, span] = torch.tensor(example.targets)
            positions[r, span] = torch.arange(len(example.tokens))
            segments[r, span] = number
            start = span.stop
    tensors = {"tokens": tokens, "targets": targets, "positions": positions, "segments": segments}
    return Batch(tensors, [sum(example.count for example in row) for row in rows],
                 [[example.id for example in row] for row in rows])


Layout = Callable[[Sequence[Sequence[Example]], random.Random], Batch]
"""How rows of examples become a batch (masked, damaged); what is random in it comes from the generator alone."""
