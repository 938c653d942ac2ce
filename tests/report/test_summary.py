"""`summary.json` has exactly the shape that the design promises."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from preceptor.report.summary import summary, write_summary
from preceptor.run.errors import UserError

GOLDEN = Path(__file__).parent / "golden" / "summary.json"


def test_the_summary_of_a_whole_run_is_the_golden_one(make_run: Callable[..., Path]) -> None:
    written = write_summary(make_run()).read_text(encoding="utf-8")
    assert json.loads(written) == json.loads(GOLDEN.read_text(encoding="utf-8"))


@pytest.mark.parametrize("steps", [0, 1, 3, 6, 9])
def test_what_was_not_measured_is_absent_and_never_null(make_run: Callable[..., Path], steps: int) -> None:
    figures = summary(make_run(steps=steps))
    assert ("reward_accuracy" in figures) == (steps > 5) and "win_rate" not in figures
    assert "null" not in json.dumps(figures) and "{}" not in json.dumps(figures)


def test_without_a_village_there_is_no_win_rate_by_an_oracle(make_run: Callable[..., Path]) -> None:
    figures = summary(make_run(village=False))
    assert not {"win_rate", "correct", "false_assertions"} & figures.keys()
    assert figures["perplexity"]["ppo_ptx"] == 4.71 and figures["kl"] == {"ppo": 9.1, "ppo_ptx": 7.4}


def test_a_folder_without_a_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not the folder of a run"):
        summary(tmp_path)
