"""A run of PPO-ptx that is killed with no chance to clean up ends with the same bits as one that was left alone."""

import signal
from pathlib import Path

import pytest

from preceptor.data.jsonl import write_jsonl
from preceptor.data.records import Document
from preceptor.models.causal import save_model
from preceptor.run.files import hash_path
from preceptor.run.log import read_log
from tests.processes import Kill, preceptor
from tests.rlhf.tiny import WORDS, tiny_policy, tiny_prompts, tiny_value, word_tokenizer


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    save_model(tiny_policy(), word_tokenizer(), folder / "select")
    save_model(tiny_value(), word_tokenizer(), folder / "reward")
    write_jsonl(folder / "prompts.jsonl", tiny_prompts())
    write_jsonl(folder / "corpus.jsonl", [Document(" ".join(WORDS[n % 3:]), id=f"d{n}") for n in range(30)])
    path = folder / "ppo.yaml"
    path.write_text(f"""
name: ppo
description: PPO-ptx on folders that are there.
steps:
  - name: ppo_ptx
    stage: rlhf
    needs: {{policy: {folder}/select, reward: {folder}/reward, prompts: {folder}/prompts.jsonl,
             corpus: {folder}/corpus.jsonl}}
    options: {{iterations: 3, episodes: 8, minibatches: 3, max_tokens: 6, learning_rate: 1e-2, ptx_coefficient: 0.5,
               ptx_rows: 2, ema: 0.9, checkpoint_every: 2}}
""")
    return path


@pytest.fixture(scope="module")
def uninterrupted(recipe: Path) -> Path:
    run = recipe.parent / "whole"
    done = preceptor(["run", str(recipe), "--out", str(run)], recipe.parent)
    assert done.code == 0, done.output
    return run


def metrics(run: Path) -> dict[int, dict]:
    return {at: {name: value for name, value in line.items() if name != "tokens_per_second"}
            for at, line in read_log(run / "log.jsonl")["ppo_ptx"].items()}


@pytest.mark.parametrize("kill", [
    Kill("preceptor.learn.fit", "take_gradients", 6),     # inside the second iteration, a checkpoint inside it behind
    Kill("torch", "save", 3),                        # while the checkpoint between two iterations is written
    Kill("preceptor.rlhf.stage", "save_model", 2),   # the weights are saved, their average is not
], ids=["in_an_iteration", "in_a_checkpoint", "in_the_end"])
def test_a_killed_run_resumes_to_the_same_bits(recipe: Path, uninterrupted: Path, tmp_path: Path, kill: Kill) -> None:
    command = ["run", str(recipe), "--out", str(tmp_path / "run")]
    assert preceptor(command, tmp_path, kill).code == -signal.SIGKILL
    resumed = preceptor(command, tmp_path)
    assert resumed.code == 0 and "goes on" in resumed.output, resumed.output
    for model in ("model", "ema"):
        path = f"00-ppo_ptx/{model}/model.safetensors"
        assert hash_path(tmp_path / "run" / path) == hash_path(uninterrupted / path)
    assert metrics(tmp_path / "run") == metrics(uninterrupted)
