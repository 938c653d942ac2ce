"""Splits that leave nothing of the held-out side on the training side: whole groups are held out, never records."""

import random
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence

from preceptor.run.errors import UserError


def linked(count: int, pairs: Iterable[tuple[int, int]]) -> list[int]:
    """Group `count` records so that linked ones, directly or through others, share a group: group of each record."""
    parent = list(range(count))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]  # halving the path keeps the trees flat
            index = parent[index]
        return index

    for first, second in pairs:
        low, high = sorted((root(first), root(second)))
        parent[high] = low
    return [root(index) for index in range(count)]


def same(keys: Sequence[Hashable | None]) -> list[tuple[int, int]]:
    """Links between records of equal keys (the same user, say); None equals nothing."""
    first: dict[Hashable, int] = {}
    return [(first.setdefault(key, index), index) for index, key in enumerate(keys) if key is not None]


def hold_out(groups: Sequence[int], sources: Sequence[str], share: float, draw: random.Random) -> set[int]:
    """Choose groups to hold out so that each source, and small and large groups alike, give their share.

    Systematic sampling: groups lie in order of source and size, and every (1/share)-th is taken from a random start,
    so that a source with n groups gives share·n of them, rounded up or down. At least one group is taken. A group
    with more than half of all records always trains.

    Raises:
        UserError: there are not two groups to choose from.
    """
    sizes = Counter(groups)
    source_of = {group: source for group, source in zip(reversed(groups), reversed(sources))}
    candidates = [group for group, size in sizes.items() if size <= len(groups) / 2]
    if len(sizes) < 2 or not candidates:
        raise UserError(f"The {len(groups)} records cannot be split: they are one group of near-duplicates or of one "
                        "user.", "Give more different records, or a validation file.")
    draw.shuffle(candidates)
    candidates.sort(key=lambda group: (source_of[group], sizes[group]))
    wanted = max(1, round(share * len(candidates)))
    start = draw.random()
    return {candidates[int((number + start) * len(candidates) / wanted)] for number in range(wanted)}
