"""The search over a recipe: it finds a known best, goes on where it stopped, cuts hopeless trials, and is strict."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from preceptor.cli import search as searches
from preceptor.cli.search import Search, parsed, run_trial, search
from preceptor.run.errors import UserError
from preceptor.run.files import read_json
from preceptor.run.log import Log
from preceptor.run.manifest import write_manifest

pytest.importorskip("optuna", reason="the extra 'tune' is not installed")
OVER = {"base.learning_rate": (1e-4, 1.0), "base.optimiser": ["adamw", "sgd"]}


def plan(recipe: Path, out: Path) -> Search:
    return Search(str(recipe), ["base.steps=4"], OVER, "base", "loss", False, out)


def distance(values: dict) -> float:
    """Smallest at AdamW with a rate of 0.01."""
    import math
    return abs(math.log10(values["base.learning_rate"]) + 2) + (values["base.optimiser"] == "sgd")


def test_ranges_and_choices_are_read_strictly() -> None:
    assert parsed(["base.learning_rate=1e-4..1.0", "base.optimiser=adamw,sgd"]) == OVER
    assert parsed(["base.layers=1..4", "base.tied=true,false"]) == {"base.layers": (1, 4), "base.tied": [True, False]}
    for text in ("base.learning_rate=1e-4", "base.x=3..1", "learning_rate=1..2", "base.x=a..b", "base.x="):
        with pytest.raises(UserError, match="no range and no choices"):
            parsed([text])
    with pytest.raises(UserError, match="nothing to search"):
        parsed([])


def test_it_finds_a_known_best_and_goes_on_where_it_was_stopped(
        tiny_recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    tried: list[dict] = []

    def run(trial, searched, values):
        tried.append(values)
        if len(tried) == 6:
            raise KeyboardInterrupt
        return distance(values)

    monkeypatch.setattr(searches, "run_trial", run)
    with pytest.raises(KeyboardInterrupt):
        search(plan(tiny_recipe, tmp_path), 9)
    search(plan(tiny_recipe, tmp_path), 9)
    assert tried[6] == tried[5], "the trial under way is taken up again"
    rows = read_json(tmp_path / "search.json")["trials"]
    best = min((row for row in rows if row["value"] is not None), key=lambda row: row["value"])
    assert best["options"]["base.optimiser"] == "adamw" and best["value"] < 0.5
    assert "--set base.optimiser=adamw" in capsys.readouterr().out
    count = len(tried)
    search(plan(tiny_recipe, tmp_path), 9)
    assert len(tried) == count, "what is done is not done again"


class Process:
    """A run that is one measurement further each time it is looked at."""

    def __init__(self, words: list[str], **streams) -> None:
        self.folder = Path(words[words.index("--out") + 1])
        self.folder.mkdir(parents=True, exist_ok=True)
        self.at, self.returncode, self.ended = 0, None, False

    def poll(self) -> int | None:
        if self.ended:
            return 0
        if self.at == 4:
            return None
        self.at += 1
        Log(self.folder / "log.jsonl", "base", 1).write(self.at, loss=10.0 / self.at)
        write_manifest(self.folder, {"steps": {"base": {"status": "done" if self.at == 4 else "running"}}})
        return None

    def terminate(self) -> None:
        self.ended = True

    def wait(self) -> None:
        pass


@pytest.mark.parametrize("hopeless", [False, True])
def test_a_trial_ends_with_its_last_measurement_or_is_cut(
        tiny_recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hopeless: bool) -> None:
    import optuna
    monkeypatch.setattr(searches.subprocess, "Popen", Process)
    monkeypatch.setattr(searches, "LOOK_EVERY", 0)
    reported: dict[int, float] = {}
    trial = SimpleNamespace(report=lambda value, at: reported.update({at: value}), should_prune=lambda: hopeless)
    values = {"base.learning_rate": 0.1, "base.optimiser": "adamw"}
    if hopeless:
        with pytest.raises(optuna.TrialPruned):
            run_trial(trial, plan(tiny_recipe, tmp_path), values)
        assert reported == {1: 10.0}
    else:
        assert run_trial(trial, plan(tiny_recipe, tmp_path), values) == 2.5
        assert reported[3] == 10.0 / 3


def test_a_mistyped_option_costs_no_trial(tiny_recipe: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no option 'learning_rat'"):
        search(Search(str(tiny_recipe), [], {"base.learning_rat": (1, 2)}, "base", "loss", False, tmp_path), 2)
    with pytest.raises(UserError, match="names no step"):
        search(Search(str(tiny_recipe), [], {"base.steps": (1, 2)}, "bass", "loss", False, tmp_path), 2)
