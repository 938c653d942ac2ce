"""The sft stage learns, keeps every epoch, resumes to the same bits, and refuses what it cannot use."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from preceptor.data.jsonl import read_jsonl, write_jsonl
from preceptor.data.records import Conversation, Document, Prompt
from preceptor.learn.language import total_nats
from preceptor.models.causal import load_causal
from preceptor.run.errors import UserError
from preceptor.run.files import hash_path
from preceptor.run.log import read_log
from preceptor.run.step import Step
from preceptor.sft import stage
from preceptor.sft.options import SftOptions
from preceptor.tokenizer.chat import encode_document, encode_prompt, load_tokenizer
from tests.learn.interrupted import interrupted

SHORT = {"epochs": 3, "rows": 1, "length": 32, "checkpoint_every": 4, "log_every": 1}


@pytest.fixture
def inputs(family_folder: Callable[[str], Path], demonstrations: Path) -> dict[str, Path]:
    return {"model": family_folder("llama"), "demonstrations": demonstrations, "validation": demonstrations}


def logged(step: Step) -> dict[int, dict[str, Any]]:
    return read_log(step.log.path)[step.name]


def test_a_model_learns_to_say_a_word_again(make_step: Callable[..., Step], inputs: dict[str, Path]) -> None:
    step = make_step("sft", inputs, SftOptions(epochs=36, rows=1, length=32, dropout=0.0, learning_rate=1.5e-2))
    stage.run(step)
    lines = [line for line in logged(step).values() if "epoch" in line]
    assert lines[0]["validation_loss"] > 1 and lines[-1]["validation_loss"] < 0.1
    assert lines[-1]["validation_accuracy"] == 1.0
    model, tokenizer = load_causal(step.folder / "model").eval(), load_tokenizer(step.folder / "model")
    for shown in read_jsonl(inputs["demonstrations"], Conversation):
        tokens = encode_prompt(tokenizer, Prompt("p", shown.messages[:1]))
        given = len(tokens)
        while len(tokens) < given + 10 and tokens[-1] != tokenizer.eos_token_id:
            tokens.append(model(torch.tensor([tokens])).logits[0, -1].argmax().item())
        assert tokenizer.decode(tokens[given:]) == f" {shown.messages[1]['content']}<|end|>"


def test_the_model_of_every_epoch_is_kept(make_step: Callable[..., Step], inputs: dict[str, Path]) -> None:
    step = make_step("sft", inputs, SftOptions(**SHORT))
    stage.run(step)
    folders = [step.folder / f"epoch-{number:02d}" for number in (1, 2, 3)]
    assert len({hash_path(folder / "model.safetensors") for folder in folders}) == 3
    assert hash_path(step.folder / "model") == hash_path(folders[-1])
    assert [line["epoch"] for line in logged(step).values() if "epoch" in line] == [1, 2, 3]
    assert {path.name for path in step.folder.iterdir()} == {"epoch-01", "epoch-02", "epoch-03", "model", "checkpoints"}


def test_replayed_text_is_not_forgotten(make_step: Callable[..., Step], inputs: dict[str, Path],
                                        tmp_path: Path) -> None:
    """Beside the demonstrations one document is learned by heart; as often without it, the model knows less of it."""
    corpus = tmp_path / "corpus.jsonl"
    write_jsonl(corpus, [Document("bado kemi lona giru dado femi", "d", "t", "en", "CC0")])
    nats = {}
    plain = SftOptions(epochs=12, rows=1, length=32, dropout=0.0, learning_rate=1e-2)
    for name, more in (("alone", {}), ("replayed", {"replay": corpus})):
        step = make_step(name, {**inputs, **more}, plain)
        stage.run(step)
        model, tokenizer = load_causal(step.folder / "model").eval(), load_tokenizer(step.folder / "model")
        example = encode_document(tokenizer, read_jsonl(corpus, Document)[0])
        nats[name], _ = total_nats(model, [example], rows=1, length=32, pad=tokenizer.pad_token_id)
        assert ("replay_loss" in logged(step)[1]) == bool(more)
    assert nats["replayed"] < nats["alone"] / 4
    with pytest.raises(UserError, match="replay"):
        stage.run(make_step("none", inputs, SftOptions(**SHORT, replay_share=0.5)))


@pytest.mark.parametrize("family", ["gpt2", "qwen2"])
def test_models_of_other_families_learn(make_step: Callable[..., Step], inputs: dict[str, Path], family: str,
                                        family_folder: Callable[[str], Path]) -> None:
    """From a folder written by `save_pretrained`, without a step around it."""
    step = make_step("sft", {**inputs, "model": family_folder(family)},
                     SftOptions(epochs=8, rows=1, length=32, dropout=0.1, learning_rate=1e-2))
    stage.run(step)
    losses = [line["validation_loss"] for line in logged(step).values() if "epoch" in line]
    assert losses[-1] < losses[0] / 2


@pytest.mark.parametrize("save", [1, 2, 3])
def test_a_run_that_died_while_it_saved_an_epoch_goes_on_to_the_same_bits(
        make_step: Callable[..., Step], inputs: dict[str, Path], monkeypatch: pytest.MonkeyPatch, save: int) -> None:
    whole, broken = (make_step(name, inputs, SftOptions(**SHORT)) for name in ("whole", "broken"))
    torch.manual_seed(7)
    stage.run(whole)
    saved, calls = stage.save_model, 0

    def dying(*arguments: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == save:
            raise KeyboardInterrupt
        saved(*arguments)

    torch.manual_seed(7)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(stage, "save_model", dying)
        stage.run(broken)
    assert not (broken.folder / "model").exists()
    torch.manual_seed(7)
    stage.run(broken)
    for folder in ("epoch-01", "epoch-02", "epoch-03", "model"):
        assert hash_path(whole.folder / folder) == hash_path(broken.folder / folder), folder
    for number, line in logged(whole).items():
        again = logged(broken)[number]
        assert {key: again.get(key) for key in line if key != "tokens_per_second"} \
            == {key: value for key, value in line.items() if key != "tokens_per_second"}


def test_rows_longer_than_the_context_are_refused(make_step: Callable[..., Step], inputs: dict[str, Path]) -> None:
    with pytest.raises(UserError, match="Rows of 65 tokens do not fit the model's context of 64"):
        stage.run(make_step("sft", inputs, SftOptions(length=65)))


def test_an_adapter_is_merged_into_every_epoch_and_resumes_to_the_same_bits(
        make_step: Callable[..., Step], inputs: dict[str, Path]) -> None:
    options = SftOptions(**SHORT, adapter="lora", lora_rank=2, learning_rate=3e-2)
    whole, stopped = make_step("whole", inputs, options), make_step("stopped", inputs, options)
    torch.manual_seed(1)
    stage.run(whole)
    with interrupted(6):
        torch.manual_seed(1)
        stage.run(stopped)
    torch.manual_seed(2)
    stage.run(stopped)
    assert hash_path(stopped.folder / "model") == hash_path(whole.folder / "model")
    plain = load_causal(inputs["model"])
    for folder in (whole.folder / "epoch-01", whole.folder / "model"):
        assert load_causal(folder).state_dict().keys() == plain.state_dict().keys()
    losses = [line["validation_loss"] for line in logged(whole).values() if "epoch" in line]
    assert losses[-1] < losses[0]
