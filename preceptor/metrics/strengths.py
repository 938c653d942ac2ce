"""Strengths of models or answers from who beat whom: Bradley–Terry, Plackett–Luce, Elo, and shares of wins.

Legend: n competitors; theta [n] are log-strengths with mean 0, P(i beats j) = sigmoid(theta_i - theta_j). Both
likelihoods are concave, and are climbed by Newton's method. A maximum exists only where every competitor has, along
some chain, both beaten and lost to every other (Ford 1957); elsewhere a prior theta ~ N(0, I / prior) gives one.
"""

import math
import random
from collections.abc import Callable, Sequence

import numpy as np

from preceptor.run.errors import UserError

NEWTON_STEPS, TOLERANCE = 200, 1e-10
Ranking = Sequence[Sequence[int]]  # groups of competitors, the best first; those of one group are tied


def bradley_terry(wins: np.ndarray, prior: float = 0.0) -> np.ndarray:
    """theta [n] that maximises sum_ij w_ij log sigmoid(theta_i - theta_j) - prior/2 |theta|^2 (Bradley and Terry 1952).

    Args:
        wins: [n, n], how often i beat j; a tie is half a win for each.
        prior: precision of the prior; 0 asks for the maximum of the likelihood.

    Raises:
        UserError: without a prior, the games do not connect all competitors.
    """
    wins = np.asarray(wins, dtype=np.float64)
    if not prior:
        _need_connected(wins)
    games = wins + wins.T

    def derivatives(theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        p = _sigmoid(theta[:, None] - theta[None, :])
        gradient = (wins - games * p).sum(1)
        curvature = games * p * (1 - p)
        return gradient, np.diag(curvature.sum(1)) - curvature

    return _climb(derivatives, len(wins), prior)


def plackett_luce(rankings: Sequence[Ranking], n: int, prior: float = 0.0,
                  weights: Sequence[float] | None = None) -> np.ndarray:
    """theta [n] that maximises the likelihood of rankings, best first (Plackett 1975; Luce 1959).

        log P = sum over groups G of [ sum_{i in G} theta_i - |G| log sum_{j in G or below} exp(theta_j) ]

    The last group adds nothing if it is one competitor. For tied groups this is Breslow's (1974) approximation to the
    mean over the orders of the group.

    Args:
        rankings: groups of competitors; a ranking may leave competitors out.
        n: how many competitors there are.
        prior: as for `bradley_terry`.
        weights: how often each ranking counts; None counts each once.

    Raises:
        UserError: without a prior, the rankings do not connect all competitors.
    """
    return plackett_luce_of(rankings, n, prior)(np.ones(len(rankings)) if weights is None else np.asarray(weights))


def plackett_luce_of(rankings: Sequence[Ranking], n: int, prior: float = 0.0) -> Callable[[np.ndarray], np.ndarray]:
    """`plackett_luce` as a function of the weights alone, for those who fit the same rankings many times.

    A stage is one group's turn: S stages, `chosen` [S, n] counts who was chosen in it, `field` [S, n] who was there.
    """
    owner, turns = [], []
    for number, ranking in enumerate(rankings):
        left = [i for group in ranking for i in group]
        for group in ranking:
            owner.append(number)
            turns.append((list(group), left))
            left = left[len(group):]
    chosen, field = np.zeros((len(turns), n)), np.zeros((len(turns), n))
    for row, (group, left) in enumerate(turns):
        np.add.at(chosen[row], group, 1)
        np.add.at(field[row], left, 1)
    sizes = chosen.sum(1)

    def fit(weights: np.ndarray) -> np.ndarray:
        stage_weights = weights[owner]
        if not prior:
            _need_connected((chosen * stage_weights[:, None]).T @ (field - chosen / 2))
        choices, counts = stage_weights @ chosen, stage_weights * sizes

        def derivatives(theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            shares = field * np.exp(theta - theta.max())
            shares /= shares.sum(1, keepdims=True)
            expected = counts @ shares
            return choices - expected, np.diag(expected) - (shares * counts[:, None]).T @ shares

        return _climb(derivatives, n, prior)

    return fit


def elo(games: Sequence[tuple[int, int, float]], n: int, k: float = 4.0, initial: float = 1000.0) -> np.ndarray:
    """Ratings [n] after games in their order: r_i += k (outcome - 1 / (1 + 10^((r_j - r_i) / 400))) (Elo 1978).

    The result depends on the order: `elo_spread` says how much. For a final figure use `bradley_terry`.

    Args:
        games: (i, j, outcome for i: 1 won, 0 lost, ½ tied).
        k: how far one game moves the ratings.
    """
    ratings = np.full(n, initial)
    for i, j, outcome in games:
        moved = k * (outcome - 1 / (1 + 10 ** ((ratings[j] - ratings[i]) / 400)))
        ratings[i] += moved
        ratings[j] -= moved
    return ratings


def elo_spread(games: Sequence[tuple[int, int, float]], n: int, orders: int = 100, k: float = 4.0,
               seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation [n] of Elo ratings over random orders of the same games."""
    draw = random.Random(seed)
    ratings = np.array([elo(draw.sample(games, len(games)), n, k) for _ in range(orders)])
    return ratings.mean(0), ratings.std(0)


def on_elo_scale(theta: np.ndarray, mean: float = 1000.0) -> np.ndarray:
    """Log-strengths where 400 points mean odds of 10 to 1, as chess players read them."""
    return mean + 400 / math.log(10) * np.asarray(theta)


def win_shares(wins: np.ndarray) -> np.ndarray:
    """[n, n]: share of the games against j that i won, a tie counting one half; NaN where they never met."""
    wins = np.asarray(wins, dtype=np.float64)
    games = wins + wins.T
    return np.divide(wins, games, out=np.full(wins.shape, np.nan), where=games > 0)


def _climb(derivatives: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]], n: int, prior: float) -> np.ndarray:
    """Newton's method from 0; the mean, of which the likelihood knows nothing, is held at 0."""
    theta = np.zeros(n)
    for _ in range(NEWTON_STEPS):
        gradient, curvature = derivatives(theta)
        gradient, curvature = gradient - prior * theta, curvature + prior * np.eye(n)
        step = np.linalg.solve(curvature + np.full((n, n), 1 / n), gradient)
        theta = theta + step / max(1.0, float(np.abs(step).max()))  # a full step may overshoot far from the maximum
        if np.abs(step).max() < TOLERANCE:
            break
    return theta - theta.mean()


def _need_connected(beaten: np.ndarray) -> None:
    from scipy.sparse.csgraph import connected_components
    parts, part_of = connected_components(beaten > 0, directed=True, connection="strong")
    if parts > 1:
        raise UserError(f"The games do not tell the strengths of all {len(beaten)} competitors: they fall into {parts} "
                        "parts of which one has never lost to, or never met, another.",
                        "Give more games, leave some competitors out, or give a prior.")


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(x, -700, 700)))
