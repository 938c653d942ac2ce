"""Calibration against hand-made cases and simulated labelers whose probabilities are known; and the labelers' gap."""

import math
import random

import numpy as np
import pytest

from preceptor.data.records import Comparison, Prompt, Response
from preceptor.metrics.calibration import (
    expected_calibration_error,
    fit_sureness,
    pair_confidences,
    reliability,
)
from preceptor.metrics.rankings import accuracy, accuracy_gap


def ranked(id: str, ranking: list[list[int]], labeler: str = "l") -> Comparison:
    prompt = Prompt(id, [{"role": "user", "content": "Hi"}])
    count = sum(map(len, ranking))
    return Comparison(id, prompt, [Response(str(n)) for n in range(count)], ranking, labeler, "person")


def error(comparisons: list[Comparison], scores: list[list[float]]) -> float:
    return expected_calibration_error(reliability(*pair_confidences(comparisons, scores)))


def test_confidences_by_hand() -> None:
    """Three answers, the last two tied: two pairs, one of them the wrong way round."""
    confidences, right = pair_confidences([ranked("a", [[0], [1, 2]])], [[0.0, -1.0, 2.0]])
    assert confidences == pytest.approx([1 / (1 + math.exp(-1)), 1 / (1 + math.exp(-2))]) and right == [1.0, 0.0]
    assert pair_confidences([ranked("a", [[0], [1]])], [[3.0, 3.0]]) == ([0.5], [0.5])
    assert pair_confidences([ranked("a", [[0], [1]])], [[-1e5, 1e5]]) == ([1.0], [0.0])


def test_the_error_by_hand() -> None:
    table = reliability([0.51, 0.53, 0.99, 1.0], [1.0, 0.0, 1.0, 0.0])
    assert [(one.pairs, one.accuracy) for one in table] == [(2, 0.5), (2, 0.5)]
    assert expected_calibration_error(table) == pytest.approx(0.5 * 0.02 + 0.5 * 0.495)


@pytest.mark.parametrize(("stretch", "low", "high"), [(1.0, 0.0, 0.02), (3.0, 0.08, 0.2), (0.2, 0.08, 0.25)])
def test_labelers_of_bradley_and_terry_are_calibrated_and_stretched_scores_are_not(stretch: float, low: float,
                                                                                  high: float) -> None:
    draw = random.Random(0)
    comparisons, scores = [], []
    for number in range(8000):
        row = [draw.gauss(0, 1.2), draw.gauss(0, 1.2)]
        first = draw.random() < 1 / (1 + math.exp(row[1] - row[0]))
        comparisons.append(ranked(str(number), [[0], [1]] if first else [[1], [0]]))
        scores.append([stretch * score for score in row])
    assert low <= error(comparisons, scores) <= high


def test_the_gap_between_labelers_is_that_of_their_accuracies_on_shared_prompts() -> None:
    draw = random.Random(1)
    same = [ranked(f"p{n}", [[0], [1]] if draw.random() < 0.9 else [[1], [0]], "a") for n in range(300)]
    other = [ranked(f"p{n}", [[0], [1]] if draw.random() < 0.7 else [[1], [0]], "b") for n in range(300)]
    scores = [[1.0, 0.0]] * 300
    gap = accuracy_gap(same, scores, [*other, ranked("elsewhere", [[1], [0]])], [*scores, [1.0, 0.0]])
    assert gap.mean == pytest.approx(accuracy(same, scores).mean - accuracy(other, scores).mean)
    assert gap.low < gap.mean < gap.high and gap.low > 0.05 and gap.n == 300


def test_hard_prompts_are_hard_for_both_and_no_gap() -> None:
    """Both rank alike, half of the prompts against the scores: drawn together they differ by nothing."""
    same = [ranked(f"p{n}", [[n % 2], [1 - n % 2]]) for n in range(40)]
    gap = accuracy_gap(same, [[1.0, 0.0]] * 40, same, [[1.0, 0.0]] * 40)
    assert (gap.mean, gap.low, gap.high) == (0, 0, 0)
    assert accuracy_gap(same[:1], [[1, 0]], same[1:2], [[1, 0]]) is None


@pytest.mark.parametrize("seed", range(4))
def test_sureness_is_platts_as_scikit_learn_fits_it(seed: int) -> None:
    from sklearn.calibration import _sigmoid_calibration
    draw = random.Random(seed)
    scores = [draw.gauss(-3, 2 + seed) for _ in range(80)]
    right = [draw.random() < 1 / (1 + math.exp(-1.5 * score - 4)) for score in scores]
    found = fit_sureness(scores, right)
    slope, offset = _sigmoid_calibration(np.array(scores), np.array(right, dtype=float))
    assert (found.slope, found.offset) == pytest.approx((-slope, -offset), rel=1e-3, abs=1e-3)


def test_sureness_is_finite_where_all_are_right_and_never_falls_with_the_score() -> None:
    all_right = fit_sureness([-1.0, -2.0, -1.5, -9.0], [True] * 4)
    assert all(abs(all_right.of(score) - 5 / 6) < 0.02 for score in (-1.0, -9.0))
    upside_down = fit_sureness([0.0, 1.0, 2.0, 3.0], [True, True, False, False])
    assert upside_down.slope == 0 and upside_down.of(-5.0) == pytest.approx(0.5, abs=0.01)
    assert fit_sureness([-2.0] * 3, [True, False, True]).of(-2.0) == pytest.approx((2 * 3 / 4 + 1 / 3) / 3, abs=1e-3)
    assert 0 <= fit_sureness([0.0, 1.0], [False, True]).of(-1e9) < 1e-9
    with pytest.raises(ValueError):
        fit_sureness([math.inf], [True])
