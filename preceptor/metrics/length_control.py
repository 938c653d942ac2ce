"""Win rates at equal length: judges, people too, favour the longer answer, and a model must not win by that alone."""

from collections.abc import Hashable, Sequence

import numpy as np

from preceptor.metrics.intervals import CONFIDENCE, Interval
from preceptor.run.errors import UserError

RIDGE = 1e-3  # keeps the fit finite where one side always wins


def length_controlled_win_rate(outcomes: Sequence[float], lengths_a: Sequence[float], lengths_b: Sequence[float],
                               prompts: Sequence[Hashable], resamples: int = 500, seed: int = 0) -> Interval:
    """How often A would win if both answers were of one length.

        P(A wins) = sigmoid(theta + phi tanh(d)),  d = (length_a - length_b) / their standard deviation

    fitted by maximum likelihood; the rate is sigmoid(theta). Dubois et al. 2024 (arXiv 2404.04475), equation 2, without
    the term for the difficulty of an instruction, which needs many models. The interval draws prompts.

    Args:
        outcomes: 1 where A won, 0 where B did, 1/2 for a tie.
        lengths_a, lengths_b: of the two answers, in any unit.
        prompts: the id of the prompt of each comparison.

    Raises:
        UserError: there is no comparison.
    """
    if len(outcomes) == 0:
        raise UserError("There is no comparison to take a win rate of.", "Check that the data are not empty.")
    won = np.asarray(outcomes, dtype=np.float64)
    gaps = np.asarray(lengths_a, dtype=np.float64) - np.asarray(lengths_b, dtype=np.float64)
    gaps = np.tanh(gaps / (gaps.std() or 1.0))
    names = {name: number for number, name in enumerate(dict.fromkeys(prompts))}
    cluster = np.array([names[name] for name in prompts])
    draw = np.random.default_rng(seed)
    rates = []
    for _ in range(resamples):
        times = np.bincount(draw.integers(0, len(names), len(names)), minlength=len(names))
        rates.append(_rate(won, gaps, times[cluster].astype(np.float64)))
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(rates, [tail, 1 - tail])
    return Interval(_rate(won, gaps, np.ones_like(won)), float(low), float(high), len(names))


def _rate(won: np.ndarray, gaps: np.ndarray, weights: np.ndarray) -> float:
    """sigmoid(theta) of the weighted fit, by Newton's method with steps held to 2."""
    design = np.stack([np.ones_like(gaps), gaps], axis=1)
    coefficients = np.zeros(2)
    for _ in range(50):
        p = _sigmoid(design @ coefficients)
        gradient = design.T @ (weights * (won - p)) - RIDGE * coefficients
        curvature = (design * (weights * p * (1 - p))[:, None]).T @ design + RIDGE * np.eye(2)
        step = np.clip(np.linalg.solve(curvature, gradient), -2, 2)
        coefficients += step
        if np.abs(step).max() < 1e-9:
            break
    return float(_sigmoid(coefficients[:1])[0])


def _sigmoid(z: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(z / 2))
