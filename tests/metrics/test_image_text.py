"""Measures of score matrices against plain loops and cases that can be counted by hand."""

import itertools

import numpy as np
import pytest

from preceptor.metrics.image_text import found_at, score_auc, word_order, zero_shot


def test_zero_shot_by_hand() -> None:
    scores = np.array([[.9, .1, .0], [.2, .1, .7], [.3, .6, .1], [.8, .1, .1]])
    found = zero_shot(scores, np.array([0, 1, 1, 2]))
    assert found.top1.tolist() == [True, False, True, False] and found.top5.all()
    assert found.per_class == pytest.approx((1 + .5 + 0) / 3)
    ties = zero_shot(np.zeros((2, 7)), np.array([0, 6]))
    assert ties.top1.tolist() == [True, False] and ties.top5.tolist() == [True, False]


@pytest.mark.parametrize("seed", range(5))
def test_measures_equal_plain_loops(seed: int) -> None:
    draw = np.random.default_rng(seed)
    scores, positives = draw.integers(0, 6, (9, 12)).astype(float), draw.random((9, 12)) < .2
    positives[:, 0] |= ~positives.any(1)
    for k in (1, 3, 12):
        slow = [any(positives[row, column] for column in sorted(range(12), key=lambda c: (-scores[row, c], c))[:k])
                for row in range(9)]
        assert found_at(scores, positives, k).tolist() == slow
    shares = []
    for row in range(9):
        pairs = [(scores[row, a] > scores[row, b]) + .5 * (scores[row, a] == scores[row, b])
                 for a, b in itertools.product(range(12), repeat=2) if positives[row, a] and not positives[row, b]]
        shares.append(sum(pairs) / len(pairs))
    assert score_auc(scores, positives) == pytest.approx(shares, abs=1e-12)
    assert score_auc(scores * 7 - 3, positives) == pytest.approx(shares, abs=1e-12)
    positives[3] = True  # nothing is untrue of this picture
    assert np.isnan(score_auc(scores, positives)).tolist() == [row == 3 for row in range(9)]


def test_word_order_as_winoground_counts_it() -> None:
    both, text_only, image_only, tie = [[2, 1], [1, 2]], [[2, 1], [3, 4]], [[2, 3], [1, 4]], [[1, 1], [1, 1]]
    found = word_order(np.array([both, text_only, image_only, tie], dtype=float))
    assert found.text.tolist() == [True, True, False, False]
    assert found.image.tolist() == [True, False, True, False]
    assert found.group.tolist() == [True, False, False, False]


def test_word_order_by_chance() -> None:
    orders = np.array([np.array(order, dtype=float).reshape(2, 2) for order in itertools.permutations(range(4))])
    found = word_order(orders)
    assert (found.text.mean(), found.image.mean(), found.group.mean()) == pytest.approx((1 / 4, 1 / 4, 1 / 6))


def test_of_pictures_without_another_text_there_is_nothing_to_order() -> None:
    with pytest.raises(ValueError, match="both"):
        score_auc(np.ones((2, 3)), np.ones((2, 3), dtype=bool))
