"""The informed policies: their posterior against scipy, their scores against brute force, and what they choose."""

import random

import numpy as np
import pytest
from scipy.optimize import minimize

from preceptor.data.records import Comparison, Prompt, Response
from preceptor.feedback.assign import next_item
from preceptor.feedback.labelers import add_labeler
from preceptor.feedback.policies import LinearUtility, Selector, fit_utility, hashed_words, ranked_pairs
from preceptor.feedback.records import add_comparisons, add_items
from preceptor.feedback.store import Store
from preceptor.run.errors import UserError


def _data(seed: int, pairs: int = 60, width: int = 4) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    return draw.normal(size=(pairs, width)), draw.uniform(-0.5, 1, size=pairs)


def test_the_posterior_is_at_its_maximum() -> None:
    differences, weights = _data(0)

    def minus_log_posterior(w: np.ndarray) -> float:
        margins = differences @ w * np.sign(weights)
        return float(0.7 / 2 * w @ w + np.abs(weights) @ np.logaddexp(0, -margins))

    found = fit_utility(differences, weights, precision=0.7)
    best = minimize(minus_log_posterior, np.zeros(4), method="BFGS", options={"gtol": 1e-9})
    np.testing.assert_allclose(found.mean, best.x, atol=1e-6)
    step = 1e-4
    for i in range(4):  # the precision is the second derivative
        e = np.eye(4)[i] * step
        second = (minus_log_posterior(found.mean + e) + minus_log_posterior(found.mean - e)
                  - 2 * minus_log_posterior(found.mean)) / step**2
        assert second == pytest.approx(found.hessian[i, i], rel=1e-3)


def test_separable_data_still_have_a_finite_answer() -> None:
    found = fit_utility(np.array([[1e4, 0.0], [1e4, 1.0]]), np.ones(2))
    assert np.isfinite(found.mean).all() and found.mean[0] > 0


@pytest.mark.parametrize("answers", [2, 3, 7])
def test_information_is_the_growth_of_the_log_determinant(answers: int) -> None:
    utility = fit_utility(*_data(1))
    x = np.random.default_rng(2).normal(size=(answers, 4))
    fisher, variances = np.zeros((4, 4)), []
    for i in range(answers):
        for j in range(i):
            d = x[i] - x[j]
            p = 1 / (1 + np.exp(-d @ utility.mean))
            fisher += 2 / answers * p * (1 - p) * np.outer(d, d)
            variances.append(d @ np.linalg.inv(utility.hessian) @ d)
    grown = np.linalg.slogdet(utility.hessian + fisher)[1] - np.linalg.slogdet(utility.hessian)[1]
    assert utility.information(x) == pytest.approx(grown, abs=1e-10)
    assert utility.uncertainty(x) == pytest.approx(np.mean(variances), abs=1e-10)


def test_identical_answers_tell_nothing() -> None:
    utility = LinearUtility(np.ones(2), np.eye(2))
    assert utility.information(np.ones((4, 2))) == utility.uncertainty(np.ones((4, 2))) == 0


@pytest.mark.parametrize("kind", ["uncertain", "informative"])
def test_what_was_never_compared_is_asked_before_what_was_often(small_store: Store, kind: str) -> None:
    def feature(prompt: Prompt, responses: list[Response]) -> np.ndarray:
        return np.array([[float("red" in one.text), float("blue" in one.text)] for one in responses])

    def item(id: str, one: str, other: str) -> tuple[Prompt, list[Response]]:
        return Prompt(id, [{"role": "user", "content": "?"}]), [Response(one), Response(other)]

    known = [Comparison(f"c{n}", *item(f"k{n}", "red", "-"), [[n % 2], [1 - n % 2]], "x", "program") for n in range(40)]
    add_comparisons(small_store, known)
    [dull, fresh] = add_items(small_store, [item("a", "red", "-"), item("b", "blue", "-")])
    add_labeler(small_store, "ann")
    selector = Selector(small_store, kind, features=feature)
    selector.look()
    first = [selector([dull, fresh], random.Random(n))[0] for n in range(200)]
    assert 0.85 < first.count(fresh) / 200 < 0.95  # always, but for the one in five that is drawn at random
    assert next_item(small_store, "ann", selector) is not None


def test_features_tell_texts_apart_in_both_languages() -> None:
    prompt = Prompt("p", [{"role": "user", "content": "Who keeps 蜂?"}])
    texts = ("Nora keeps bees.", "诺拉养蜂。", "诺拉养鱼。", "")
    x = hashed_words(prompt, [Response(text) for text in texts])
    assert len({tuple(row) for row in x}) == 4 and np.isfinite(x).all() and not x[3].any()
    assert x[0, -1] == x[1, -1] == 1 / 3 and x[2, -1] == 0  # of the prompt's words "who", "keeps" and "蜂"
    one = Comparison("c", prompt, [Response("")] * 3, [[2], [0, 1]], "a", "person")
    np.testing.assert_array_equal(ranked_pairs(one, np.eye(3)), [[-1, 0, 1], [0, -1, 1]])


def test_an_unknown_policy_is_refused(small_store: Store) -> None:
    with pytest.raises(UserError, match="Did you mean 'uncertain'"):
        Selector(small_store, "uncertan")
