"""Strengths against choix and evalica to 1e-6, against brute force, and on cases with a known answer."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from preceptor.metrics.strengths import bradley_terry, elo, elo_spread, on_elo_scale, plackett_luce, win_shares
from preceptor.run.errors import UserError


def _games(seed: int, n: int = 8, games: int = 400) -> list[tuple[int, int]]:
    """Winner and loser."""
    draw = np.random.default_rng(seed)
    theta = draw.normal(size=n)
    found = []
    for _ in range(games):
        i, j = draw.choice(n, 2, replace=False)
        found.append((i, j) if draw.random() < 1 / (1 + math.exp(theta[j] - theta[i])) else (j, i))
    return [(int(i), int(j)) for i, j in found]


def _wins(games: list[tuple[int, int]], n: int = 8) -> np.ndarray:
    wins = np.zeros((n, n))
    for i, j in games:
        wins[i, j] += 1
    return wins


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("prior", [0.0, 0.5])
def test_bradley_terry_is_that_of_choix(seed: int, prior: float) -> None:
    choix = pytest.importorskip("choix")
    games = _games(seed)
    theirs = choix.opt_pairwise(8, games, alpha=prior / 2, method="Newton-CG", tol=1e-12)  # alpha |theta|^2
    np.testing.assert_allclose(bradley_terry(_wins(games), prior), theirs - theirs.mean(), atol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_bradley_terry_with_ties_is_that_of_evalica(seed: int) -> None:
    evalica = pytest.importorskip("evalica")
    games, wins = _games(seed), np.zeros((8, 8))
    outcomes = []
    for number, (i, j) in enumerate(games):
        tied = number % 5 == 0
        outcomes.append(evalica.Winner.Draw if tied else evalica.Winner.X)
        wins[i, j] += 0.5 if tied else 1
        wins[j, i] += 0.5 * tied
    result = evalica.bradley_terry([i for i, _ in games], [j for _, j in games], outcomes, tie_weight=0.5,
                                   tolerance=1e-14, limit=100_000)
    theirs = np.log(result.scores.sort_index().to_numpy())
    np.testing.assert_allclose(bradley_terry(wins), theirs - theirs.mean(), atol=1e-6)


@pytest.mark.parametrize("prior", [0.0, 0.5])
def test_plackett_luce_is_that_of_choix(prior: float) -> None:
    choix = pytest.importorskip("choix")
    draw = np.random.default_rng(0)
    rankings = [np.argsort(-(np.arange(6) / 3 + draw.gumbel(size=6)))[:draw.integers(2, 7)].tolist() for _ in range(80)]
    theirs = choix.opt_rankings(6, rankings, alpha=prior / 2, method="Newton-CG", tol=1e-12)
    ours = plackett_luce([[[i] for i in ranking] for ranking in rankings], 6, prior)
    np.testing.assert_allclose(ours, theirs - theirs.mean(), atol=1e-6)


def test_elo_is_that_of_evalica() -> None:
    evalica = pytest.importorskip("evalica")
    games = _games(4)
    outcomes = [evalica.Winner.Draw if n % 7 == 0 else evalica.Winner.X for n in range(len(games))]
    result = evalica.elo([i for i, _ in games], [j for _, j in games], outcomes, initial=1000, base=10, scale=400, k=4)
    ours = elo([(i, j, 0.5 if n % 7 == 0 else 1.0) for n, (i, j) in enumerate(games)], 8, k=4)
    np.testing.assert_allclose(ours, result.scores.sort_index().to_numpy(), atol=1e-6)


def test_two_competitors_have_the_odds_of_their_games() -> None:
    theta = bradley_terry(np.array([[0, 3], [1, 0]]))
    assert theta[0] - theta[1] == pytest.approx(math.log(3))
    pairs = plackett_luce([[[0], [1]]] * 3 + [[[1], [0]]], 2)
    assert pairs == pytest.approx(theta)
    a, b = on_elo_scale(theta)
    assert a - b == pytest.approx(400 * math.log10(3)) and a + b == pytest.approx(2000)


def test_a_weight_is_so_many_copies() -> None:
    rankings = [[[0], [1, 2]], [[2], [0], [1]], [[1], [2], [0]]]
    copies = plackett_luce([rankings[0]] * 3 + rankings[2:], 3, prior=0.1)
    assert plackett_luce(rankings, 3, 0.1, [3, 0, 1]) == pytest.approx(copies)


def test_plackett_luce_finds_the_strengths_that_made_the_rankings() -> None:
    draw = np.random.default_rng(1)
    truth = np.array([1.0, 0.3, -0.4, -0.9])
    rankings = [[[int(i)] for i in np.argsort(-(truth + draw.gumbel(size=4)))] for _ in range(4000)]
    np.testing.assert_allclose(plackett_luce(rankings, 4), truth, atol=0.08)


def test_rankings_with_ties_are_at_the_maximum_of_the_formula() -> None:
    rankings = [[[0, 1], [2, 3]], [[3], [0, 1, 2]], [[2, 0], [3]], [[1], [2]]]

    def minus_log_posterior(theta: np.ndarray) -> float:
        total = -0.3 / 2 * theta @ theta
        for ranking in rankings:
            for number, group in enumerate(ranking):
                field = [j for later in ranking[number:] for j in later]
                total += sum(theta[i] - math.log(sum(math.exp(theta[j]) for j in field)) for i in group)
        return -total

    best = minimize(minus_log_posterior, np.zeros(4), method="BFGS", options={"gtol": 1e-9})
    np.testing.assert_allclose(plackett_luce(rankings, 4, 0.3), best.x - best.x.mean(), atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.permutations(range(4)), min_size=1, max_size=6), st.permutations(range(4)))
def test_names_do_not_matter_and_a_prior_always_gives_an_answer(orders: list[list[int]], names: list[int]) -> None:
    rankings = [[[i] for i in order[:2]] + [order[2:]] for order in orders]
    renamed = [[[names[i] for i in group] for group in ranking] for ranking in rankings]
    theta, other = plackett_luce(rankings, 4, 0.1), plackett_luce(renamed, 4, 0.1)
    np.testing.assert_allclose(other[list(names)], theta, atol=1e-8)
    assert abs(theta.sum()) < 1e-9


def test_games_that_do_not_connect_are_refused() -> None:
    with pytest.raises(UserError, match="2 parts"):
        bradley_terry(np.array([[0, 1], [0, 0]]))
    with pytest.raises(UserError, match="3 parts"):
        plackett_luce([[[0], [1], [2]]], 3)
    assert (np.diff(bradley_terry(np.array([[0, 1], [0, 0]]), prior=0.1)) < 0).all()


def test_elo_depends_on_the_order_and_says_so() -> None:
    games = [(i, j, 1.0) for i, j in _games(2, n=3, games=60)]
    mean, deviation = elo_spread(games, 3)
    assert elo(games, 3).sum() == pytest.approx(3000) and (deviation > 0.3).all()
    assert mean == pytest.approx(elo(games, 3), abs=5 * deviation.max())


def test_shares_of_wins() -> None:
    shares = win_shares(np.array([[0, 1.5, 0], [0.5, 0, 0], [0, 0, 0]]))
    assert shares[0, 1] == 0.75 and shares[1, 0] == 0.25 and math.isnan(shares[0, 2]) and math.isnan(shares[0, 0])
