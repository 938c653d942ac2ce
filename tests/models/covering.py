"""A covering array: rows such that every pair of values of two factors is in one of them."""

import random
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any


def pairwise(factors: Mapping[str, Sequence[Any]], seed: int = 0, tries: int = 12) -> list[dict[str, Any]]:
    """Rows that cover all pairs, grown greedily: of some drawn candidates the one that covers most that is not yet."""
    draw = random.Random(seed)
    names = list(factors)
    missing = {(a, i, b, j) for a, b in combinations(names, 2)
               for i in range(len(factors[a])) for j in range(len(factors[b]))}
    rows = []
    while missing:
        best: tuple[set[tuple], dict[str, int]] = (set(), {})
        for a, i, b, j in draw.sample(sorted(missing), min(tries, len(missing))):
            row = {name: draw.randrange(len(factors[name])) for name in names} | {a: i, b: j}
            covered = {(c, row[c], d, row[d]) for c, d in combinations(names, 2)} & missing
            best = max(best, (covered, row), key=lambda found: len(found[0]))
        missing -= best[0]
        rows.append({name: factors[name][index] for name, index in best[1].items()})
    return rows
