"""The causally masked objective: a span is cut out of a text, a mask stands where it was, and it follows at the end.

    a red <mask> and a chair <image> 17 4 4 9 <end> <infill> hat <end>

(Aghajanyan et al. 2022, arXiv 2201.07520, section 2; Yu et al. 2023, arXiv 2309.02591, section 2.2.) A model that goes
from left to right so learns to fill in with both sides in view: a whole caption from its picture, a part of a picture
from the rest. A span never reaches across a break, where a picture begins or a message ends.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from preceptor.data.batches import IGNORE, Example

Span = tuple[int, int]  # its first place, and the one behind its last


@dataclass(frozen=True, slots=True)
class Infilling:
    """How spans are cut out.

    Args:
        mask, infill, end: the tokens that stand in the place of a span, before it, and behind it.
        share: of texts of which a span is cut out.
        whole: share of the spans that are a block from break to break.
    """

    mask: int
    infill: int
    end: int
    share: float
    whole: float

    def __call__(self, example: Example, kinds: Sequence[int]) -> Example:
        """The text with a span cut out, or whole, as the global generator draws; every token but the first is a target.

        Args:
            kinds: of each token; 0 is a break, and a span is of one other kind.
        """
        blocks = blocks_of(kinds)
        share, which, whole, first, last = torch.rand(5, dtype=torch.float64).tolist()
        if not blocks or share >= self.share:
            return Example.of_text(example.id, example.tokens)
        start, stop = blocks[int(which * len(blocks))]
        if whole >= self.whole:
            size = stop - start
            # two of the size + 1 places between tokens, all pairs alike
            ends = sorted((int(first * (size + 1)), (int(first * (size + 1)) + 1 + int(last * size)) % (size + 1)))
            start, stop = start + ends[0], start + ends[1]
        return self.cut(example, (start, stop))

    def cut(self, example: Example, span: Span) -> Example:
        """The text with this span at its end. The mask and what announces the span are no targets: where something is
        missing is not for the model to say, or it would write masks of its own."""
        start, stop = span
        tokens = [*example.tokens[:start], self.mask, *example.tokens[stop:], self.infill,
                  *example.tokens[start:stop], self.end]
        targets = [IGNORE if token in (self.mask, self.infill) else token for token in tokens[1:]]
        return Example(example.id, tokens, [*targets, IGNORE])


def blocks_of(kinds: Sequence[int]) -> list[Span]:
    """The runs of tokens of one kind, without breaks (kind 0)."""
    found, start = [], 0
    for place in range(1, len(kinds) + 1):
        if place == len(kinds) or kinds[place] != kinds[start]:
            if kinds[start]:
                found.append((start, place))
            start = place
    return found
