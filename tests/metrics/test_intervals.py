"""Intervals against scipy and closed forms, and their coverage where pairs of one prompt hang together."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from preceptor.metrics import intervals
from preceptor.metrics.intervals import (
    Interval,
    bootstrap_mean,
    bootstrap_ratio,
    interval_over_seeds,
    mean_over_prompts,
    wilson,
    win_rate,
)
from preceptor.run.errors import UserError


def test_to_dict_is_the_form_of_the_summary():
    assert Interval(0.5, 0.25, 0.75, 8).to_dict() == {"mean": 0.5, "low": 0.25, "high": 0.75, "n": 8}


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_is_that_of_scipy(trials):
    successes, n = trials
    expected = scipy.stats.binomtest(successes, n).proportion_ci(method="wilson")
    found = wilson(successes, n)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert found.mean == successes / n and found.n == n


@pytest.mark.parametrize("n", [2, 3, 4, 5, 6, 7, 10, 31, 32])
def test_interval_over_seeds_is_students(n):
    values = np.random.default_rng(n).normal(3, 2, n)
    low, high = scipy.stats.t.interval(0.95, n - 1, values.mean(), scipy.stats.sem(values))
    found = interval_over_seeds(values.tolist())
    assert (found.mean, found.low, found.high) == pytest.approx((values.mean(), low, high), rel=1e-9)
    assert found.n == n


def test_bootstrap_is_near_that_of_scipy_and_of_the_normal_law():
    values = np.random.default_rng(0).normal(1, 3, 300)
    found = bootstrap_mean(values.tolist())
    other = scipy.stats.bootstrap([values], np.mean, method="percentile", rng=np.random.default_rng(1))
    reach = 1.96 * values.std() / np.sqrt(300)
    assert found.mean == pytest.approx(values.mean(), abs=1e-12) and found.n == 300
    for bound, scipys, sign in ((found.low, other.confidence_interval.low, -1),
                                (found.high, other.confidence_interval.high, 1)):
        assert bound == pytest.approx(scipys, abs=0.1 * reach)
        assert bound == pytest.approx(values.mean() + sign * reach, abs=0.1 * reach)


def test_the_unit_is_the_cluster():
    """Ten copies of every observation are no new evidence: the same interval, and the same n."""
    values = np.random.default_rng(0).normal(size=40).tolist()
    once = bootstrap_mean(values)
    copies = bootstrap_mean(values * 10, clusters=list(range(40)) * 10)
    assert (copies.mean, copies.low, copies.high) == pytest.approx((once.mean, once.low, once.high))
    assert copies.n == once.n == 40
    forgetful = bootstrap_mean(values * 10)
    assert forgetful.high - forgetful.low < 0.5 * (once.high - once.low)


def test_a_mean_over_unequal_clusters_weighs_values_and_not_clusters():
    found = bootstrap_mean([1, 1, 1, 0], clusters=["a", "a", "a", "b"])
    assert (found.mean, found.low, found.high, found.n) == (0.75, 0.0, 1.0, 2)


def test_coverage_over_clustered_pairs():
    """150 worlds of 60 prompts with 21 correlated pairs each; the truth is 0.5. About 0.95 against far too little."""
    draw = np.random.default_rng(7)
    inside, inside_naive = 0, 0
    for world in range(150):
        right = draw.binomial(21, draw.beta(2, 2, 60))
        found = bootstrap_ratio(right, [21] * 60, resamples=400, seed=world)
        inside += found.low <= 0.5 <= found.high
        naive = wilson(int(right.sum()), 21 * 60)
        inside_naive += naive.low <= 0.5 <= naive.high
    assert 0.90 <= inside / 150 <= 0.99
    assert inside_naive / 150 < 0.75


def test_the_seed_names_the_draw():
    values = np.random.default_rng(0).normal(size=30).tolist()
    assert bootstrap_mean(values, seed=3) == bootstrap_mean(values, seed=3)
    assert bootstrap_mean(values, seed=3) != bootstrap_mean(values, seed=4)


def test_drawing_in_blocks_changes_nothing(monkeypatch):
    """Blocks of 3, 3 and 1 resamples give what one block of 7 gives."""
    values = np.random.default_rng(0).normal(size=40)
    at_once = bootstrap_ratio(values, np.ones(40), resamples=7)
    monkeypatch.setattr(intervals, "_CELLS", 3 * 40)
    assert bootstrap_ratio(values, np.ones(40), resamples=7) == at_once


def test_win_rate_counts_ties_half_and_does_not_depend_on_the_scale():
    scores_a, scores_b, prompts = [3, 2, 1, 5], [1, 2, 4, 0], ["p", "q", "r", "s"]
    found = win_rate(scores_a, scores_b, prompts)
    assert found.mean == pytest.approx(2.5 / 4) and found.n == 4
    assert win_rate(scores_b, scores_a, prompts).mean == pytest.approx(1.5 / 4)
    assert win_rate([9 * a - 4 for a in scores_a], [9 * b - 4 for b in scores_b], prompts) == found
    assert win_rate([1, 1], [1, 1], ["p", "q"]) == Interval(0.5, 0.5, 0.5, 2)


def test_clusters_without_observations_are_no_evidence():
    assert bootstrap_ratio([1, 0, 0], [2, 2, 0]).n == 2


@pytest.mark.parametrize(
    "call",
    [
        lambda: bootstrap_mean([]),
        lambda: bootstrap_ratio([0.0], [0.0]),
        lambda: win_rate([], [], []),
        lambda: wilson(0, 0),
        lambda: interval_over_seeds([0.7]),
    ],
)
def test_no_evidence_is_an_error(call):
    with pytest.raises(UserError):
        call()


def test_lengths_must_agree():
    with pytest.raises(ValueError):
        bootstrap_ratio([1, 2], [1])
    with pytest.raises(ValueError):
        bootstrap_mean([1, 2], ["a"])
    with pytest.raises(ValueError):
        win_rate([1], [1, 2], ["a", "b"])
    with pytest.raises(ValueError):
        wilson(3, 2)


def test_a_share_of_prompts_has_a_width_where_all_agree():
    assert mean_over_prompts([0.0] * 8) == wilson(0, 8) and wilson(0, 8).high > 0.3
    assert mean_over_prompts([1.0, 0.0], ["a", "b"]) == wilson(1, 2)
    assert mean_over_prompts([1.0, 0.0], ["a", "a"]) == bootstrap_mean([1.0, 0.0], ["a", "a"])
    assert mean_over_prompts([0.5, 1.0]) == bootstrap_mean([0.5, 1.0])
