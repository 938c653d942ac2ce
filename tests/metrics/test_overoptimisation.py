"""Best of n against all subsets, its divergence against a direct sum, and fits that find the curve they came from."""

import math
from itertools import combinations
from statistics import fmean

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from preceptor.metrics.overoptimisation import best_of_n, fit_frontier, kl_best_of_n


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(-5, 5)), min_size=1, max_size=7), st.data())
def test_the_best_of_n_is_the_mean_over_all_subsets(answers: list[tuple[int, float]], data: st.DataObject) -> None:
    n = data.draw(st.integers(1, len(answers)))
    expected = []
    for subset in combinations(answers, n):
        top = max(score for score, _ in subset)
        # A tie is broken at random among all answers of that score, as equal scores are equal texts or as good as.
        expected.append(fmean(value for score, value in answers if score == top))
    proxy, values = zip(*answers)
    assert best_of_n(proxy, values, n) == pytest.approx(fmean(expected), abs=1e-9)


def test_the_divergence_of_the_best_of_n() -> None:
    """The best of n of a fine continuous distribution: its density over the base is n F^(n - 1)."""
    f = (np.arange(100_000) + 0.5) / 100_000
    for n in (1, 2, 7, 64):
        direct = np.mean(n * f ** (n - 1) * (math.log(n) + (n - 1) * np.log(f)))
        assert kl_best_of_n(n) == pytest.approx(float(direct), abs=1e-3)


@pytest.mark.parametrize("method", ["best_of_n", "rl"])
def test_a_fit_finds_the_curve_that_the_points_came_from(method: str) -> None:
    d = [0.0, 0.3, 0.7, 1.1, 2.0, 3.1]
    gold = [0.0] + [x * (1.4 - 0.3 * (x if method == "best_of_n" else math.log(x))) for x in d[1:]]
    found = fit_frontier(d, gold, method)
    assert (found.alpha, found.beta, found.r2) == pytest.approx((1.4, 0.3, 1.0))
    noisy = fit_frontier(d, [y + 0.2 * (-1) ** n for n, y in enumerate(gold)], method)
    assert 0 < noisy.r2 < 1


def test_what_cannot_be_said() -> None:
    with pytest.raises(ValueError, match="two coefficients from 1 points"):
        fit_frontier([0.0, 1.0], [0.0, 1.0], "rl")
    with pytest.raises(ValueError, match="the best of 3 among 2"):
        best_of_n([1.0, 2.0], [0.0, 0.0], 3)
