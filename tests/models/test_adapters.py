"""LoRA: off it is the model that was loaded, on it learns, and what is saved is an ordinary model."""

from pathlib import Path

import pytest
import torch
from torch import nn

from preceptor.models.adapters import adapter_off, add_lora, ordinary_weights
from preceptor.models.causal import load_causal, save_model
from preceptor.run.errors import UserError
from tests.models.test_trunk import network
from tests.rlhf.tiny import word_tokenizer

TOKENS = torch.tensor([[2, 3, 4, 5, 6]])


def moved(family: str, first: int = 0) -> nn.Module:
    """A network whose adapter has learned something."""
    model = network(family)
    add_lora(model, rank=2, alpha=4.0, first=first)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3)) * 0.1)
    return model


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_off_it_is_the_network_before_bit_for_bit(family: str) -> None:
    plain, model = network(family)(TOKENS).logits, moved(family)
    assert not torch.allclose(model(TOKENS).logits, plain, atol=1e-2)
    with adapter_off(model) as reference:
        assert torch.equal(reference(TOKENS).logits, plain)
    assert not torch.allclose(model(TOKENS).logits, plain, atol=1e-2)


def test_a_fresh_one_changes_nothing_and_only_it_learns() -> None:
    model = network("llama")
    plain = model(TOKENS).logits
    add_lora(model, rank=2, alpha=4.0, first=1)
    assert torch.equal(model(TOKENS).logits, plain)
    learned = [name for name, one in model.named_parameters() if one.requires_grad]
    assert len(learned) == 2 * 7 * 2 and all("lora_" in name and ".0." not in name for name in learned)
    with adapter_off(model):
        pass
    assert [name for name, one in model.named_parameters() if one.requires_grad] == learned


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_what_is_saved_is_an_ordinary_model_and_the_adapter_goes_on(family: str, tmp_path: Path) -> None:
    model = moved(family)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    save_model(model, word_tokenizer(), tmp_path / "model")
    loaded = load_causal(tmp_path / "model")
    assert loaded.state_dict().keys() == network(family).state_dict().keys()
    torch.testing.assert_close(loaded(TOKENS).logits, model(TOKENS).logits, atol=1e-5, rtol=0)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_the_change_is_the_product_of_its_two_matrices() -> None:
    model, plain = moved("llama"), network("llama").state_dict()
    name = "model.layers.1.mlp.down_proj"
    layer = model.get_submodule(name)
    product = layer.lora_B["default"].weight @ layer.lora_A["default"].weight
    torch.testing.assert_close(ordinary_weights(model)[f"{name}.weight"], plain[f"{name}.weight"] + 4.0 / 2 * product)


def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="rank 0"):
        add_lora(network("llama"), rank=0, alpha=1.0)
    monkeypatch.setitem(__import__("sys").modules, "peft", None)
    with pytest.raises(UserError, match="peft"):
        add_lora(network("llama"), rank=1, alpha=1.0)
