"""Scores of models and answers from the rankings of a store, with intervals that draw prompts.

The C(K, 2) pairs of one ranking are not independent, nor are rankings of one prompt: an interval over pairs covers the
truth 79 % of the time at K = 7 (experiments/interval_coverage.py). So a prompt with all its rankings is drawn again.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from preceptor.data.records import Comparison
from preceptor.metrics.intervals import CONFIDENCE, Interval
from preceptor.metrics.strengths import (
    bradley_terry,
    elo_spread,
    on_elo_scale,
    plackett_luce,
    plackett_luce_of,
    win_shares,
)
from preceptor.run.errors import UserError

PRIOR = 0.01  # of N(0, 10): it moves no one who has met the others, and keeps a resample from having no maximum


@dataclass(frozen=True, slots=True)
class ModelScores:
    """Models by strength. Scores are log-strengths on the Elo scale, 1000 on average."""

    models: list[str]
    bradley_terry: list[Interval]
    plackett_luce: list[Interval]
    elo: list[tuple[float, float]]  # mean and standard deviation over orders of the games
    wins: list[list[float | None]]  # share of pairs that the row's model won against the column's; None: never met
    prompts: int


def model_scores(comparisons: Sequence[Comparison], resamples: int = 200, seed: int = 0) -> ModelScores:
    """Scores of the models behind the answers, the best first, with 95 % intervals over prompts.

    Raises:
        UserError: fewer than two models were compared with each other.
    """
    models = sorted({response.model for one in comparisons for response in one.responses if response.model})
    place = {model: number for number, model in enumerate(models)}
    by_prompt: dict[str, list[Comparison]] = defaultdict(list)
    for one in comparisons:
        if sum(response.model is not None for response in one.responses) > 1:
            by_prompt[one.prompt.id].append(one)
    wins = np.array([sum(_wins(one, place) for one in some) for some in by_prompt.values()])
    if len(models) < 2 or not wins.any():
        raise UserError("No two models were compared with each other.",
                        "Rank answers of several models to the same prompts, with the field 'model' set.")
    rankings = [[group_of(one, place) for one in some] for some in by_prompt.values()]
    draw = np.random.default_rng(seed)
    drawn = draw.multinomial(len(wins), np.full(len(wins), 1 / len(wins)), size=resamples)

    def by_pairs(weights: np.ndarray) -> np.ndarray:
        return bradley_terry(np.tensordot(weights, wins, 1), PRIOR)

    fit_rankings = plackett_luce_of([ranking for some in rankings for ranking in some], len(models), PRIOR)

    def by_rankings(weights: np.ndarray) -> np.ndarray:
        return fit_rankings(np.repeat(weights, [len(some) for some in rankings]))

    found = {name: _with_intervals(fit, drawn, len(wins)) for name, fit in (("bt", by_pairs), ("pl", by_rankings))}
    order = sorted(range(len(models)), key=lambda number: -found["bt"][number].mean)
    games = [game for some in by_prompt.values() for one in some for game in model_games(one, place)]
    mean, deviation = elo_spread(games, len(models), seed=seed)
    shares = win_shares(wins.sum(0))
    return ModelScores(
        [models[i] for i in order], [found["bt"][i] for i in order], [found["pl"][i] for i in order],
        [(float(mean[i]), float(deviation[i])) for i in order],
        [[None if np.isnan(shares[i, j]) else float(shares[i, j]) for j in order] for i in order], len(wins))


def ladder(comparisons: Sequence[Comparison], resamples: int = 200, seed: int = 0) -> dict[int, ModelScores]:
    """For each round, the scores from its rankings and those of all rounds before it.

    A round is left out while all answers so far are by one model, as they are in the first of iterated RLHF.
    """
    found = {}
    for number in sorted({one.round for one in comparisons if one.round is not None}):
        so_far = [one for one in comparisons if one.round is not None and one.round <= number]
        if any(len({response.model for response in one.responses} - {None}) > 1 for one in so_far):
            found[number] = model_scores(so_far, resamples, seed)
    return found


def model_games(comparison: Comparison, place: dict[str, int]) -> list[tuple[int, int, float]]:
    """The pairs of answers by different models as games (i, j, outcome for i)."""
    played = [(place[response.model], rank)
              for response, rank in zip(comparison.responses, comparison.ranks()) if response.model in place]
    return [(i, j, (rank_i < rank_j) + 0.5 * (rank_i == rank_j))
            for (i, rank_i), (j, rank_j) in combinations(played, 2) if i != j]


def group_of(comparison: Comparison, place: dict[str, int]) -> list[list[int]]:
    """The ranking as groups of models; answers by nobody known are left out."""
    named = [[place[comparison.responses[index].model] for index in group
              if comparison.responses[index].model in place] for group in comparison.ranking]
    return [group for group in named if group]


def answer_scores(comparisons: Sequence[Comparison], prior: float = 1.0) -> dict[str, dict[str, float]]:
    """Log-strengths of the answers to each prompt, by text: `{prompt id: {text: theta}}`, mean 0 for each prompt.

    Plackett–Luce with the prior N(0, 1/prior), for an answer that won its only ranking is not infinitely good.
    """
    by_prompt: dict[str, list[Comparison]] = defaultdict(list)
    for one in comparisons:
        by_prompt[one.prompt.id].append(one)
    scores = {}
    for prompt, some in by_prompt.items():
        texts = list(dict.fromkeys(response.text for one in some for response in one.responses))
        place = {text: number for number, text in enumerate(texts)}
        rankings = [[[place[one.responses[index].text] for index in group] for group in one.ranking] for one in some]
        scores[prompt] = dict(zip(texts, plackett_luce(rankings, len(texts), prior).tolist()))
    return scores


def _wins(comparison: Comparison, place: dict[str, int]) -> np.ndarray:
    wins = np.zeros((len(place), len(place)))
    for i, j, outcome in model_games(comparison, place):
        wins[i, j] += outcome
        wins[j, i] += 1 - outcome
    return wins


def _with_intervals(fit: Callable[[np.ndarray], np.ndarray], drawn: np.ndarray, prompts: int) -> list[Interval]:
    """The estimate from all prompts and, from resampled ones, the percentiles around it, on the Elo scale."""
    estimate = on_elo_scale(fit(np.ones(prompts)))
    again = np.array([on_elo_scale(fit(weights)) for weights in drawn])
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(again, [tail, 1 - tail], axis=0)
    return [Interval(float(mean), float(a), float(b), prompts) for mean, a, b in zip(estimate, low, high)]
