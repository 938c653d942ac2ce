"""Soft prompts: a document alone is the document packed, and both are what `peft` itself makes of it."""

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from preceptor.data.batches import IGNORE, Example, collate
from preceptor.data.ranked import RankedPrompt, answer_tokens, collate_ranked
from preceptor.models.adapters import adapter_off, view_of
from preceptor.models.attention import shared_prompt_mask, shares_prefix
from preceptor.models.causal import context_length, hidden_states, load_causal, save_model
from preceptor.models.soft_prompt import add_soft_prompt, prompt_vectors
from preceptor.run.errors import UserError
from tests.models.test_trunk import network
from tests.rlhf.tiny import word_tokenizer

KINDS = ("prompt", "p_tuning")
PROMPT = 3


def prompted(model: nn.Module, kind: str) -> nn.Module:
    """The model behind a prompt that differs from any of its tokens."""
    torch.manual_seed(5)
    add_soft_prompt(model, kind, PROMPT)
    with torch.no_grad():
        for parameter in model.soft_prompt.parameters():
            parameter.add_(0.5 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3)))
    return model.eval()


def other(family: str) -> nn.Module:
    """A network whose attention goes by distance, or which reads its row from left to right whatever the mask."""
    from transformers import AutoModelForCausalLM, BloomConfig, MambaConfig, MistralConfig, MptConfig
    torch.manual_seed(0)
    ids = {"vocab_size": 11, "pad_token_id": 1, "bos_token_id": None, "eos_token_id": 0}
    config: Any = {
        "bloom": lambda: BloomConfig(hidden_size=16, n_layer=2, n_head=2, **ids),
        "mamba": lambda: MambaConfig(hidden_size=16, num_hidden_layers=2, state_size=4, **ids),
        "mpt": lambda: MptConfig(d_model=16, n_layers=2, n_heads=2, max_seq_len=32, **ids),
        "mistral": lambda: MistralConfig(hidden_size=16, intermediate_size=24, num_hidden_layers=2, sliding_window=4,
                                         num_attention_heads=2, num_key_value_heads=2, **ids)}[family]()
    return AutoModelForCausalLM.from_config(config).eval()


def documents(draw: random.Random, longest: int) -> list[list[int]]:
    return [[draw.randrange(2, 11) for _ in range(draw.randint(1, longest))] for _ in range(draw.randint(1, 4))]


def alone(model: nn.Module, tokens: list[int]) -> torch.Tensor:
    """The states of a document behind the prompt, by nothing but embeddings in a row."""
    vectors = prompt_vectors(model)
    embedded = torch.cat([vectors, model.get_input_embeddings()(torch.tensor(tokens))])[None]
    return model.base_model(inputs_embeds=embedded, use_cache=False).last_hidden_state[0, len(vectors):]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", ["llama", "gpt2", "mistral", "mpt", "bloom", "mamba"])
