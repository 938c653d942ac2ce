"""A run can die at any instant and go on: the same weights as never having stopped."""

import signal
from dataclasses import fields
from pathlib import Path

import pytest

from preceptor.learn.options import FitOptions
from preceptor.recipe.identity import WITHOUT_EFFECT, identity_parts
from preceptor.recipe.load import load_recipe
from preceptor.run.files import hash_path
from preceptor.run.log import read_log
from preceptor.run.manifest import locked
from tests.processes import Kill, preceptor


@pytest.fixture(scope="module")
def uninterrupted(tiny_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "whole"
    done = preceptor(["run", str(tiny_recipe), "--out", str(run)], run.parent)
    assert done.code == 0, done.output
    return run


@pytest.mark.parametrize("kill", [
    Kill("preceptor.learn.fit", "take_gradients", 3),          # before any checkpoint
    Kill("preceptor.learn.fit", "take_gradients", 14),         # between checkpoints
    Kill("torch", "save", 2),                             # at the start of a checkpoint's write
    Kill("preceptor.learn.checkpoint", "hash_path", 3),   # a checkpoint written but not yet in its place
    Kill("preceptor.pretrain.stage", "save_model", 1),    # trained, nothing saved
])
def test_a_killed_run_resumes_to_the_same_bits(
        tiny_recipe: Path, uninterrupted: Path, tmp_path: Path, kill: Kill) -> None:
    command = ["run", str(tiny_recipe), "--out", str(tmp_path / "run")]
    killed = preceptor(command, tmp_path, kill)
    assert killed.code == -signal.SIGKILL, killed.output
    resumed = preceptor(command, tmp_path)
    assert resumed.code == 0, resumed.output
    assert "tokenizer      done" in resumed.output and "base           goes on" in resumed.output
    model = "01-base/model/model.safetensors"
    assert hash_path(tmp_path / "run" / model) == hash_path(uninterrupted / model)
    assert not (tmp_path / "run/01-base/checkpoints").exists()
    whole, again = (read_log(run / "log.jsonl")["base"] for run in (uninterrupted, tmp_path / "run"))
    assert {at: line.get("loss") for at, line in whole.items()} == {at: line.get("loss") for at, line in again.items()}


def test_only_what_a_changed_option_touches_is_redone(tiny_recipe: Path, uninterrupted: Path, tmp_path: Path) -> None:
    command = ["run", str(tiny_recipe), "--out", str(uninterrupted)]
    before = hash_path(uninterrupted / "01-base/model")
    again = preceptor(command, tmp_path)
    assert "base           done" in again.output and "base: " not in again.output
    changed = preceptor([*command, "--set", "base.steps=10"], tmp_path)
    assert "tokenizer      done" in changed.output
    assert "base           redone: steps 30 -> 10" in changed.output
    assert hash_path(uninterrupted / "01-base/model") != before
    assert max(read_log(uninterrupted / "log.jsonl")["base"]) == 10
    back = preceptor(command, tmp_path)
    assert back.code == 0 and hash_path(uninterrupted / "01-base/model") == before


def test_a_run_folder_in_use_is_refused(tiny_recipe: Path, tmp_path: Path) -> None:
    with locked(tmp_path / "run"):
        refused = preceptor(["run", str(tiny_recipe), "--out", str(tmp_path / "run")], tmp_path)
    assert refused.code == 2
    assert "in use by another process" in refused.output and "Traceback" not in refused.output


def test_what_changes_nothing_but_rounding_or_record_redoes_nothing(tiny_recipe: Path) -> None:
    assert {field.name for field in fields(FitOptions)} >= WITHOUT_EFFECT
    sets = ["base.micro_batches=2", "base.keep_every=3", "base.track=tensorboard", "base.shard=blocks"]
    plain, changed = (identity_parts(load_recipe(str(tiny_recipe), sets=some)) for some in ([], sets))
    assert plain == changed
    assert plain != identity_parts(load_recipe(str(tiny_recipe), sets=["base.optimiser=lamb"]))
