"""Every command of the README runs: the lines are read from it, and run small."""

import io
import json
import re
import shlex
import sys
from pathlib import Path

import pytest

from preceptor.cli.main import main
from preceptor.run import machine

ROOT = Path(__file__).parent.parent
TINY = ["village.people=30", "village.documents=300", "village.demonstrations=60", "village.valid_demonstrations=10",
        "village.train_prompts=24", "village.valid_prompts=8", "village.test_prompts=12", "village.users=12",
        "tokenizer.vocabulary=400", "base.width=16", "base.layers=1", "base.heads=2", "base.feed_forward=32",
        "base.steps=4", "sft.epochs=1", "comparisons.prompts=8", "comparisons.heldout_prompts=4",
        "comparisons.k_max=4", "comparisons.max_tokens=8", "select.prompts=4", "select.max_tokens=8",
        *(f"{step}.{option}" for step in ("ppo", "ppo_ptx") for option in
          ("iterations=1", "episodes=4", "minibatches=2", "max_tokens=8")),
        "ppo_ptx.ptx_rows=2", "evaluate.prompts=6", "evaluate.max_tokens=8"]


def commands(name: str) -> list[list[str]]:
    """The arguments of each `preceptor` command in a README's code blocks, continued lines joined."""
    text = (ROOT / name).read_text(encoding="utf-8").replace("\\\n", " ")
    return [shlex.split(line, comments=True)[1:] for line in re.findall(r"^    (\.venv/bin/preceptor .*)$", text, re.M)]


def test_both_readmes_give_the_same_commands() -> None:
    assert commands("README.md") == commands("README.zh-CN.md")
    assert len(commands("README.md")) == 10


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where a tiny demo has run, made with the command of `make demo`."""
    folder = tmp_path_factory.mktemp("readme")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "\t$(PRECEPTOR) run demo --out runs/demo\n" in makefile
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(machine, "cores", lambda: 1)
        assert main(["run", "demo", "--out", "runs/demo", *tiny()]) == 0
    return folder


def tiny() -> list[str]:
    return [word for change in TINY for word in ("--set", change)]


def test_the_demo_leaves_a_report_and_a_summary(workplace: Path) -> None:
    summary = json.loads((workplace / "runs/demo/summary.json").read_text(encoding="utf-8"))
    assert {"wall_seconds", "win_rate", "perplexity", "reward_accuracy", "seed", "machine"} <= set(summary)
    assert "<html" in (workplace / "runs/demo/report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("arguments", [line for line in commands("README.md") if line[:2] != ["run", "own"]
                                       and line[:2] != ["run", "own_from_model"]], ids=" ".join)
def test_a_command_of_the_readme_runs(workplace: Path, arguments: list[str], monkeypatch: pytest.MonkeyPatch,
                                      capsys: pytest.CaptureFixture[str]) -> None:
    """The recipes `own` and `own_from_model` run whole in test_own.py."""
    monkeypatch.chdir(workplace)
    monkeypatch.setattr(machine, "cores", lambda: 1)
    monkeypatch.setattr(sys, "stdin", io.StringIO("Who is Ada?\n"))
    changed_only = "kl_coefficient" in " ".join(arguments)
    if changed_only:  # the run that is there already, with one option changed: only what depends on it is redone
        arguments = ["runs/demo" if word == "runs/mine" else word for word in arguments]
    assert main([*arguments, *(tiny() if arguments[0] == "run" else [])]) == 0
    said = capsys.readouterr()
    assert said.out or said.err
    if changed_only:
        assert re.search(r"^ppo_ptx +redone: kl_coefficient 0.1 -> 0.2$", said.err, re.M)
        assert re.search(r"^reward +done$", said.err, re.M)
