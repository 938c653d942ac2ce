"""Packing: every token once, full rows, and a cursor that is exact at every position."""

from collections import Counter
from itertools import islice

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from preceptor.data.batches import IGNORE, Batch, Example
from preceptor.data.packing import PackedBatches, pack, ramped_rows
from preceptor.run.errors import UserError

lengths = st.lists(st.integers(1, 30), min_size=1, max_size=80)
LENGTH = 16


def _examples(sizes: list[int]) -> list[Example]:
    """Documents whose tokens are all different, so that each can be found again."""
    made, token = [], 1
    for number, size in enumerate(sizes):
        made.append(Example.of_text(f"d{number}", list(range(token, token + size + 1))))
        token += size + 1
    return made


def _batches(examples: list[Example], seed: int = 0, rows: int = 3, **span: int) -> PackedBatches:
    return PackedBatches(examples, rows=rows, length=LENGTH, pad=0, seed=seed, **(span or {"epochs": 2}))


def _same(first: Batch, second: Batch) -> bool:
    return first.documents == second.documents and all(
        torch.equal(tensor, second[name]) for name, tensor in first.tensors.items())


@settings(deadline=None)
@given(lengths, st.integers(30, 64), st.integers(1, 70))
def test_pack_puts_every_item_in_one_row_and_overfills_none(sizes: list[int], capacity: int, window: int) -> None:
    rows = pack(sizes, capacity, window)
    assert sorted(item for row in rows for item in row) == list(range(len(sizes)))
    assert all(sum(sizes[item] for item in row) <= capacity for row in rows)
    assert [row[0] for row in rows] == sorted(row[0] for row in rows), "rows open in the order given"
    assert all(row == sorted(row) for row in rows), "inside a row the order given is kept"
    if window >= len(rows):  # no row could have been emptied into an earlier one
        assert not any(sum(sizes[item] for item in row) + sizes[later[0]] <= capacity
                       for number, row in enumerate(rows) for later in rows[number + 1:])


def test_pack_fills_rows_with_short_documents() -> None:
    sizes = [3 + (7 * n) % 40 for n in range(2000)]
    rows = pack(sizes, 256)
    assert sum(sizes) / (256 * len(rows)) > 0.98


def test_pack_refuses_what_cannot_fit() -> None:
    with pytest.raises(ValueError, match="item 1 of length 9"):
        pack([3, 9], 8)


@settings(deadline=None)
@given(lengths, st.integers(0, 5))
def test_an_epoch_holds_every_target_once(sizes: list[int], seed: int) -> None:
    examples = _examples(sizes)
    seen = Counter()
    for batch in _batches(examples, seed, epochs=1):
        assert batch["tokens"].shape[1] <= LENGTH and len(batch.counts) <= 3
        assert batch.count == int((batch["targets"] != IGNORE).sum())
        seen.update(batch["targets"][batch["targets"] != IGNORE].tolist())
        for row, documents in enumerate(batch.documents):  # the ids behind the rows are true
            for segment, id in enumerate(documents, start=1):
                tokens = batch["tokens"][row][batch["segments"][row] == segment].tolist()
                assert set(tokens) <= set(examples[int(id[1:])].tokens)
    assert seen == Counter(target for example in examples for target in example.targets if target != IGNORE)


@settings(deadline=None, max_examples=30)
@given(lengths, st.integers(0, 5), st.data())
def test_the_cursor_is_exact_at_every_position(sizes: list[int], seed: int, data: st.DataObject) -> None:
    examples = _examples(sizes)
    whole = list(_batches(examples, seed))
    assert len(whole) == _batches(examples, seed).total
    stop = data.draw(st.integers(0, len(whole)))
    stopped = _batches(examples, seed)
    for _ in range(stop):
        next(stopped)
    going_on = _batches(examples, seed)
    going_on.restore(stopped.state())
    rest = list(going_on)
    assert len(rest) == len(whole) - stop
    assert all(_same(*both) for both in zip(rest, whole[stop:]))


def test_epochs_differ_from_each_other_and_seeds_too() -> None:
    examples = _examples([5] * 40)
    per_epoch = _batches(examples, epochs=1).total
    batches = list(_batches(examples))
    assert [b.documents for b in batches[:per_epoch]] != [b.documents for b in batches[per_epoch:]]
    assert batches[0].documents != next(_batches(examples, seed=1)).documents
    assert _batches(examples).epoch_start(1) == per_epoch


def test_steps_go_on_into_as_many_epochs_as_they_need() -> None:
    batches = _batches(_examples([5] * 8), steps=11)
    assert batches.total == 11
    assert len(list(islice(batches, 11))) == 11


def test_skipped_batches_are_left_out_and_counted() -> None:
    examples = _examples([7] * 50)
    whole = list(_batches(examples))
    skipping = _batches(examples)
    skipping.skip(range(2, 5))
    skipping.skip(range(len(whole) - 1, len(whole) + 9))
    assert skipping.total == len(whole) - 4
    wanted = [batch for number, batch in enumerate(whole[:-1]) if number not in range(2, 5)]
    first = [next(skipping) for _ in range(3)]
    resumed = _batches(examples)
    resumed.restore(skipping.state())  # what is skipped is part of the cursor
    found = first + list(resumed)
    assert len(found) == len(wanted) and all(_same(*both) for both in zip(found, wanted))


def test_a_sample_without_a_target_is_an_error() -> None:
    silent = Example("mute", [1, 2, 3], [IGNORE] * 3)
    with pytest.raises(UserError, match="'mute' has no token that a loss would count"):
        _batches([*_examples([3]), silent])
    with pytest.raises(UserError, match="nothing to train on"):
        _batches([])


@pytest.mark.parametrize("ramp", [0, 3, 7, 50])
def test_a_ramp_grows_the_batches_and_loses_no_piece(ramp: int) -> None:
    examples = [Example.of_text(str(n), [5] * (3 + n % 7)) for n in range(40)]
    supply = PackedBatches(examples, rows=5, length=10, pad=0, seed=1, epochs=2, ramp=ramp)
    batches = [next(supply) for _ in range(supply.total)]
    with pytest.raises(StopIteration):
        next(supply)
    names = [name for batch in batches for row in batch.documents for name in row]
    assert sorted(names) == sorted(2 * [example.id for example in examples])
    ends = {supply.epoch_start(epoch) - 1 for epoch in (1, 2)}  # the last batch of an epoch may be short
    for number, batch in enumerate(batches):
        due = ramped_rows(number, 5, ramp)
        assert len(batch.counts) == due or (number in ends and len(batch.counts) < due)
    resumed = PackedBatches(examples, rows=5, length=10, pad=0, seed=1, epochs=2, ramp=ramp)
    resumed.restore({"epoch": 0, "number": 2, "drawn": 2, "skipped": []})
    assert next(resumed).documents == batches[2].documents
