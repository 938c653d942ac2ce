"""A trunk cut in two computes what it computed whole, in values and in gradients, for every network that shares it."""

from typing import Any

import pytest
import torch
from torch import nn

from preceptor.data.batches import Example, collate
from preceptor.models.causal import hidden_states
from preceptor.models.scalar import token_values
from preceptor.models.trunk import blocks, freeze_lower, has_lower_part_of, lower_states, share_trunk
from preceptor.run.errors import UserError


def network(family: str, scalar: bool = False, seed: int = 0, tied: bool = True, **changes: Any) -> nn.Module:
    from transformers import (
        GPT2Config,
        GPT2ForSequenceClassification,
        GPT2LMHeadModel,
        LlamaConfig,
        LlamaForCausalLM,
        LlamaForSequenceClassification,
    )
    torch.manual_seed(seed)
    common = {"vocab_size": 11, "num_labels": 1, "pad_token_id": 1, "bos_token_id": None, "eos_token_id": 0,
              "attn_implementation": "sdpa", "initializer_range": 0.3, "tie_word_embeddings": tied}
    if family == "gpt2":
        config = GPT2Config(n_embd=16, n_layer=3, n_head=2, n_positions=16, **common, **changes)
        return (GPT2ForSequenceClassification if scalar else GPT2LMHeadModel)(config).eval()
    config = LlamaConfig(hidden_size=16, intermediate_size=24, num_hidden_layers=3, num_attention_heads=2,
                         max_position_embeddings=16, **common, **changes)
    return (LlamaForSequenceClassification if scalar else LlamaForCausalLM)(config).eval()


def batch():
    """Two packed documents and a shorter row, so that positions restart and there is padding."""
    rows = [[Example("a", [3, 4, 5, 6], [-100] * 4), Example("b", [7, 8], [-100] * 2)],
            [Example("c", [2, 9, 10], [-100] * 3)]]
    return collate(rows, pad=1)


def with_states(one, model):
    one.tensors["lower_states"] = lower_states(model, one)
    return one


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize("layers", [1, 2])
def test_the_upper_part_gives_the_states_and_gradients_of_the_whole(family: str, layers: int) -> None:
    whole, cut = network(family), network(family)
    freeze_lower(cut, layers)
    plain, shared = batch(), with_states(batch(), cut)
    there = plain["segments"] > 0
    expected, found = hidden_states(whole, plain)[there], hidden_states(cut, shared)[there]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    weight = torch.randn(found.shape, generator=torch.Generator().manual_seed(1))
    (expected * weight).sum().backward()
    (found * weight).sum().backward()
    learned = {name for name, one in cut.named_parameters() if one.requires_grad}
    assert not any(f".{n}." in name for name in learned for n in range(layers))
    for (name, one), other in zip(cut.named_parameters(), whole.parameters(), strict=True):
        if name in learned and other.grad is not None:
            torch.testing.assert_close(one.grad, other.grad, atol=1e-5, rtol=1e-5)
        elif name not in learned:
            assert one.grad is None


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_a_value_network_and_a_reference_without_lower_blocks_give_what_they_gave(family: str) -> None:
    policy, reference, value = network(family), network(family), network(family, scalar=True, seed=1)
    value.base_model.load_state_dict(policy.base_model.state_dict())
    plain = batch()
    there, values, states = plain["segments"] > 0, token_values(value, plain), hidden_states(reference, plain)
    freeze_lower(policy, 2)
    kept = sum(one.numel() for one in reference.parameters())
    for other in (reference, value):
        assert has_lower_part_of(other, policy)
        share_trunk(other, policy)
        assert len(blocks(other)) == 1
    shared = with_states(batch(), policy)
    torch.testing.assert_close(token_values(value, shared)[there], values[there], atol=1e-5, rtol=0)
    torch.testing.assert_close(hidden_states(reference, shared)[there], states[there], atol=1e-5, rtol=0)
    assert reference.get_output_embeddings().weight is policy.get_input_embeddings().weight
    assert sum(one.numel() for one in reference.parameters()) < 0.7 * kept
    with pytest.raises(TypeError):  # and never half a network by mistake
        hidden_states(reference, plain)


def test_the_policy_still_reads_tokens_as_a_whole() -> None:
    policy = network("llama")
    expected = hidden_states(policy, batch())
    freeze_lower(policy, 1)
    assert torch.equal(hidden_states(policy, batch()), expected)


def test_an_untied_head_stays_its_own_and_learns() -> None:
    policy, reference = network("llama", tied=False), network("llama", tied=False)
    freeze_lower(policy, 1)
    share_trunk(reference, policy)
    assert policy.lm_head.weight.requires_grad and reference.lm_head.weight is not policy.lm_head.weight
    assert torch.equal(reference.lm_head.weight, policy.lm_head.weight)


def test_one_other_weight_below_the_cut_is_noticed() -> None:
    policy, value = network("llama"), network("llama", scalar=True)
    value.base_model.load_state_dict(policy.base_model.state_dict())
    freeze_lower(policy, 2)
    with torch.no_grad():
        value.base_model.layers[2].mlp.up_proj.weight[0, 0] += 1
        assert has_lower_part_of(value, policy)
        value.base_model.layers[1].mlp.up_proj.weight[0, 0] += 1
    assert not has_lower_part_of(value, policy)


@pytest.mark.parametrize("layers", [-1, 3, 7])
def test_something_must_be_left_to_learn(layers: int) -> None:
    with pytest.raises(UserError, match=f"{layers} of 3 blocks"):
        freeze_lower(network("llama"), layers)


def test_a_family_that_does_more_between_its_parts_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model = network("llama")
    original = type(model.base_model).forward

    def scaled(self, input_ids=None, inputs_embeds=None, **named):  # as Gemma scales what it embeds
        embedded = self.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds
        return original(self, inputs_embeds=4 * embedded, **named)

    monkeypatch.setattr(type(model.base_model), "forward", scaled)
    with pytest.raises(UserError, match="cannot be cut"):
        freeze_lower(model, 1)
