"""Texts as an encoder reads them: whole for a label, unit by unit for spans."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from preceptor.data.batches import IGNORE, Batch
from preceptor.run.errors import UserError
from preceptor.understand.units import Piece


@dataclass(frozen=True, slots=True)
class Row:
    """A text or a part of one: its tokens and what the loss counts, one class for a text, one for each token else."""

    id: str
    tokens: list[int]
    targets: list[int]

    @property
    def width(self) -> int:
        return len(self.tokens)


def collate_rows(rows: Sequence[Row], pad: int) -> Batch:
    """Tensors `tokens` and `seen` (not padding), (rows, time); `targets` as wide as the rows' targets."""
    shape = (len(rows), max(one.width for one in rows))
    tokens, seen = torch.full(shape, pad), torch.zeros(shape).bool()
    targets = torch.full((len(rows), max(len(one.targets) for one in rows)), IGNORE)
    for place, one in enumerate(rows):
        tokens[place, :one.width], seen[place, :one.width] = torch.tensor(one.tokens), True
        targets[place, :len(one.targets)] = torch.tensor(one.targets)
    return Batch({"tokens": tokens, "seen": seen, "targets": targets},
                 [sum(target != IGNORE for target in one.targets) for one in rows], [[one.id] for one in rows])


class UnitEncoder:
    """A tokenizer with the special tokens around a text that its encoder was trained with.

    Those are what the tokenizer puts there itself, or where it puts none, two end-of-text tokens, as our pretraining
    does. `longest` bounds the tokens of a row; `truncated` counts the texts that lost their end so far.
    """

    def __init__(self, tokenizer: Any, longest: int) -> None:
        self.tokenizer, self.longest, self.truncated = tokenizer, longest, 0
        bare, framed = (tokenizer("a", add_special_tokens=added)["input_ids"] for added in (False, True))
        place = next(at for at in range(len(framed)) if framed[at:at + len(bare)] == bare)
        self.before, self.behind = framed[:place], framed[place + len(bare):]
        if not (self.before or self.behind):
            self.before = self.behind = [tokenizer.eos_token_id]
        # What stands for a unit of which a normaliser leaves nothing.
        self.nothing = next(token for token in (tokenizer.unk_token_id, tokenizer.mask_token_id, tokenizer.pad_token_id)
                            if token is not None)

    @property
    def room(self) -> int:
        """Tokens of a row that are the text's."""
        return self.longest - len(self.before) - len(self.behind)

    def whole(self, text: str) -> list[int]:
        """The tokens of a text, without its end where it is too long."""
        tokens = self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        self.truncated += len(tokens) > self.room
        return [*self.before, *tokens[:self.room], *self.behind]

    def parts(self, text: str, pieces: Sequence[Piece]) -> list[tuple[list[int], list[int]]]:
        """Tokens of each part of a text, and the place of the first token of each of its units.

        Every unit is in one part, whole. It is tokenised with the white space in front of it, as in running text.

        Raises:
            UserError: a unit alone is longer than a row.
        """
        if not pieces:
            return []
        behind = [0, *(end for _, end in pieces)]
        alone = [text[start:end] for start, end in zip(behind, behind[1:])]
        found: list[tuple[list[int], list[int]]] = []
        for tokens in self.tokenizer(alone, add_special_tokens=False, verbose=False)["input_ids"]:
            tokens = tokens or [self.nothing]
            if len(tokens) > self.room:
                raise UserError(f"A word is {len(tokens)} tokens long, and {self.room} are read at once.",
                                "Raise 'longest'.")
            if not found or len(found[-1][0]) + len(tokens) + len(self.behind) > self.longest:
                found.append((list(self.before), []))
            found[-1][1].append(len(found[-1][0]))
            found[-1][0].extend(tokens)
        return [([*tokens, *self.behind], firsts) for tokens, firsts in found]
