"""Two processes on the CPU (gloo) learn what one learns: online, where both write answers, and from rankings."""

from pathlib import Path

import pytest
import torch

from preceptor.cli.main import main
from preceptor.data.jsonl import write_jsonl
from preceptor.data.records import Comparison, Response
from preceptor.learn.parallel import dealt, from_leader
from preceptor.models.causal import save_model
from preceptor.run import machine
from preceptor.run.log import read_log
from preceptor.run.processes import joined, rank
from tests.learn.test_parallel import in_two
from tests.processes import preceptor
from tests.rlhf.tiny import WORDS, tiny_policy, tiny_prompts, tiny_value, word_tokenizer

ONLINE = ("iterations: 3, episodes: 10, minibatches: 3, max_tokens: 6, learning_rate: 1e-2, log_every: 1, "
          "precision: fp32")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    save_model(tiny_policy(num_hidden_layers=2), word_tokenizer(), folder / "select")
    save_model(tiny_value(), word_tokenizer(), folder / "reward")
    write_jsonl(folder / "prompts.jsonl", tiny_prompts())
    write_jsonl(folder / "comparisons/comparisons.train.jsonl", [
        Comparison(f"c{number}", prompt, [Response(" ".join(WORDS[place:place + 2])) for place in range(3)],
                   [[number % 3], [(number + 1) % 3, (number + 2) % 3]], "l", "person")
        for number, prompt in enumerate(tiny_prompts(9))])
    return folder


def recipe(folder: Path, inputs: Path, stage: str, needs: str, options: str) -> list[str]:
    path = folder / "recipe.yaml"
    path.write_text(f"""
name: two
description: One step, from folders that are there.
steps:
  - name: policy
    stage: {stage}
    needs: {{{needs.format(inputs=inputs)}}}
    options: {{{options}}}
""")
    return ["run", str(path), "--out"]


def command(words: list[str]) -> None:
    machine.prepare(0)
    assert main(words) == 0


ANSWERED = "policy: {inputs}/select, reward: {inputs}/reward, prompts: {inputs}/prompts.jsonl"
RANKED = "policy: {inputs}/select, comparisons: {inputs}/comparisons"
FROM_RANKINGS = "rows: 4, epochs: 2, learning_rate: 1e-2, log_every: 1, precision: fp32"


@pytest.mark.parametrize(("stage", "needs", "options"), [
    ("rlhf", ANSWERED, f"{ONLINE}, inner_epochs: 2, kl_stop: 0.02, kl_target: 1.0"),
    ("rlhf", ANSWERED, f"{ONLINE}, algorithm: grpo, answers_per_prompt: 5, resampling_rounds: 1, frozen_layers: 1"),
    ("rlhf", RANKED, f"algorithm: dpo, {FROM_RANKINGS}"), ("rlhf", RANKED, f"algorithm: kto, {FROM_RANKINGS}"),
    ("rlhf", RANKED, f"algorithm: ilql, {FROM_RANKINGS}"),
    ("reward", RANKED.replace("policy", "model"), FROM_RANKINGS),
], ids=["ppo", "grpo", "dpo", "kto", "ilql", "reward"])
def test_two_processes_learn_what_one_learns(inputs: Path, tmp_path: Path, stage: str, needs: str,
                                             options: str) -> None:
    words = recipe(tmp_path, inputs, stage, needs, options)
    in_two(command, [*words, str(tmp_path / "two")])
    alone = preceptor([*words, str(tmp_path / "one")], tmp_path)
    assert alone.code == 0, alone.output
    one, two = (read_log(tmp_path / name / "log.jsonl")["policy"] for name in ("one", "two"))
    assert one.keys() == two.keys() and len(one) > 3
    for number, line in one.items():
        same = {name: value for name, value in line.items() if isinstance(value, float) and "per_second" not in name}
        assert {name: two[number][name] for name in same} == pytest.approx(same, abs=1e-5), number
    first, second = (torch.cat([value.flatten() for value in weights(tmp_path / name).values()])
                     for name in ("one", "two"))
    torch.testing.assert_close(second, first, atol=1e-5, rtol=0)


def weights(run: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file
    return load_file(run / "00-policy/model/model.safetensors")


def test_shards_are_refused(inputs: Path, tmp_path: Path) -> None:
    words = recipe(tmp_path, inputs, "rlhf", ANSWERED, f"{ONLINE}, shard: blocks")
    refused = preceptor([*words, str(tmp_path / "run")], tmp_path)
    assert refused.code == 2 and "cannot shard its networks" in refused.output


def share_out(folder: Path) -> None:
    with joined():
        every = dealt(range(5), lambda some: [(number, rank()) for number in some])
        assert every == [(0, 0), (1, 1), (2, 0), (3, 1), (4, 0)]
        assert dealt(range(1), lambda some: [10 * number for number in some]) == [0]
        assert from_leader(lambda: f"said by {rank()}") == "said by 0"


def test_work_is_dealt_out_and_known_to_all(tmp_path: Path) -> None:
    in_two(share_out, tmp_path)
    assert dealt(range(3), lambda some: list(some)) == [0, 1, 2] and from_leader(lambda: 7) == 7
