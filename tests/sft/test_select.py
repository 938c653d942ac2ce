"""The select stage prefers the epoch with the higher reward, compares like with like, and goes on where it stopped."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from preceptor.data.jsonl import write_jsonl
from preceptor.data.records import Prompt
from preceptor.models.causal import load_causal, save_model
from preceptor.run.errors import UserError
from preceptor.run.files import hash_path, read_json
from preceptor.run.log import read_log
from preceptor.run.step import Step
from preceptor.sft import select
from preceptor.sft.options import SelectOptions
from tests.sft.conftest import WORDS

COUNTED = "b"


class StubReward:
    """Scores an answer by how often it holds a letter; `calls` are the batches of prompts and answers it saw."""

    calls: list[tuple[list[Prompt], list[Any]]] = []
    truncated = 0

    def __init__(self, folder: Path, rows: int, say: Callable[[str], None]) -> None:
        self.calls.clear()

    def score(self, prompts: list[Prompt], responses: list[Any]) -> list[float]:
        self.calls.append((prompts, responses))
        return [float(response.text.count(COUNTED)) for response in responses]


@pytest.fixture
def inputs(tmp_path: Path, family_folder: Callable[[str], Path], tokenizer: Any, demonstrations: Path,
           monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Three epochs that write the letter seldom, often, and never, by what is added to its embedding's direction."""
    monkeypatch.setattr(select, "open_reward", StubReward)
    letter = tokenizer.convert_tokens_to_ids(COUNTED)
    for epoch, push in ((1, 0.0), (2, 4.0), (10, -4.0)):
        model = load_causal(family_folder("llama"))
        with torch.no_grad():
            model.model.norm.weight.zero_()[0] = 1.0
            model.get_input_embeddings().weight[:, 0].abs_()
            model.get_input_embeddings().weight[letter, 0] += push
        save_model(model, tokenizer, tmp_path / "sft" / f"epoch-{epoch:02d}")
    prompts = tmp_path / "prompts.jsonl"
    write_jsonl(prompts, [Prompt(word, [{"role": "user", "content": word}]) for word in WORDS])
    (tmp_path / "reward").mkdir()
    return {"sft": tmp_path / "sft", "reward": tmp_path / "reward", "prompts": prompts, "validation": demonstrations}


def run(make_step: Callable[..., Step], inputs: dict[str, Path], **options: Any) -> Step:
    step = make_step("select", inputs, SelectOptions(max_tokens=6, **options))
    select.run(step)
    return step


def test_the_epoch_with_the_higher_reward_is_chosen(make_step: Callable[..., Step], inputs: dict[str, Path]) -> None:
    step = run(make_step, inputs)
    selection = read_json(step.folder / "selection.json")
    rewards = {row["epoch"]: row["reward"] for row in selection["epochs"]}
    assert list(rewards) == [1, 2, 10] and max(rewards, key=rewards.get) == selection["chosen"] == 2
    assert hash_path(step.folder / "model") == hash_path(inputs["sft"] / "epoch-02")
    for row, (_, responses) in zip(selection["epochs"], StubReward.calls, strict=True):
        counts = [response.text.count(COUNTED) for response in responses]
        assert row["reward"] == pytest.approx(sum(counts) / len(counts))
        assert row["low"] <= row["reward"] <= row["high"]
        assert row["answer_tokens"] <= 6 and 0 <= row["ended"] <= 1 and row["validation_loss"] > 0
    assert read_log(step.log.path)["select"][2]["reward"] == rewards[2]


def test_every_epoch_answers_the_same_prompts_with_the_same_draws(
        make_step: Callable[..., Step], inputs: dict[str, Path]) -> None:
    run(make_step, inputs, prompts=5)
    asked = [[prompt.id for prompt in prompts] for prompts, _ in StubReward.calls]
    seeds = [[response.sampling["seed"] for response in responses] for _, responses in StubReward.calls]
    assert len(set(asked[0])) == 5 and asked[0] == asked[1] == asked[2]
    assert len(set(seeds[0])) == 5 and seeds[0] == seeds[1] == seeds[2]


def test_a_resume_measures_only_what_was_not_measured(
        make_step: Callable[..., Step], inputs: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    folder = run(make_step, inputs).folder
    whole = (folder / "selection.json").read_text()
    (folder / "selection.json").unlink()
    (folder / "measured" / "epoch-10.json").unlink()
    run(make_step, inputs)
    assert len(StubReward.calls) == 1
    assert (folder / "selection.json").read_text() == whole


def test_of_equal_rewards_the_earliest_epoch_is_taken() -> None:
    rows = [{"epoch": 3, "reward": 0.5}, {"epoch": 1, "reward": 0.5}, {"epoch": 2, "reward": 0.1}]
    assert select.best_epoch(rows) == 1


def test_a_folder_without_epochs_is_refused(make_step: Callable[..., Step], inputs: dict[str, Path]) -> None:
    with pytest.raises(UserError, match="keeps no model of any epoch"):
        run(make_step, {**inputs, "sft": inputs["reward"]})
