"""How far each labeler can be trusted, from whom he agrees with: signed-trust Plackett–Luce.

Answer i of an item has a quality theta_i ~ N(0, s^2); labeler a ranks by the utility beta_a theta_i with Gumbel noise,
so P(ranking) is Plackett and Luce's with strengths beta_a theta. beta_a ~ N(1, t^2): near 1 trust, near 0 noise, below
0 the labeler says the reverse of what he should. It is the signed form, for rankings, of Crowd-BT (Chen et al. 2013).

Found by expectation and maximisation: given beta, the qualities of an item have the posterior N(m, V) of Laplace's
method; beta, s and t maximise what is expected under it. The joint maximum over theta and beta would not do: it makes
theta small and beta large, and trusts whoever it happens to follow (betas of 2 to 7 where all are 1).

Who is right when most labelers are reversed cannot be known without gold questions: the majority fixes the sign.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from preceptor.data.records import Comparison

ROUNDS, TOLERANCE = 60, 3e-3
LEAST_SPREAD = 0.05


@dataclass(frozen=True, slots=True)
class Trust:
    """Labelers with their trust and its standard error, and the qualities of the answers of each prompt by text."""

    beta: dict[str, float]
    error: dict[str, float]
    quality: dict[str, dict[str, float]]


@dataclass(frozen=True, slots=True)
class Rankings:
    """N rankings of up to K answers as arrays, each with its best answer first.

    `labeler`, `item` [N]; `answer` [N, K], numbers within the item, -1 where there is none; `last` [N, K], the place at
    which the tied group of each place ends.
    """

    labeler: np.ndarray
    item: np.ndarray
    answer: np.ndarray
    last: np.ndarray

    @property
    def present(self) -> np.ndarray:
        return self.answer >= 0


def as_arrays(rankings: Sequence[tuple[int, int, Sequence[Sequence[int]]]]) -> Rankings:
    """Arrays of (labeler, item, groups of the item's answers, the best first)."""
    shape = (len(rankings), max(sum(map(len, groups)) for _, _, groups in rankings))
    answer, last = np.full(shape, -1), np.tile(np.arange(shape[1]), (shape[0], 1))
    for row, (_, _, groups) in enumerate(rankings):
        place = 0
        for group in groups:
            span = slice(place, place + len(group))
            answer[row, span], last[row, span] = group, span.stop - 1
            place = span.stop
    labeler, item = (np.array([ranking[column] for ranking in rankings], dtype=int) for column in (0, 1))
    return Rankings(labeler, item, answer, last)


def stages(rankings: Rankings, u: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """log P [N] of rankings with utilities u [N, K], its gradient [N, K], and minus its second derivatives [N, K, K].

    log P = sum over places t of u_t - log [exp(u_t) + sum_{s > last(t)} exp(u_s)]: each answer is chosen over those
    that are ranked below it. Tied answers tell nothing of each other: taken for a sign that they are equally good, ties
    make whoever ties often look untrustworthy, and foretell crowd workers worse than no trust (docs/feedback.md).
    """
    present = rankings.present
    u = np.where(present, u, -np.inf)
    top = u.max(1, keepdims=True)
    weights = np.exp(u - top)
    below = np.pad(np.cumsum(weights[:, ::-1], 1)[:, ::-1], ((0, 0), (0, 1)))  # of this place and all behind it
    field = np.where(present, weights + np.take_along_axis(below, rankings.last + 1, 1), 1.0)
    logs = np.where(present, u - top - np.log(field), 0.0).sum(1)
    places = np.arange(u.shape[1])
    there = (places > rankings.last[:, :, None]) | (places == places[:, None])
    p_NTK = weights[:, None, :] / field[:, :, None] * (there & present[:, :, None])
    drawn = p_NTK.sum(1)
    curvature = drawn[:, :, None] * np.eye(u.shape[1]) - np.einsum("ntj,ntk->njk", p_NTK, p_NTK)
    return logs, present - drawn, curvature


def fit_trust(rankings: Rankings, labelers: int,
              spread: float | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Qualities m [items, K], beta [labelers], and the standard errors of beta.

    Args:
        rankings: of all labelers.
        labelers: how many there are.
        spread: standard deviation t of beta around 1; None estimates it: where labelers are alike, they are trusted
            alike.

    The errors take the posterior of the qualities for given and are somewhat too small; with few rankings of each item
    beta is drawn towards 0, by about a fifth where three labelers rank each (measured): compare labelers with another.
    """
    items, k = int(rankings.item.max()) + 1, rankings.answer.shape[1]
    m, variance, beta = np.zeros((items, k)), 1.0, np.ones(labelers)
    t = spread or 1.0
    for _ in range(ROUNDS):
        m, covariance = _qualities(rankings, m, beta, variance)
        moved, error = _trusts(rankings, m, covariance, beta, t)
        if spread is None:
            t = max(LEAST_SPREAD, float(np.sqrt(np.mean((moved - 1) ** 2 + error**2))))
        variance = float(np.mean(m**2 + np.einsum("ikk->ik", covariance)))
        step, beta = float(np.abs(moved - beta).max()), moved
        if step < TOLERANCE:
            break
    return m, beta, error


def _qualities(rankings: Rankings, m: np.ndarray, beta: np.ndarray, variance: float) -> tuple[np.ndarray, np.ndarray]:
    """One Newton step of every item's qualities [I, K], and their covariances [I, K, K] before it."""
    scale = beta[rankings.labeler, None]
    _, gradient, curvature = stages(rankings, scale * m[rankings.item[:, None], rankings.answer])
    slope, precision = -m / variance, np.tile(np.eye(m.shape[1]) / variance, (len(m), 1, 1))
    item, answer = rankings.item[:, None], rankings.answer  # absent answers add zeros to the last one
    np.add.at(slope, (item, answer), scale * gradient)
    np.add.at(precision, (item[:, :, None], answer[:, :, None], answer[:, None, :]), scale[:, :, None]**2 * curvature)
    covariance = np.linalg.inv(precision)
    step = np.einsum("ijk,ik->ij", covariance, slope)
    return m + step / np.maximum(1.0, np.abs(step).max(1, keepdims=True)), covariance


def _trusts(rankings: Rankings, m: np.ndarray, covariance: np.ndarray, beta: np.ndarray,
            spread: float) -> tuple[np.ndarray, np.ndarray]:
    """One Newton step of beta under the posterior of the qualities, to second order in them, and its errors."""
    item, answer = rankings.item[:, None], rankings.answer
    theta = np.where(rankings.present, m[item, answer], 0.0)
    _, gradient, curvature = stages(rankings, beta[rankings.labeler, None] * theta)
    uncertain = covariance[item[:, :, None], answer[:, :, None], answer[:, None, :]]
    spread_out = np.einsum("njk,njk->n", curvature, uncertain)
    told = np.einsum("nj,njk,nk->n", theta, curvature, theta)
    slope, precision = (1 - beta) / spread**2, np.full(len(beta), 1 / spread**2)
    np.add.at(slope, rankings.labeler, (gradient * theta).sum(1) - beta[rankings.labeler] * spread_out)
    np.add.at(precision, rankings.labeler, told + spread_out)
    return beta + np.clip(slope / precision, -0.5, 0.5), 1 / np.sqrt(precision)


def trust(comparisons: Sequence[Comparison]) -> Trust:
    """Fit the model to the comparisons of a store; answers are told apart by prompt and text."""
    names = {name: place for place, name in enumerate(sorted({one.labeler for one in comparisons}))}
    answers: dict[str, dict[str, int]] = {}
    item: dict[str, int] = {}
    rankings = []
    for one in comparisons:
        place = answers.setdefault(one.prompt.id, {})
        item.setdefault(one.prompt.id, len(item))
        index = [place.setdefault(response.text, len(place)) for response in one.responses]
        ranked = dict.fromkeys(index[i] for group in one.ranking for i in group)  # the same text counts at its best
        groups = [[i for i in dict.fromkeys(index[i] for i in group) if ranked.pop(i, 0) is None]
                  for group in one.ranking]
        rankings.append((names[one.labeler], item[one.prompt.id], [group for group in groups if group]))
    if not rankings:
        return Trust({}, {}, {})
    m, beta, errors = fit_trust(_wide(as_arrays(rankings), max(map(len, answers.values()))), len(names))
    quality = {prompt: {text: float(m[number, index]) for text, index in place.items()}
               for number, (prompt, place) in enumerate(answers.items())}
    return Trust(dict(zip(names, beta.tolist())), dict(zip(names, errors.tolist())), quality)


def _wide(rankings: Rankings, answers: int) -> Rankings:
    """The arrays with a column for each of `answers`: rankings of a prompt may each hold some of its answers."""
    missing = max(0, answers - rankings.answer.shape[1])
    places = np.arange(rankings.answer.shape[1], rankings.answer.shape[1] + missing)
    answer = np.pad(rankings.answer, ((0, 0), (0, missing)), constant_values=-1)
    return Rankings(rankings.labeler, rankings.item, answer,
                    np.hstack([rankings.last, np.tile(places, (len(rankings.last), 1))]))
