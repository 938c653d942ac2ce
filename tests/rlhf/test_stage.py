"""The stage on folders: what it reads and writes, what it refuses, what it says."""

from pathlib import Path
from typing import Any

import pytest
import torch

from preceptor.data.jsonl import write_jsonl
from preceptor.data.records import Document, Prompt
from preceptor.models.causal import load_causal, save_model
from preceptor.models.scalar import load_scalar, offset
from preceptor.rlhf.options import A2cOptions, GrpoOptions, NlpoOptions, OnlineOptions, PpoOptions, RlooOptions
from preceptor.rlhf.stage import run
from preceptor.run.errors import UserError
from preceptor.run.log import Log, read_log
from preceptor.run.step import Step
from tests.rlhf.tiny import WORDS, tiny_options, tiny_policy, tiny_prompts, tiny_value, weights, word_tokenizer


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("inputs")
    value = tiny_value()
    value.config.preceptor_offset = 0.5
    save_model(tiny_policy(), word_tokenizer(), folder / "select" / "model")
    save_model(value, word_tokenizer(), folder / "reward" / "model")
    write_jsonl(folder / "prompts.jsonl", tiny_prompts())
    write_jsonl(folder / "corpus.jsonl", [Document(" ".join(WORDS[n % 3:]), id=f"d{n}") for n in range(30)])
    return {"policy": folder / "select", "reward": folder / "reward", "prompts": folder / "prompts.jsonl",
            "corpus": folder / "corpus.jsonl"}


def step(folder: Path, inputs: dict[str, Path], kind: type[OnlineOptions] = PpoOptions, **options: Any) -> Step:
    folder.mkdir(exist_ok=True)
    return Step("ppo", folder, inputs, tiny_options(kind, **options), seed=3, log=Log(folder / "log.jsonl", "ppo", 1))


def without(inputs: dict[str, Path], name: str) -> dict[str, Path]:
    return {key: path for key, path in inputs.items() if key != name}


def test_ppo_ptx_writes_the_weights_and_their_average(tmp_path: Path, inputs: dict[str, Path]) -> None:
    options = {"ptx_coefficient": 0.5, "ptx_rows": 2, "ema": 0.9, "log_every": 1}
    run(step(tmp_path / "a", inputs, **options))
    run(step(tmp_path / "b", inputs, **options))
    before, raw, average = (weights(load_causal(folder)) for folder in (
        inputs["policy"] / "model", tmp_path / "a" / "model", tmp_path / "a" / "ema"))
    assert torch.equal(raw, weights(load_causal(tmp_path / "b" / "model")))  # a function of the inputs and the seed
    moved = (raw - before).norm(), (average - before).norm()
    assert 0 < moved[1] < 0.5 * moved[0]  # four steps at 0.9 have come a third of the way
    log = read_log(tmp_path / "a" / "log.jsonl")["ppo"]
    assert log[0]["plan"]["optimiser_steps"] == 4 == max(log) and log[0]["plan"]["episodes"] == 16
    for name in ("loss", "policy_loss", "value_loss", "clip_fraction", "value_clip_fraction", "approximate_kl",
                 "ptx_loss", "gradient_norm"):
        assert all(name in log[number] for number in range(1, 5)), name
    for name in ("iteration", "score", "reward", "kl_k1", "kl_k3", "entropy", "answer_length", "ended",
                 "explained_variance"):
        assert [number for number in log if name in log[number]] == [1, 3], name


