"""Scores of models: the right order, intervals that draw prompts, ladders, and answers."""

import random
from dataclasses import replace

import numpy as np
import pytest

from preceptor.data.records import Comparison, Prompt, Response
from preceptor.feedback.scores import answer_scores, ladder, model_scores
from preceptor.metrics.strengths import bradley_terry, on_elo_scale
from preceptor.run.errors import UserError

STRENGTH = {"base": -1.0, "sft": 0.0, "ppo": 1.0}


def _rankings(prompts: int, copies: int = 1, seed: int = 0) -> list[Comparison]:
    draw, found = random.Random(seed), []
    for n in range(prompts):
        prompt = Prompt(f"p{n}", [{"role": "user", "content": str(n)}])
        said = [Response(f"{model} says {n}", model=model) for model in STRENGTH]
        liked = [STRENGTH[one.model] + np.log(-1 / np.log(draw.random())) for one in said]  # Gumbel noise
        ranking = [[i] for i in sorted(range(3), key=lambda i: -liked[i])]
        found += [Comparison(f"c{n}.{copy}", prompt, said, ranking, f"l{copy}", "person", round=n % 2)
                  for copy in range(copies)]
    return found


def test_models_are_put_in_their_order() -> None:
    scores = model_scores(_rankings(300), resamples=100)
    assert scores.models == ["ppo", "sft", "base"] and scores.prompts == 300
    truth = on_elo_scale(np.array([1.0, 0.0, -1.0]))
    for found in (scores.bradley_terry, scores.plackett_luce):
        for interval, value in zip(found, truth):
            assert interval.low < interval.mean < interval.high and abs(interval.mean - value) < 60
    assert scores.wins[0][2] > scores.wins[0][1] > 0.5 and scores.wins[0][0] is None
    assert scores.wins[0][1] + scores.wins[1][0] == pytest.approx(1)
    assert scores.elo[0][0] > scores.elo[2][0] and scores.elo[0][1] > 0


def test_copies_of_a_ranking_make_no_interval_narrower() -> None:
    """Ten labelers who say the same to the same prompts are one piece of evidence a prompt."""
    once, often = (model_scores(_rankings(60, copies=n), resamples=60) for n in (1, 5))
    for a, b in zip(once.bradley_terry, often.bradley_terry):
        assert b.high - b.low == pytest.approx(a.high - a.low, rel=0.02)
        assert b.mean == pytest.approx(a.mean, abs=1.0)


def test_the_score_is_that_of_bradley_and_terry() -> None:
    wins = np.zeros((3, 3))
    order = {"base": 0, "ppo": 1, "sft": 2}
    for one in _rankings(50):
        for above, (better,) in enumerate(one.ranking):
            for (worse,) in one.ranking[above + 1:]:
                wins[order[one.responses[better].model], order[one.responses[worse].model]] += 1
    scores = model_scores(_rankings(50), resamples=2)
    for model, interval in zip(scores.models, scores.bradley_terry):
        assert interval.mean == pytest.approx(on_elo_scale(bradley_terry(wins, 0.01))[order[model]])


def test_a_ladder_has_a_rung_for_each_round() -> None:
    rungs = ladder(_rankings(40), resamples=2)
    assert [(number, rung.prompts) for number, rung in rungs.items()] == [(0, 20), (1, 40)]
    alone = [replace(one, responses=[replace(said, model="sft") for said in one.responses])
             if one.round == 0 else one for one in _rankings(40)]
    assert list(ladder(alone, resamples=2)) == [1]  # a round with one model has nothing to compare yet


def test_answers_are_scored_within_their_prompt() -> None:
    [one, *_] = _rankings(1)
    tied = replace(one, id="x", ranking=[[0, 1], [2]])
    scores = answer_scores([tied, replace(tied, id="y", labeler="b")])["p0"]
    assert scores["base says 0"] == pytest.approx(scores["sft says 0"]) and scores["ppo says 0"] < 0
    assert sum(scores.values()) == pytest.approx(0)


def test_one_model_alone_has_no_score() -> None:
    [one] = _rankings(1)
    with pytest.raises(UserError, match="No two models"):
        model_scores([replace(one, responses=[replace(said, model=None) for said in one.responses])])
