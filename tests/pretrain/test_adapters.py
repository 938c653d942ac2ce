"""Adapters in pretraining: a base that repeats any word learns from each kind to say one of them, and no weight moves.

The base has seen texts that say one of seven words again and again: the first is a toss-up, the others follow. Whoever
learns from texts of one word can gain the log2(7) bits of the first, and loses them where another word comes.
"""

import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch

from preceptor.data.jsonl import write_jsonl
from preceptor.data.records import Document
from preceptor.models.adapters import carries_adapter
from preceptor.models.causal import load_causal
from preceptor.pretrain import stage
from preceptor.pretrain.options import PretrainOptions
from preceptor.report.domain import domain
from preceptor.run.errors import UserError
from preceptor.run.files import hash_path, read_json
from preceptor.run.log import Log
from preceptor.run.step import Step
from tests.rlhf.tiny import WORDS, word_tokenizer

KINDS: dict[str, dict[str, Any]] = {
    "lora": {"adapter": "lora", "lora_rank": 2, "learning_rate": 2e-2},
    "prompt": {"adapter": "prompt", "prompt_tokens": 4, "context": 20, "learning_rate": 1e-1},
    "p_tuning": {"adapter": "p_tuning", "prompt_tokens": 4, "context": 20, "learning_rate": 2e-2},
    "eight_bit": {"adapter": "lora", "lora_rank": 2, "learning_rate": 2e-2, "base_bits": 8}}
SHAPE = {"width": 32, "layers": 1, "heads": 2, "feed_forward": 64, "initialisation": "xavier"}
TINY = {"context": 24, "rows": 4, "precision": "fp32", "log_every": 1, "evaluate_every": 1000, "checkpoint_every": 8,
        "warmup": 0.1, "weight_decay": 0.0}


def repeated(*words: str) -> list[Document]:
    return [Document(" ".join([word] * 4), id=word, source="wanted" if word == WORDS[0] else "rest") for word in words]


def run(folder: Path, inputs: dict[str, Path], **options: Any) -> Step:
    folder.mkdir(exist_ok=True)
    step = Step(folder.name, folder, inputs, PretrainOptions(**{**TINY, **options}), 3,
                Log(folder.parent / f"{folder.name}.jsonl", folder.name, 1))
    stage.run(step)
    return step


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("repeated")
    word_tokenizer().save_pretrained(folder / "tokenizer" / "model")
    write_jsonl(folder / "both.jsonl", repeated(*WORDS))
    write_jsonl(folder / "wanted.jsonl", repeated(WORDS[0]))
    torch.manual_seed(0)
    base = run(folder / "base", {"corpus": folder / "both.jsonl", "tokenizer": folder / "tokenizer"}, **SHAPE,
               steps=60, learning_rate=1e-2)
    return {"model": base.folder, "corpus": folder / "wanted.jsonl", "validation": folder / "both.jsonl"}


def frozen(model: torch.nn.Module) -> str:
    """A hash of everything that does not learn."""
    digest = hashlib.sha256()
    for name, value in sorted(model.named_parameters()):
        if not value.requires_grad:
            value = value.dequantize() if hasattr(value, "qdata") else value
            digest.update(name.encode() + value.detach().contiguous().numpy().tobytes())
    return digest.hexdigest()


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_learns_the_word_and_resumes_to_the_same_bits(
        kind: str, inputs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from preceptor.learn import fit as loop
    if kind == "eight_bit":
        pytest.importorskip("torchao")
    seen: list[tuple[torch.nn.Module, str]] = []
    fit, one_step = stage.fit, loop.take_gradients

    def watched(model: torch.nn.Module, *arguments: Any, **named: Any) -> Any:
        seen.append((model, frozen(model)))
        return fit(model, *arguments, **named)

    monkeypatch.setattr(stage, "fit", watched)
    torch.manual_seed(1)
    whole = run(tmp_path / "whole", inputs, steps=24, **KINDS[kind])
    model, before = seen[0]
    assert frozen(model) == before
    learned = read_json(whole.folder / "learned.json")
    assert learned["bits_per_byte"]["wanted"]["change"] < -0.4 and learned["bits_per_byte"]["rest"]["change"] > 0.1
    assert 0 < learned["learned_weights"] < learned["weights"] / 2

    def dying(*arguments: Any) -> Any:
        left.pop()
        return one_step(*arguments)

    left = [None] * 13
    with monkeypatch.context() as patch, pytest.raises(IndexError):
        patch.setattr(loop, "take_gradients", dying)
        torch.manual_seed(1)
        run(tmp_path / "stopped", inputs, steps=24, **KINDS[kind])
    torch.manual_seed(2)  # what is drawn anew for a fresh adapter is not what is gone on with
    stopped = run(tmp_path / "stopped", inputs, steps=24, **KINDS[kind])
    assert hash_path(stopped.folder / "model") == hash_path(whole.folder / "model")
    loaded = load_causal(whole.folder / "model")
    assert carries_adapter(loaded) == (kind in ("prompt", "p_tuning"))


def test_the_report_says_what_each_step_gained_and_forgot() -> None:
    steps = {"law": {"adapter": "lora", "learned_weights": 10, "weights": 1000, "bits_per_byte": {
        "": {"before": 2.0, "after": 1.9, "change": -0.05}, "contracts": {"before": 3.0, "after": 1.5, "change": -0.5},
        "news": {"before": 1.0, "after": 1.2, "change": 0.2}}},
        "kept": {"adapter": "none", "learned_weights": 5, "weights": 5, "bits_per_byte": {
            "": {"before": 2.0, "after": 1.0, "change": -0.5}, "news": {"before": 2.0, "after": 2.0, "change": 0.0}}}}
    section = domain(steps)
    english = " ".join(sentence("en") for sentence in section.panels[0].sentences)
    assert "learned contracts most, by 50" in english and "forgot news most, by 20" in english
    assert "No source was forgotten" in english
    assert [len(row) for row in section.tables[0].rows] == [6] * 5
    assert domain({}) is None
    assert all(sentence("zh") for sentence in section.panels[0].sentences)


@pytest.mark.parametrize("options, cause", [
    ({"adapter": "prompt", "lora_rank": 4}, "means nothing with adapter prompt"),
    ({"prompt_tokens": 4}, "means nothing with adapter none"), ({"base_bits": 8}, "means nothing with adapter none"),
    ({"adapter": "prompt", "context": 60}, "do not fit"), ({"adapter": "prompt", "context": 20}, "behind the soft"),
    ({"adapter": "lora", "base_bits": 8, "shard": "blocks"}, "cannot be sharded")])
def test_what_cannot_be_is_said_in_a_sentence(options: dict[str, Any], cause: str, inputs: dict[str, Path],
                                              tmp_path: Path) -> None:
    with pytest.raises(UserError, match=cause):
        run(tmp_path / "wrong", inputs, steps=1, **options)


def test_a_model_with_an_adapter_is_not_trained_on(inputs: dict[str, Path], tmp_path: Path) -> None:
    tuned = run(tmp_path / "tuned", inputs, steps=1, **KINDS["prompt"])
    with pytest.raises(UserError, match="carries an adapter already"):
        run(tmp_path / "again", {**inputs, "model": tuned.folder}, steps=1, context=20)
    with pytest.raises(UserError, match="fresh network"):
        run(tmp_path / "fresh", {"corpus": inputs["corpus"], "tokenizer": inputs["model"]}, steps=1, **SHAPE,
            adapter="lora")