def test_what_the_loop_is_handed(tmp_path: Path, inputs: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """The value network begins as the reward model with its offset, at its own rate; ptx has its weight."""
    seen: dict[str, Any] = {}

    def spy(model, batches, loss, options, **named):
        seen.update(named, model=model, batches=batches)

    monkeypatch.setattr("preceptor.rlhf.stage.fit", spy)
    run(step(tmp_path, inputs, ptx_coefficient=0.7, value_learning_rate=0.3))
    reward = load_scalar(inputs["reward"] / "model")
    assert torch.equal(weights(seen["model"].value), weights(reward))
    assert offset(seen["model"].value) == 0.5
    assert seen["rates"] == {"value": 0.3}
    (term,) = seen["extra"]
    assert (term.name, term.weight, term.batches.total) == ("ptx", 0.7, seen["batches"].total)
    reference = seen["model"].reference
    assert not any(parameter.requires_grad for parameter in reference.parameters())
    pairs = zip(reference.parameters(), seen["model"].policy.parameters(), strict=True)
    assert all(torch.equal(ours, theirs) and ours.data_ptr() != theirs.data_ptr() for ours, theirs in pairs)


def test_plain_ppo_needs_no_corpus_and_can_do_without_an_average(tmp_path: Path, inputs: dict[str, Path]) -> None:
    run(step(tmp_path, without(inputs, "corpus"), iterations=1))
    assert (tmp_path / "model").is_dir() and not (tmp_path / "ema").exists()


@pytest.mark.parametrize(("options", "cause", "cure"), [
    ({"temperature": 0.0}, "temperature 0", "above 0"),
    ({"minibatches": 9}, "8 episodes into 9", "between 1 and 8"),
    ({"minibatches": 0}, "into 0", "between 1 and 8"),
    ({"ptx_coefficient": 1.0}, "no corpus", "ptx_coefficient=0"),
    ({"max_tokens": 32}, "no room", "max_tokens"),
    ({"value_warmup": 2}, "for 2 iterations of 2", "below 2"),
    ({"overlong_tokens": 7}, "last 7 of 6", "between 0"),
    ({"kind": GrpoOptions, "answers_per_prompt": 3}, "8 episodes, 3 to a prompt", "divisor"),
    ({"kind": RlooOptions, "answers_per_prompt": 1}, "1 to a prompt", "at least 2"),
    ({"kind": NlpoOptions, "mask_every": 0}, "mask_every 0", "1 or more"),
])
def test_what_cannot_work_is_refused(tmp_path: Path, inputs: dict[str, Path], options: dict[str, Any], cause: str,
                                     cure: str) -> None:
    with pytest.raises(UserError) as error:
        run(step(tmp_path, without(inputs, "corpus"), **options))
    assert cause in error.value.cause and cure in error.value.cure


def test_what_is_not_used_or_cut_is_said(tmp_path: Path, inputs: dict[str, Path],
                                         capsys: pytest.CaptureFixture[str]) -> None:
    long = Prompt(id="long", messages=[{"role": "user", "content": "red " * 40}])
    write_jsonl(tmp_path / "prompts.jsonl", [*tiny_prompts(), long])
    run(step(tmp_path, {**inputs, "prompts": tmp_path / "prompts.jsonl"}, iterations=1))
    said = capsys.readouterr().err
    assert "the corpus is not read" in said
    assert "1 of 7 prompts are longer than 26 tokens and lose their beginning" in said


def test_a_reward_model_with_another_vocabulary_scores_but_is_no_value_network(
        tmp_path: Path, inputs: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    other = word_tokenizer()
    other.add_tokens(["violet"])
    save_model(tiny_value(vocab_size=len(other)), other, tmp_path / "reward" / "model")
    run(step(tmp_path / "out", {**without(inputs, "corpus"), "reward": tmp_path / "reward"}, iterations=1))
    assert "another vocabulary" in capsys.readouterr().err


@pytest.mark.parametrize("kind", [A2cOptions, GrpoOptions, NlpoOptions, RlooOptions])
def test_every_algorithm_runs_as_a_stage(tmp_path: Path, inputs: dict[str, Path], kind: type[OnlineOptions]) -> None:
    run(step(tmp_path, inputs, kind, ptx_coefficient=0.1, ptx_rows=1, kl_loss="k2", entropy_coefficient=0.01))
    assert not torch.equal(weights(load_causal(tmp_path / "model")), weights(load_causal(inputs["policy"] / "model")))
    log = read_log(tmp_path / "log.jsonl")["ppo"]
    assert max(log) == log[0]["plan"]["optimiser_steps"] and "ptx_loss" in log[1] and "kl_loss" in log[1]
    assert ("value_loss" in log[1]) == ("value_parameters" in log[0]["plan"]) == hasattr(kind, "discount")
    assert ("flat_groups" in log[1]) == (kind in (GrpoOptions, RlooOptions))
