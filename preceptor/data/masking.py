"""Masked language modelling: which tokens an encoder must fill in, drawn when a batch is laid out.

Devlin et al. 2019 (BERT), §3.1: of a text's tokens a share is chosen; of these 80 % become the mask, 10 % a random
token, 10 % stay, and all are to be predicted. Static masking draws once for a text and shows the same holes in every
pass; dynamic masking draws anew each time (Liu et al. 2019, RoBERTa, §4.1).
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from preceptor.data.batches import IGNORE, Batch, Example, collate

MASKED, REPLACED = 0.8, 0.1


@dataclass(frozen=True, kw_only=True)
class Masking:
    """A layout that hides tokens. `special` are never chosen and never drawn; `starts[token]` says whether a token
    begins a word, where whole words are to be chosen (None: single tokens)."""

    mask: int
    pad: int
    vocabulary: int
    special: frozenset[int]
    share: float = 0.15
    static_seed: int | None = None
    starts: Sequence[bool] | None = None

    def __call__(self, rows: Sequence[Sequence[Example]], draw: random.Random) -> Batch:
        return collate([[self.hidden(example, draw) for example in row] for row in rows], self.pad)

    def hidden(self, example: Example, draw: random.Random) -> Example:
        """The example with holes: a share of its tokens, rounded, and at least one."""
        if self.static_seed is not None:
            draw = random.Random(f"{self.static_seed} {example.id} {example.tokens}")
        tokens, targets = list(example.tokens), [IGNORE] * len(example.tokens)
        for place in self._chosen(tokens, draw):
            targets[place] = tokens[place]
            fate = draw.random()
            if fate < MASKED:
                tokens[place] = self.mask
            elif fate < MASKED + REPLACED:
                tokens[place] = self._random_token(draw)
        return Example(example.id, tokens, targets)

    def _chosen(self, tokens: list[int], draw: random.Random) -> list[int]:
        words = self._words(tokens)
        due = max(1, round(self.share * sum(map(len, words))))
        draw.shuffle(words)
        places: list[int] = []
        for word in words:
            if not places or len(places) + len(word) <= due:  # the last word that is too long is left out
                places += word
        return places

    def _words(self, tokens: list[int]) -> list[list[int]]:
        """Places that are chosen together."""
        words: list[list[int]] = []
        joined = False
        for place, token in enumerate(tokens):
            if token in self.special:
                joined = False
                continue
            if joined and self.starts is not None and not self.starts[token]:
                words[-1].append(place)
            else:
                words.append([place])
            joined = True
        return words

    def _random_token(self, draw: random.Random) -> int:
        while (token := draw.randrange(self.vocabulary)) in self.special:
            pass
        return token
