"""Splits: whole groups, every source its share, the same for the same seed."""

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preceptor.data.splits import hold_out, linked, same
from preceptor.run.errors import UserError


@settings(deadline=None)
@given(st.integers(1, 30), st.data())
def test_linked_records_share_a_group_and_others_do_not(count: int, data: st.DataObject) -> None:
    index = st.integers(0, count - 1)
    pairs = data.draw(st.lists(st.tuples(index, index), max_size=30))
    groups = linked(count, pairs)
    reached = {start: {start} for start in range(count)}  # by brute force: spread along the links until nothing changes
    for _ in range(count):
        for first, second in pairs:
            both = reached[first] | reached[second]
            for member in both:
                reached[member] = both
    assert all((groups[i] == groups[j]) == (j in reached[i]) for i in range(count) for j in range(count))


def test_equal_keys_are_linked_and_none_is_equal_to_nothing() -> None:
    assert linked(5, same(["ann", None, "bo", "ann", None])) == [0, 1, 2, 0, 4]


@settings(deadline=None)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=6), st.sampled_from([0.05, 0.1, 0.3]), st.integers(0, 99))
def test_every_source_gives_its_share(sizes: list[int], share: float, seed: int) -> None:
    sources = [f"s{number}" for number, size in enumerate(sizes) for _ in range(size)]
    groups = list(range(len(sources)))
    if len(groups) < 2:
        return
    held = hold_out(groups, sources, share, random.Random(seed))
    exact = max(1, round(share * len(groups))) / len(groups)
    assert len(held) == max(1, round(share * len(groups)))
    for number, size in enumerate(sizes):
        assert abs(sum(sources[group] == f"s{number}" for group in held) - exact * size) < 1 + 1e-9


def test_each_group_is_held_out_equally_often_whatever_its_size() -> None:
    groups = [0] * 9 + [1] * 3 + [2] * 3 + list(range(3, 20))
    counts = Counter(group for seed in range(2000)
                     for group in hold_out(groups, ["s"] * len(groups), 0.2, random.Random(seed)))
    assert set(counts) == set(groups)
    assert all(abs(count - 400) < 5 * (2000 * 0.2 * 0.8) ** 0.5 for count in counts.values())


def test_the_seed_decides_and_giants_always_train() -> None:
    groups = [0] * 60 + list(range(1, 51))
    chosen = [hold_out(groups, ["s"] * len(groups), 0.5, random.Random(seed)) for seed in (1, 1, 2)]
    assert chosen[0] == chosen[1] != chosen[2]
    assert all(0 not in held for held in chosen)


@pytest.mark.parametrize("groups", [[0], [0, 0, 0]])
def test_one_group_cannot_be_split(groups: list[int]) -> None:
    with pytest.raises(UserError, match="cannot be split"):
        hold_out(groups, ["s"] * len(groups), 0.1, random.Random(0))