def test_a_document_alone_is_the_document_packed(family: str, kind: str) -> None:
    model = prompted(network(family) if family in ("llama", "gpt2") else other(family), kind)
    assert shares_prefix(model) == (family in ("llama", "gpt2"))
    draw = random.Random(1)
    with torch.no_grad():
        for _ in range(3):
            rows = [documents(draw, 4), documents(draw, 4)]
            batch = collate([[Example("", one, [IGNORE] * len(one)) for one in row] for row in rows], pad=1)
            states = hidden_states(model, batch)
            for row, texts in enumerate(rows):
                start = 0
                for text in texts:
                    found = states[row, start:start + len(text)]
                    torch.testing.assert_close(found, alone(model, text), atol=2e-5, rtol=1e-4)
                    start += len(text)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_one_prompt_with_several_answers_is_each_of_them_alone(family: str) -> None:
    model = prompted(network(family), "prompt")
    asked = RankedPrompt("", [3, 4, 5], [[6, 7, 8], [9], [2, 10]], [0, 1, 2])
    batch = collate_ranked([asked, RankedPrompt("", [3], [[4, 5]], [0])], 1)
    at = answer_tokens(batch)
    with torch.no_grad():
        states = hidden_states(model, batch, shared_prompt_mask)[at.rows, at.sources]
        expected = [alone(model, one.prompt + answer)[len(one.prompt) - 1:-1]
                    for one in (asked, RankedPrompt("", [3], [[4, 5]], [0])) for answer in one.answers]
    torch.testing.assert_close(states, torch.cat(expected), atol=2e-5, rtol=1e-4)
    mistral = prompted(other("mistral"), "prompt")
    with pytest.raises(UserError, match="behind a soft prompt"):
        hidden_states(mistral, batch, shared_prompt_mask)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_peft_itself_reads_the_saved_folder_as_we_do(family: str, kind: str, tmp_path: Path) -> None:
    from peft import PeftModel
    save_model(network(family), word_tokenizer(), tmp_path / "base")
    model = prompted(load_causal(tmp_path / "base"), kind)
    save_model(model, word_tokenizer(), tmp_path / "tuned")
    again = load_causal(tmp_path / "tuned")
    tokens = torch.tensor([[2, 3, 4, 5, 6]])
    with torch.no_grad():
        batch = collate([[Example("", tokens[0].tolist(), [IGNORE] * 5)]], pad=1)
        ours, loaded = (model.get_output_embeddings()(hidden_states(one, batch)) for one in (model, again))
        theirs = PeftModel.from_pretrained(load_causal(tmp_path / "base"), tmp_path / "tuned").eval()(
            input_ids=tokens, attention_mask=torch.ones_like(tokens)).logits
        assert torch.equal(prompt_vectors(again), prompt_vectors(model))
    torch.testing.assert_close(loaded, ours, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(ours, theirs[:, -5:], atol=2e-5, rtol=1e-4)
    assert {one.name for one in (tmp_path / "tuned").iterdir()} >= {"adapter_config.json", "adapter_model.safetensors"}
    assert not (tmp_path / "tuned" / "model.safetensors").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_off_it_is_the_network_before_bit_for_bit_and_only_it_learns(kind: str) -> None:
    batch = collate([[Example("", [2, 3, 4], [IGNORE] * 3), Example("", [5, 6], [IGNORE] * 2)]], pad=1)
    plain = hidden_states(network("llama"), batch)
    model = prompted(network("llama"), kind)
    assert not torch.allclose(hidden_states(model, batch), plain, atol=1e-2)
    with adapter_off(model) as reference:
        assert torch.equal(hidden_states(reference, batch), plain)
    assert all(name.startswith("soft_prompt.") for name, one in model.named_parameters() if one.requires_grad)
    hidden_states(model, batch).sum().backward()
    assert all(one.grad is not None for one in model.soft_prompt.parameters())


def test_it_takes_its_places_from_the_context() -> None:
    model = network("gpt2")
    before = context_length(model)
    add_soft_prompt(model, "prompt", PROMPT)
    assert context_length(model) == before - PROMPT
    longest = collate([[Example("", [2] * (before - PROMPT), [IGNORE] * (before - PROMPT))]], pad=1)
    assert hidden_states(model, longest).shape[1] == before - PROMPT
    with pytest.raises(UserError, match="0 vectors"):
        add_soft_prompt(network("gpt2"), "prompt", 0)


def test_two_prompts_share_one_base() -> None:
    base = network("llama")
    batch = collate([[Example("", [2, 3, 4], [IGNORE] * 3)]], pad=1)
    plain = hidden_states(base, batch)
    one, two = (prompted(view_of(base), kind) for kind in KINDS)
    assert torch.equal(hidden_states(base, batch), plain)
    assert not torch.allclose(hidden_states(one, batch), hidden_states(two, batch), atol=1e-2)
    own = {parameter.data_ptr() for parameter in base.parameters()}
    for view in (one, two):
        assert {parameter.data_ptr() for name, parameter in view.named_parameters()
                if not name.startswith("soft_prompt.")} == own
