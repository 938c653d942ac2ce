"""Residual dropout: what the parts add is dropped in training, the stream never, and nothing stays behind."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from preceptor.models.causal import load_causal
from preceptor.models.dropout import residual_dropout, residual_parts
from preceptor.run.errors import UserError

FAMILIES = ["llama", "gpt2", "qwen2"]
TOKENS = torch.arange(5, 45)[None]


@pytest.fixture
def model(request: pytest.FixtureRequest, causal_folder: Callable[[str], Path]) -> nn.Module:
    return load_causal(causal_folder(request.param))


@pytest.mark.parametrize("model", FAMILIES, indirect=True)
def test_evaluation_is_unchanged_and_nothing_stays_behind(model: nn.Module) -> None:
    plain = model.eval()(TOKENS).logits
    names = set(model.state_dict())
    with residual_dropout(model, 0.5):
        assert torch.equal(model(TOKENS).logits, plain)
        assert set(model.state_dict()) == names
        assert not torch.allclose(model.train()(TOKENS).logits, plain)
    assert torch.equal(model(TOKENS).logits, plain), "the model still drops after the block"


@pytest.mark.parametrize("model", FAMILIES, indirect=True)
def test_each_part_drops_its_share_and_scales_the_rest(model: nn.Module) -> None:
    """Hooks before and behind those of the dropout see what a part gave and what was made of it."""
    given, kept = [], []
    parts = residual_parts(model)
    assert len(parts) == 4

    def first(output: object) -> torch.Tensor:
        return output[0] if isinstance(output, tuple) else output

    for part in parts:
        part.register_forward_hook(lambda part, _, output: given.append(first(output).detach().clone()))
    torch.manual_seed(0)
    with residual_dropout(model, 0.2):
        for part in parts:
            part.register_forward_hook(lambda part, _, output: kept.append(first(output).detach()))
        model.train()(TOKENS.expand(8, -1))
    assert len(given) == len(kept) == 4
    for before, after in zip(given, kept):
        dropped = after == 0
        # 8 x 40 x 32 = 10,240 draws: the standard deviation of the share is 0.004
        assert dropped.float().mean().item() == pytest.approx(0.2, abs=0.02)
        torch.testing.assert_close(after[~dropped], before[~dropped] / 0.8)


@pytest.mark.parametrize("model", FAMILIES, indirect=True)
def test_gradients_reach_every_weight(model: nn.Module) -> None:
    with residual_dropout(model, 0.3):
        model.train()(TOKENS).logits.square().sum().backward()
    # An attention's key bias shifts all scores of a query alike: its gradient is 0 in exact arithmetic.
    assert all(parameter.grad is not None and (parameter.grad.any() or "k_proj.bias" in name)
               for name, parameter in model.named_parameters())


@pytest.mark.parametrize("family", ["bloom", "opt"])
def test_a_family_whose_parts_are_not_known_is_refused(family: str) -> None:
    """BLOOM's parts add the stream themselves: dropping their output would drop the stream."""
    from transformers import BloomConfig, BloomForCausalLM, OPTConfig, OPTForCausalLM
    model = BloomForCausalLM(BloomConfig(vocab_size=50, hidden_size=16, n_layer=1, n_head=2)) if family == "bloom" \
        else OPTForCausalLM(OPTConfig(vocab_size=50, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
                                      ffn_dim=16, word_embed_proj_dim=16))
    with pytest.raises(UserError, match=f"'{family}'"), residual_dropout(model, 0.2):
        pass
    with residual_dropout(model, 0.0):
        model.train()(TOKENS)


@pytest.mark.parametrize("model", ["llama"], indirect=True)
@pytest.mark.parametrize("share", [1.0, -0.1])
def test_a_share_out_of_range_is_refused(model: nn.Module, share: float) -> None:
    with pytest.raises(UserError, match="not a share"), residual_dropout(model, share):
        pass
