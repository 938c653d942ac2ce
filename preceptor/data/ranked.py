"""Rankings as batches: one row is one prompt with all its answers, which is read once.

A row holds the prompt (segment 1) and then its K answers (segments 2 to K+1), whose positions go on from the prompt's
last. Under `shared_prompt_mask` each answer has the states that it has alone, while the prompt costs one reading in
place of K: 3.3 times as fast as K whole documents in a row (docs/reward.md). The reward model reads a score at the end
of each answer, what learns from preferences directly the log-probability of each answer's tokens.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from preceptor.data.batches import Batch

# The rankings that no training sees, in a folder of comparisons: who ranked, and the file.
HELD_OUT = {"same_labelers": "comparisons.valid.jsonl", "heldout_labelers": "comparisons.heldout.jsonl"}
WINDOW = 8  # batches within which rows of similar width are put together, so that little of a batch is padding


@dataclass(frozen=True, slots=True)
class RankedPrompt:
    """A prompt's tokens, the tokens of its answers, and the rank of each answer (0 is best, equal ranks are tied)."""

    id: str
    prompt: list[int]
    answers: list[list[int]]
    ranks: list[int]
    tables: dict[str, list[float]] = field(default_factory=dict)
    """Further numbers, one for each answer, that a batch holds under their names: ratings, log-likelihoods."""
    count: int = 1
    """What a loss counts of it: itself, unless the loss is over tokens."""

    @property
    def width(self) -> int:
        return len(self.prompt) + sum(map(len, self.answers))

    @property
    def pairs(self) -> int:
        """Pairs of answers that the ranking sets apart."""
        ranks = sorted(self.ranks)
        return sum(ranks.index(rank) for rank in ranks)


class RankedBatches:
    """`rows` prompts a batch, each prompt once in each of `epochs` passes, in an order drawn from the seed.

    Every batch is a function of (seed, number), so the cursor is how many batches were drawn. `collate` lays out what
    a model reads that does not read a prompt once for all its answers.
    """

    def __init__(self, prompts: Sequence[Any], *, rows: int, epochs: int, pad: int, seed: int,
                 collate: Callable[[Sequence[Any], int], Batch] | None = None) -> None:
        self.prompts, self.rows, self.epochs, self.pad, self.seed = prompts, rows, epochs, pad, seed
        self.collate = collate or collate_ranked
        self.drawn = 0
        self.last: list[int] = []
        """Which of `prompts` are in the batch that came last."""
        self.skipped: list[range] = []
        self._plan = lru_cache(maxsize=2)(self._draw_plan)

    @property
    def planned(self) -> int:
        """Batches of all epochs, those that are skipped included."""
        return self.epochs * -(-len(self.prompts) // self.rows)

    @property
    def total(self) -> int:
        skipped = {number for span in self.skipped for number in span if number < self.planned}
        return self.planned - len(skipped)

    def _skips(self, number: int) -> bool:
        return any(number in span for span in self.skipped)

    def _draw_plan(self, epoch: int) -> list[list[int]]:
        """The batches of one epoch, as indices into `prompts`."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        order = torch.randperm(len(self.prompts), generator=generator).tolist()
        window = WINDOW * self.rows
        for first in range(0, len(order), window):
            order[first:first + window] = sorted(order[first:first + window], key=lambda n: self.prompts[n].width)
        batches = [order[first:first + self.rows] for first in range(0, len(order), self.rows)]
        return [batches[number] for number in torch.randperm(len(batches), generator=generator).tolist()]

    def __iter__(self) -> "RankedBatches":
        return self

    def __next__(self) -> Batch:
        while self.drawn < self.planned:
            number, self.drawn = self.drawn, self.drawn + 1
            if not self._skips(number):
                epoch, place = divmod(number, self.planned // self.epochs)
                self.last = self._plan(epoch)[place]
                return self.collate([self.prompts[index] for index in self.last], self.pad)
        raise StopIteration

    def state(self) -> dict[str, Any]:
        return {"drawn": self.drawn, "skipped": [[span.start, span.stop] for span in self.skipped]}

    def restore(self, state: dict[str, Any]) -> None:
        self.drawn = state["drawn"]
        self.skipped = [range(start, stop) for start, stop in state["skipped"]]

    def skip(self, span: range) -> None:
        self.skipped.append(span)


def collate_ranked(prompts: Sequence[RankedPrompt], pad: int) -> Batch:
    """Rows of prompts with their answers; each prompt counts what it says.

    Tensors: `tokens`, `positions` and `segments` (rows, time); `ends` (rows, K), the place of each answer's last token,
    -1 where a prompt has fewer answers than the most; `ranks` (rows, K), and the prompts' tables (rows, K).
    """
    shape = (len(prompts), max(one.width for one in prompts))
    most = max(len(one.answers) for one in prompts)
    tokens = torch.full(shape, pad)
    positions, segments = torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.long)
    ends, ranks = torch.full((len(prompts), most), -1), torch.zeros(len(prompts), most, dtype=torch.long)
    for r, one in enumerate(prompts):
        start = 0
        for number, part in enumerate([one.prompt, *one.answers]):
            span = slice(start, start + len(part))
            first = len(one.prompt) if number else 0
            tokens[r, span] = torch.tensor(part, dtype=torch.long)
            positions[r, span] = torch.arange(first, first + len(part))
            segments[r, span] = number + 1
            start = span.stop
            if number:
                ends[r, number - 1] = start - 1
        ranks[r, :len(one.ranks)] = torch.tensor(one.ranks)
    tensors = {"tokens": tokens, "positions": positions, "segments": segments, "ends": ends, "ranks": ranks}
    for name in prompts[0].tables:
        tensors[name] = torch.tensor([one.tables[name] + [0.0] * (most - len(one.answers)) for one in prompts])
    return Batch(tensors, [one.count for one in prompts], [[one.id] for one in prompts])


class AnswerTokens(NamedTuple):
    """The N tokens of all answers of a batch, row by row, answer by answer, in order; each is [N]."""

    rows: Tensor
    answers: Tensor
    """Which of the row's answers the token belongs to, from 0."""
    sources: Tensor
    """The place whose state predicts the token: the one before it, for the first of an answer the prompt's last."""
    targets: Tensor
    """The token itself."""
    last: Tensor
    """Whether it is the last of its answer."""


def answer_tokens(batch: Batch) -> AnswerTokens:
    """Where each token of the answers is predicted from, and what it is."""
    segments = batch["segments"]
    rows, places = (segments > 1).nonzero(as_tuple=True)
    own = segments[rows, places]
    first = segments[rows, places - 1] != own
    prompt_ends = (segments == 1).sum(1) - 1
    answers = own - 2
    return AnswerTokens(rows, answers, torch.where(first, prompt_ends[rows], places - 1), batch["tokens"][rows, places],
                        batch["ends"][rows, answers] == places)
