"""Batches: examples, their pieces, rows side by side, and micro-batches that lose no row."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from preceptor.data.batches import IGNORE, Example, collate

examples = st.lists(st.lists(st.integers(1, 99), min_size=2, max_size=12), min_size=1, max_size=9).map(
    lambda texts: [Example.of_text(f"d{n}", tokens) for n, tokens in enumerate(texts)])


def test_each_token_but_the_first_is_a_target_one_position_early() -> None:
    example = Example.of_text("a", [5, 6, 7])
    assert (example.tokens, example.targets, example.count) == ([5, 6, 7], [6, 7, IGNORE], 2)


@settings(deadline=None)
@given(examples, st.integers(1, 5))
def test_pieces_keep_every_token_and_every_target(some: list[Example], length: int) -> None:
    for example in some:
        pieces = list(example.pieces(length))
        assert sum((piece.tokens for piece in pieces), []) == example.tokens
        assert sum((piece.targets for piece in pieces), []) == example.targets
        assert max(len(piece.tokens) for piece in pieces) <= length


def test_collate_lays_documents_side_by_side() -> None:
    a, b, c = (Example.of_text(name, tokens) for name, tokens in [("a", [1, 2, 3]), ("b", [4, 5]), ("c", [6, 7, 8, 9])])
    batch = collate([[a, b], [c]], pad=0)
    assert batch["tokens"].tolist() == [[1, 2, 3, 4, 5], [6, 7, 8, 9, 0]]
    assert batch["targets"].tolist() == [[2, 3, IGNORE, 5, IGNORE], [7, 8, 9, IGNORE, IGNORE]]
    assert batch["positions"].tolist() == [[0, 1, 2, 0, 1], [0, 1, 2, 3, 0]]
    assert batch["segments"].tolist() == [[1, 1, 1, 2, 2], [1, 1, 1, 1, 0]]
    assert (batch.counts, batch.count, batch.documents) == ([3, 3], 6, [["a", "b"], ["c"]])


@settings(deadline=None)
@given(examples, st.integers(1, 12))
def test_micro_batches_are_the_batch_again(some: list[Example], parts: int) -> None:
    batch = collate([[example] for example in some], pad=0)
    pieces = list(batch.split(parts))
    assert 1 <= len(pieces) <= parts
    assert sum((piece.counts for piece in pieces), []) == batch.counts
    assert sum((piece.documents for piece in pieces), []) == batch.documents
    for name, tensor in batch.tensors.items():
        assert torch.equal(torch.cat([piece[name] for piece in pieces]), tensor)
    assert all(piece.count == int((piece["targets"] != IGNORE).sum()) for piece in pieces)
