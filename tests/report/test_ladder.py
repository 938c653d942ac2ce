"""The ladder of an iterated run, on the page and in the summary."""

from collections.abc import Callable
from pathlib import Path

from preceptor.report.ladder import ladder
from preceptor.report.page import build_report
from preceptor.report.summary import summary
from preceptor.run.files import read_json, write_json
from tests.report.conftest import interval

STRENGTH = {"sft": 900.0, "policy_1": 1040.0, "policy_2": 1060.0}


def results(oracle: bool = True) -> dict:
    scores = {model: {"bradley_terry": interval(mean, 30.0, 80), "plackett_luce": interval(mean - 5, 30.0, 80),
                      "elo": {"mean": mean + 3, "deviation": 7.0}} for model, mean in STRENGTH.items()}
    wins = {"policy_2": {"policy_1": 0.53, "sft": 0.7}, "policy_1": {"policy_2": 0.47, "sft": 0.69},
            "sft": {"policy_1": 0.31, "policy_2": 0.3}}
    found = {"policies": list(STRENGTH), "scores": scores, "wins": wins, "prompts": 80, "rounds": {}}
    return found | ({"oracle": {model: interval(4.0 + n, 0.2, 80) for n, model in enumerate(STRENGTH)}} if oracle
                    else {})


def test_the_sentences_say_what_was_gained_and_where_the_intervals_overlap() -> None:
    section = ladder(results())
    english = [sentence("en") for sentence in section.panels[0].sentences]
    assert english[0].startswith("policy_2 stands 160 points above SFT: it is preferred with a probability of 72")
    assert english[1:] == ["The intervals of policy_2 and policy_1, one round earlier, overlap."]
    assert [row[4] for row in section.tables[0].rows] == ["", "69\u202f%", "53\u202f%"]
    lost = results()
    lost["scores"]["sft"], lost["scores"]["policy_2"] = lost["scores"]["policy_2"], lost["scores"]["sft"]
    assert "160 points below" in ladder(lost).panels[0].sentences[0]("en")


def test_without_an_oracle_or_a_ladder_they_are_left_out() -> None:
    assert len(ladder(results()).panels) == 2 and len(ladder(results(oracle=False)).panels) == 1
    assert len(ladder(results(oracle=False)).tables[0].head) == 5
    assert ladder({}) is None


def test_the_page_and_the_summary_hold_the_ladder(make_run: Callable[..., Path]) -> None:
    run = make_run()
    manifest = read_json(run / "run.json")
    manifest["steps"]["ladder"] = {"stage": "ladder", "status": "done", "folder": "10-ladder", "wall_seconds": 3.0}
    write_json(run / "run.json", manifest)
    write_json(run / "10-ladder" / "results.json", results())
    figures = summary(run)
    assert figures["ladder"]["policy_1"] == interval(1040.0, 30.0, 80)
    assert figures["ladder_oracle"]["policy_2"]["mean"] == 6.0
    page = build_report(run).read_text(encoding="utf-8")
    assert 'id="ladder"' in page and "1040\u00a0[1010,\u00a01070]" in page
