"""The labelers: calibrated agreement, ties, manners on request, and the ceiling that their noise leaves."""

from dataclasses import replace

import pytest

from preceptor.data.records import Comparison, Prompt, Response
from preceptor.run.errors import UserError
from preceptor.village.labelers import (
    TIE,
    Labeler,
    Panel,
    agreement,
    calibrate_noise,
    draw_labelers,
    expected_agreement,
    group_ties,
    noise_ceiling,
)
from preceptor.village.oracle import READABLE, Verdict
from preceptor.village.stage import typical_answers, typical_verdicts
from tests.village.conftest import Village

BEST = Verdict(5, 5, 5, 5, True, 7, "correct")
WORST = Verdict(1, 1, 1, 1, True, 1, "false")


def _panel(village: Village, noise: float | None = None, **changes: int) -> Panel:
    options = replace(village.options, **changes)
    training, heldout = draw_labelers(options, 0)
    if noise is None:
        asked = village.prompts["train"] + village.prompts["demonstrations"]
        answers = typical_verdicts(options, 0, village.oracle, asked, {village.language.code: village.language})
        noise = calibrate_noise([*training, *heldout], answers, options.agreement, 0)
    return Panel(village.oracle, training, heldout, noise, 0)


def _comparisons(village: Village, panel: Panel, labelers: tuple[str, ...], most: int = 150) -> list[Comparison]:
    """Rankings of typical answers to the test prompts, which the calibration has not seen.

    Spaces behind a repeated answer make it another text to a labeler's noise, and the same to the oracle.
    """
    asked, rows = village.prompts["test"][:most], []
    for one, texts in zip(asked, typical_answers(village.options, 7, asked, {village.language.code: village.language})):
        responses = [Response(text=text + " " * number) for number, text in enumerate(texts)]
        rows += [panel.rank(one.prompt, responses, labeler, f"{one.prompt.id}/{labeler}") for labeler in labelers]
    return rows


@pytest.fixture(scope="module")
def panels(villages: dict[str, Village]) -> dict[str, Panel]:
    return {code: _panel(village) for code, village in villages.items()}


def test_labelers_agree_as_people_do_on_answers_they_were_not_calibrated_on(village, panels) -> None:
    panel = panels[village.language.code]
    measured = agreement(_comparisons(village, panel, (*panel.training[:4], *panel.heldout[:2])))
    assert 0.72 <= measured <= 0.77


def test_calibration_solves_for_the_noise(villages) -> None:
    village = villages["en"]
    labelers = [*sum(draw_labelers(village.options, 0), [])]
    answers = typical_verdicts(village.options, 1, village.oracle, village.prompts["train"], {"en": village.language})
    noises = [calibrate_noise(labelers, answers, target, 0) for target in (0.65, 0.8)]
    assert noises == sorted(noises, reverse=True)
    for target, noise in zip((0.65, 0.8), noises):
        assert abs(expected_agreement(labelers, answers, noise, 0) - target) < 0.005
    with pytest.raises(UserError, match="cannot agree on 99.9%"):
        calibrate_noise(labelers, answers, 0.999, 0)
    with pytest.raises(UserError, match="at least two honest"):
        calibrate_noise(labelers[:1], answers, 0.75, 0)


def test_labelers_have_weights_of_their_own() -> None:
    from preceptor.village.options import VillageOptions
    training, heldout = draw_labelers(VillageOptions(), 0)
    everyone = [*training, *heldout]
    assert len({labeler.name for labeler in everyone}) == 15 and len({labeler.weights for labeler in everyone}) == 15
    for labeler in everyone:
        assert sum(labeler.weights) == pytest.approx(1) and labeler.weights[0] != READABLE
        assert labeler.utility(BEST) == pytest.approx(7) and labeler.utility(WORST) == pytest.approx(1)
        assert labeler.utility(replace(BEST, harmless=False)) == pytest.approx(7 - labeler.rudeness)


def test_ties_are_what_lies_within_the_width_of_the_best_of_a_group() -> None:
    assert group_ties([1, 7, 7 - TIE, 7 - 1.5 * TIE]) == [[1, 2], [3], [0]]
    assert group_ties([3.0]) == [[0]]


