"""Figures of the evaluation against counting by hand."""

import random
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from preceptor.data.records import Prompt, Response
from preceptor.evaluate.answers import JudgedAnswer
from preceptor.evaluate.measures import pairs, reward_figures, text_figures, verdict_figures, win_rates_by_category

OUTCOMES = {True: ("correct", "false", "incomplete", "refused_needlessly"), False: ("false", "refused_rightly")}


def answers_of(model: str, seed: int, prompts: int = 60) -> list[JudgedAnswer]:
    """Every third prompt is no question, every fifth has no answer; scores are coarse, so that there are ties."""
    draw = random.Random(f"{model} {seed}")
    rows = []
    for number in range(prompts):
        question, answerable = number % 3 > 0, number % 5 > 0
        outcome = draw.choice(OUTCOMES[answerable]) if question else "unchecked"
        axes = {axis: float(draw.randint(1, 5)) for axis in ("accuracy", "relevance", "naturalness", "concision")}
        verdict = {**axes, "harmless": draw.random() < 0.9, "overall": float(draw.randint(1, 7)), "outcome": outcome}
        prompt = Prompt(f"p{number}", [{"role": "user", "content": "?"}], category="ab"[number % 4 == 0])
        text = " ".join(draw.choices("abcd", k=draw.randint(0, 12)))
        rows.append(JudgedAnswer(prompt, model, Response(text, finish=draw.choice(["eos", "length", "stop"])), verdict,
                                 draw.gauss(0, 1)))
    return rows


@dataclass(frozen=True)
class Questions:
    """An oracle that knows only which prompts are questions and which of them can be answered."""

    def task(self, prompt: Prompt) -> Any:
        number = int(prompt.id[1:])
        return SimpleNamespace(question=number % 3 > 0, answerable=number % 5 > 0)


MODELS = ("base", "base_prompted", "sft", "ppo", "ppo_ptx")


@pytest.fixture(scope="module")
def answers() -> dict[str, list[JudgedAnswer]]:
    return {model: answers_of(model, 0) for model in MODELS}


def test_neighbours_and_each_against_sft() -> None:
    assert pairs(MODELS) == [
        ("base_prompted", "base"), ("sft", "base_prompted"), ("ppo", "sft"), ("ppo_ptx", "ppo"), ("base", "sft"),
        ("base_prompted", "sft"), ("ppo_ptx", "sft")]
    assert pairs(["sft"]) == [] and pairs(["sft", "ppo_ptx"]) == [("ppo_ptx", "sft")]


def test_win_rates_are_those_counted_by_hand(answers: dict[str, list[JudgedAnswer]]) -> None:
    figures = verdict_figures(answers, Questions())["win_rate"]
    assert len(figures) == 7
    for pair, figure in figures.items():
        a, b = pair.split(" vs ")
        points = []
        for one, other in zip(answers[a], answers[b]):
            assert one.prompt.id == other.prompt.id
            difference = one.verdict["overall"] - other.verdict["overall"]
            points.append(1.0 if difference > 0 else 0.5 if difference == 0 else 0.0)
        assert figure["mean"] == pytest.approx(sum(points) / 60) and figure["n"] == 60
        reach = 1.96 * np.std(points) / 60 ** 0.5  # the normal interval: near the bootstrap's at 60 prompts
        assert figure["low"] == pytest.approx(figure["mean"] - reach, abs=0.03)
        assert figure["high"] == pytest.approx(figure["mean"] + reach, abs=0.03)


def test_a_pair_the_other_way_round_is_the_rest(answers: dict[str, list[JudgedAnswer]]) -> None:
    rates = verdict_figures(answers, Questions())["win_rate"]
    assert rates["sft vs base_prompted"]["mean"] == pytest.approx(1 - rates["base_prompted vs sft"]["mean"])


def test_categories_part_the_prompts(answers: dict[str, list[JudgedAnswer]]) -> None:
    found = win_rates_by_category(answers, lambda row: row.verdict["overall"])
    assert set(found) == {f"{model} vs sft" for model in MODELS if model != "sft"}
    whole = verdict_figures(answers, Questions())["win_rate"]
    for pair, rates in found.items():
        assert list(rates) == ["a", "b"] and [rate["n"] for rate in rates.values()] == [45, 15]
        assert sum(rate["mean"] * rate["n"] for rate in rates.values()) == pytest.approx(60 * whole[pair]["mean"])


def test_truthfulness_by_hand(answers: dict[str, list[JudgedAnswer]]) -> None:
    figures = verdict_figures(answers, Questions())
    for model, rows in answers.items():
        asked = [row for row in rows if int(row.prompt.id[1:]) % 3]
        known = [row for row in asked if int(row.prompt.id[1:]) % 5]
        unknown = [row for row in asked if int(row.prompt.id[1:]) % 5 == 0]
        for name, outcome, among in (("correct", "correct", known), ("false_assertions", "false", asked),
                                     ("needless_refusals", "refused_needlessly", known),
                                     ("right_refusals", "refused_rightly", unknown)):
            figure = figures[name][model]
            assert figure["n"] == len(among) > 0
            assert figure["mean"] == sum(row.verdict["outcome"] == outcome for row in among) / len(among)
            assert figure["low"] <= figure["mean"] <= figure["high"]
        assert figures["harmless"][model]["mean"] == sum(row.verdict["harmless"] for row in rows) / 60
        for axis in ("overall", "concision"):
            mean = sum(row.verdict[axis] for row in rows) / 60
            assert figures["likert"][model][axis]["mean"] == pytest.approx(mean)


def test_a_village_without_unanswerable_questions_measures_no_right_refusals(
        answers: dict[str, list[JudgedAnswer]]) -> None:
    rows = {"sft": [row for row in answers["sft"] if int(row.prompt.id[1:]) % 5]}
    figures = verdict_figures(rows, Questions())
    assert "right_refusals" not in figures and "correct" in figures


def test_rewards_and_texts(answers: dict[str, list[JudgedAnswer]]) -> None:
    figures, texts = reward_figures(answers), text_figures(answers)
    rows = answers["ppo"]
    assert figures["reward"]["ppo"]["mean"] == pytest.approx(sum(row.reward for row in rows) / 60)
    assert figures["reward_win_rate"]["ppo vs sft"]["mean"] == pytest.approx(
        sum(one.reward > other.reward for one, other in zip(rows, answers["sft"])) / 60)
    words = [row.response.text.split() for row in rows]
    assert texts["words"]["ppo"]["mean"] == pytest.approx(sum(map(len, words)) / 60)
    assert texts["ended"]["ppo"]["mean"] == sum(row.response.finish != "length" for row in rows) / 60
    grams = [[tuple(text[start:start + 4]) for start in range(len(text) - 3)] for text in words]
    distinct = sum(len(set(some)) for some in grams)
    assert texts["repetition"]["ppo"]["rep_4"] == pytest.approx(1 - distinct / sum(map(len, grams)))


def test_answers_too_short_to_repeat_leave_repetition_out() -> None:
    prompt = Prompt("p", [{"role": "user", "content": "?"}])
    assert text_figures({"sft": [JudgedAnswer(prompt, "sft", Response("Yes."))]})["repetition"] == {"sft": {}}


def test_judged_answers_go_through_a_file_unchanged(answers: dict[str, list[JudgedAnswer]]) -> None:
    for row in answers["sft"][:3]:
        assert JudgedAnswer.from_dict(row.to_dict()) == row
