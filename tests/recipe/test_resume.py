"""A run can die at any instant and go on: the same weights as never having stopped."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from preceptor.run.files import hash_path
from preceptor.run.log import read_log

PREPARED = "from preceptor.cli.main import main; import sys; sys.exit(main(sys.argv[1:]))"

# Kills the process, without any chance to clean up, when the named function has been called so many times.
KILLED = """
import os, signal, sys
import {module} as module
calls, original = 0, module.{function}
def deadly(*arguments, **named):
    global calls
    calls += 1
    if calls == {when}:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*arguments, **named)
module.{function} = deadly
""" + PREPARED


def preceptor(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True,
                          env={**os.environ, "OMP_NUM_THREADS": "1"})


@pytest.fixture(scope="module")
def uninterrupted(tiny_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "whole"
    done = preceptor(PREPARED, "run", str(tiny_recipe), "--out", str(run))
    assert done.returncode == 0, done.stderr
    return run


@pytest.mark.parametrize("module, function, when", [
    ("preceptor.learn.fit", "_one_step", 3),          # before any checkpoint
    ("preceptor.learn.fit", "_one_step", 14),         # between checkpoints
    ("torch", "save", 2),                             # at the start of a checkpoint's write
    ("preceptor.learn.checkpoint", "hash_path", 3),   # a checkpoint written but not yet in its place
    ("preceptor.pretrain.stage", "save_model", 1),    # trained, nothing saved
])
def test_a_killed_run_resumes_to_the_same_bits(
        tiny_recipe: Path, uninterrupted: Path, tmp_path: Path, module: str, function: str, when: int) -> None:
    command = ("run", str(tiny_recipe), "--out", str(tmp_path / "run"))
    killed = preceptor(KILLED.format(module=module, function=function, when=when), *command)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    resumed = preceptor(PREPARED, *command)
    assert resumed.returncode == 0, resumed.stderr
    assert "tokenizer      done" in resumed.stderr and "base           goes on" in resumed.stderr
    model = "01-base/model/model.safetensors"
    assert hash_path(tmp_path / "run" / model) == hash_path(uninterrupted / model)
    assert not (tmp_path / "run/01-base/checkpoints").exists()
    whole, again = (read_log(run / "log.jsonl")["base"] for run in (uninterrupted, tmp_path / "run"))
    assert {at: line.get("loss") for at, line in whole.items()} == {at: line.get("loss") for at, line in again.items()}


def test_only_what_a_changed_option_touches_is_redone(tiny_recipe: Path, uninterrupted: Path) -> None:
    command = ("run", str(tiny_recipe), "--out", str(uninterrupted))
    before = hash_path(uninterrupted / "01-base/model")
    again = preceptor(PREPARED, *command)
    assert "base           done" in again.stderr and "base: " not in again.stderr
    changed = preceptor(PREPARED, *command, "--set", "base.steps=10")
    assert "tokenizer      done" in changed.stderr
    assert "base           redone: steps 30 -> 10" in changed.stderr
    assert hash_path(uninterrupted / "01-base/model") != before
    assert max(read_log(uninterrupted / "log.jsonl")["base"]) == 10
    back = preceptor(PREPARED, *command)
    assert back.returncode == 0 and hash_path(uninterrupted / "01-base/model") == before


def test_a_run_folder_in_use_is_refused(tiny_recipe: Path, tmp_path: Path) -> None:
    from preceptor.run.manifest import locked
    with locked(tmp_path):
        refused = preceptor(PREPARED, "run", str(tiny_recipe), "--out", str(tmp_path))
    assert refused.returncode == 2
    assert "in use by another process" in refused.stderr and "Traceback" not in refused.stderr
