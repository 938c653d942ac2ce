"""A tokenizer and tiny models of three families, in folders as `save_pretrained` writes them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from preceptor.data.jsonl import read_jsonl
from preceptor.data.records import Document
from preceptor.models.causal import build_llama, save_model
from preceptor.tokenizer.train import train_bpe


@pytest.fixture(scope="session")
def tokenizer(corpus: Path) -> Any:
    return train_bpe([document.text for document in read_jsonl(corpus, Document)], 300, 10_000)


@pytest.fixture(scope="session")
def causal_folder(tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a tiny causal model of a family: "llama", "gpt2" or "qwen2"; its context is 64."""
    root = tmp_path_factory.mktemp("causal")

    def folder(family: str) -> Path:
        if not (root / family).exists():
            torch.manual_seed(0)
            save_model(_build(family, tokenizer), tokenizer, root / family)
        return root / family

    return folder


def _build(family: str, tokenizer: Any) -> torch.nn.Module:
    from transformers import GPT2Config, GPT2LMHeadModel, Qwen2Config, Qwen2ForCausalLM
    end, pad = tokenizer.eos_token_id, tokenizer.pad_token_id
    if family == "llama":
        return build_llama(vocabulary=300, width=32, layers=2, heads=2, feed_forward=48, context=64, end=end, pad=pad)
    if family == "gpt2":
        return GPT2LMHeadModel(GPT2Config(vocab_size=300, n_embd=32, n_layer=2, n_head=2, n_positions=64,
                                          bos_token_id=end, eos_token_id=end, pad_token_id=pad))
    return Qwen2ForCausalLM(Qwen2Config(vocab_size=300, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
                                        num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=64,
                                        bos_token_id=None, eos_token_id=end, pad_token_id=pad))
