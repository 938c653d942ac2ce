"""A vocabulary, tiny models of three families, and demonstrations that repeat a word."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from preceptor.data.jsonl import write_jsonl
from preceptor.data.records import Conversation
from preceptor.models.causal import build_llama, save_model
from preceptor.run.log import Log
from preceptor.run.step import Step
from preceptor.tokenizer.train import train_bpe

WORDS = [f"{a}{b}" for a in "bdfgkl" for b in ("ado", "emi", "iru", "ona")]


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    """Models this small lose time to a second thread, much of it where other processes want the cores too."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    return train_bpe([" ".join(WORDS), "again: "] * 20, 320, 10_000)


@pytest.fixture(scope="session")
def family_folder(tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a tiny model of a family: "llama", "gpt2" or "qwen2"; its context is 64."""
    root = tmp_path_factory.mktemp("families")

    def folder(family: str) -> Path:
        if not (root / family).exists():
            torch.manual_seed(0)
            model = _build(family, tokenizer)
            for parameter in model.parameters():
                if parameter.ndim == 2:  # 0.02 suits a wide network; at width 32 it makes the first steps tiny
                    parameter.data.mul_(4)
            save_model(model, tokenizer, root / family)
        return root / family

    return folder


def _build(family: str, tokenizer: Any) -> torch.nn.Module:
    from transformers import GPT2Config, GPT2LMHeadModel, Qwen2Config, Qwen2ForCausalLM
    ids = {"vocab_size": len(tokenizer), "eos_token_id": tokenizer.eos_token_id, "bos_token_id": None,
           "pad_token_id": tokenizer.pad_token_id}
    match family:
        case "llama":
            return build_llama(vocabulary=len(tokenizer), width=32, layers=2, heads=2, feed_forward=64, context=64,
                               end=tokenizer.eos_token_id, pad=tokenizer.pad_token_id)
        case "gpt2":
            return GPT2LMHeadModel(GPT2Config(n_embd=32, n_layer=2, n_head=2, n_positions=64, **ids))
        case _:
            return Qwen2ForCausalLM(Qwen2Config(
                hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
                num_key_value_heads=1, max_position_embeddings=64, **ids))


def conversation(*texts: str, id: str = "c", system: str | None = None) -> Conversation:
    """Turns of a user and the assistant, alternating, after an optional system message."""
    messages = [{"role": "system", "content": system}] if system is not None else []
    messages += [{"role": ("user", "assistant")[number % 2], "content": text} for number, text in enumerate(texts)]
    return Conversation(id, messages)


@pytest.fixture(scope="session")
def demonstrations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A word to be said again, for each of 12 words."""
    path = tmp_path_factory.mktemp("demonstrations") / "demonstrations.jsonl"
    words = random.Random(0).sample(WORDS, len(WORDS))
    write_jsonl(path, [conversation(f"again: {word}", word, id=word) for word in words[:12]])
    return path


@pytest.fixture
def make_step(tmp_path: Path) -> Callable[..., Step]:
    """A step with its own folder and log below the test's folder."""

    def make(name: str, inputs: dict[str, Path], options: Any) -> Step:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        torch.manual_seed(7)
        return Step(name, folder, inputs, options, 7, Log(tmp_path / f"{name}.jsonl", name, 1))

    return make