def test_two_copies_of_an_answer_are_tied_and_a_ranking_is_repeatable(villages, panels) -> None:
    asked = villages["en"].prompts["test"][0]
    responses = [Response(text=text) for text in ("Hello.", asked.draft.good[0], "Hello.")]
    one = panels["en"].rank(asked.prompt, responses, "labeler03", "x")
    assert one == panels["en"].rank(asked.prompt, responses, "labeler03", "x")
    assert one.ranks()[0] == one.ranks()[2] and one.kind == "program" and sorted(one.shown) == [0, 1, 2]
    for response in one.responses:
        assert response.scores.keys() == {"overall", "accuracy", "relevance", "naturalness", "concision"}
        assert 1 <= response.scores["overall"] <= 7 and response.scores["overall"] == int(response.scores["overall"])
    orders = {tuple(panels["en"].rank(asked.prompt, responses, "labeler03", str(n)).shown) for n in range(50)}
    assert len(orders) == 6


def test_a_better_answer_has_a_likert_score_no_worse(villages, panels) -> None:
    village = villages["en"]
    for one in _comparisons(village, panels["en"], ("labeler01",), most=60):
        overall = [response.scores["overall"] for response in one.responses]
        ranks = one.ranks()
        pairs = [(i, j) for i in range(len(ranks)) for j in range(len(ranks)) if ranks[i] < ranks[j]]
        assert all(overall[i] >= overall[j] for i, j in pairs)


def test_manners_on_request(villages) -> None:
    village = villages["en"]
    panel = _panel(village, noise=0.0, lazy_labelers=1, random_labelers=1, reversed_labelers=1)
    lazy, chance, upside_down, honest = panel.training[:4]
    rows = {name: _comparisons(village, panel, (name,), most=60) for name in (lazy, chance, upside_down, honest)}
    assert all(one.ranking == [[index] for index in one.shown] for one in rows[lazy])
    ceilings = {name: noise_ceiling(found, village.oracle) for name, found in rows.items()}
    assert ceilings[honest] > 0.9 and ceilings[upside_down] < 0.1
    assert 0.4 < ceilings[chance] < 0.6 and 0.4 < ceilings[lazy] < 0.6
    with pytest.raises(UserError, match="more than all"):
        draw_labelers(replace(village.options, random_labelers=11), 0)


def test_a_ceiling_counts_pairs_by_hand() -> None:
    prompt = Prompt("p", [{"role": "user", "content": "?"}])
    responses = [Response(text=text) for text in "abc"]

    class Knower:
        def score(self, prompts: list[Prompt], responses: list[Response]) -> list[float]:
            return [{"a": 2.0, "b": 1.0, "c": 1.0}[response.text] for response in responses]

    def compare(ranking: list[list[int]]) -> Comparison:
        return Comparison("c", prompt, responses, ranking, "l", "program")

    assert noise_ceiling([compare([[0], [1], [2]])], Knower()) == pytest.approx(2.5 / 3)     # b and c count one half
    assert noise_ceiling([compare([[1, 2], [0]])], Knower()) == 0
    assert noise_ceiling([compare([[0, 1, 2]])], Knower()) != noise_ceiling([compare([[0, 1, 2]])], Knower())  # NaN
    assert agreement([compare([[0], [1], [2]]), compare([[1], [0], [2]])]) == pytest.approx(2 / 3)
    assert agreement([compare([[0], [1], [2]]), compare([[2], [0, 1]])]) == 0


def test_noise_leaves_a_ceiling_below_the_truth_and_the_panel_is_a_reward(villages, panels) -> None:
    village, panel = villages["en"], panels["en"]
    rows = _comparisons(village, panel, panel.training[:2])
    oracle, mean = noise_ceiling(rows, village.oracle), noise_ceiling(rows, panel)
    assert 0.7 < oracle < 0.9 and abs(oracle - mean) < 0.03


def test_an_unknown_labeler_is_refused(villages, panels) -> None:
    asked = villages["en"].prompts["test"][0]
    with pytest.raises(UserError, match="no labeler 'nobody'"):
        panels["en"].rank(asked.prompt, [Response(text="Hello.")], "nobody", "x")


def test_held_out_labelers_are_others_and_honest(villages) -> None:
    training, heldout = draw_labelers(replace(villages["en"].options, lazy_labelers=10), 0)
    assert {labeler.manner for labeler in training} == {"lazy"}
    assert {labeler.manner for labeler in heldout} == {"honest"}
    assert not {labeler.name for labeler in training} & {labeler.name for labeler in heldout}
    assert isinstance(training[0], Labeler)
