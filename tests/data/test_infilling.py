"""The causally masked objective: what is cut out, what counts, and that nothing is lost."""

from collections import Counter

import pytest
import torch

from preceptor.data.batches import IGNORE, Example
from preceptor.data.infilling import Infilling, blocks_of

MASK, FILL, END = 90, 91, 0
TEXT = Example.of_text("a", [END, 11, 12, 13, 80, 51, 52, 53, 54, END])
KINDS = [0, 1, 1, 1, 0, 2, 2, 2, 2, 0]


def cutting(share: float = 1.0, whole: float = 0.0) -> Infilling:
    return Infilling(MASK, FILL, END, share, whole)


def test_blocks_end_at_breaks_and_where_the_kind_changes() -> None:
    assert blocks_of(KINDS) == [(1, 4), (5, 9)]
    assert blocks_of([1, 1, 2, 0, 0, 1]) == [(0, 2), (2, 3), (5, 6)]
    assert blocks_of([]) == blocks_of([0, 0]) == []


def test_a_span_stands_at_the_end_and_masks_are_no_targets() -> None:
    found = cutting().cut(TEXT, (2, 4))
    assert found.tokens == [END, 11, MASK, 80, 51, 52, 53, 54, END, FILL, 12, 13, END]
    assert found.targets == [11, IGNORE, 80, 51, 52, 53, 54, END, IGNORE, 12, 13, END, IGNORE]


@pytest.mark.parametrize("whole", [0.0, 1.0])
def test_every_span_inside_a_block_comes_equally_often_and_none_across(whole: float) -> None:
    torch.manual_seed(0)
    seen: Counter[tuple[int, ...]] = Counter()
    for _ in range(4000):
        found = cutting(whole=whole)(TEXT, KINDS)
        filled = found.tokens[found.tokens.index(FILL) + 1:-1]
        start = found.tokens.index(MASK)
        before, after = found.tokens[:start], found.tokens[start + 1:found.tokens.index(FILL)]
        assert before + filled + after == TEXT.tokens
        seen[tuple(filled)] += 1
    words, codes = [11, 12, 13], [51, 52, 53, 54]
    spans = [tuple(block[first:last]) for block in (words, codes)
             for first in range(len(block)) for last in range(first + 1, len(block) + 1)]
    expected = {span: 2000 / (6 if span[0] < 50 else 10) for span in spans}
    if whole:
        expected = {tuple(words): 2000, tuple(codes): 2000}
    assert seen.keys() == expected.keys()
    assert all(abs(seen[span] - count) < 5 * count**0.5 for span, count in expected.items())


def test_as_many_are_left_whole_as_asked_for_and_what_has_no_words_always() -> None:
    torch.manual_seed(0)
    found = [cutting(share=0.3)(TEXT, KINDS) for _ in range(1000)]
    whole = sum(one == Example.of_text("a", TEXT.tokens) for one in found)
    assert 640 < whole < 760
    assert cutting()(Example.of_text("b", [END, END]), [0, 0]).tokens == [END, END]
