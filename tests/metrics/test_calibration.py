"""Calibration against hand-made cases and simulated labelers whose probabilities are known; and the labelers' gap."""

import math
import random

import pytest

from preceptor.data.records import Comparison, Prompt, Response
from preceptor.metrics.calibration import expected_calibration_error, pair_confidences, reliability
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
