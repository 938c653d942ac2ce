"""Gradient checkpointing changes what is kept, and nothing else: in training mode, in evaluation mode, with dropout."""

import pytest
import torch
from torch import nn

from preceptor.models.recomputation import recomputing
from preceptor.run.errors import UserError
from preceptor.sft.dropout import residual_dropout
from tests.models.test_trunk import network

TOKENS = torch.tensor([[2, 3, 4, 5, 6, 7, 8, 9]])


def gradients(model: nn.Module, wanted: bool) -> tuple[list[torch.Tensor], int]:
    """Of a loss, and how many numbers were kept for the backward pass, the weights themselves left out."""
    kept: dict[int, int] = {}
    weights = {one.untyped_storage().data_ptr() for one in model.parameters()}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in weights:
            kept[tensor.untyped_storage().data_ptr()] = tensor.numel()
        return tensor

    torch.manual_seed(4)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        with recomputing(model, wanted):
            states = model.base_model(input_ids=TOKENS, use_cache=False).last_hidden_state
        count = sum(kept.values())
        states.square().sum().backward()
    found = [one.grad for one in model.parameters() if one.grad is not None]
    model.zero_grad()
    return found, count


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize("mode", [True, False])
def test_the_gradient_is_the_same_and_less_is_kept(family: str, mode: bool) -> None:
    model = network(family).train(mode)
    with residual_dropout(model, 0.3):
        (plain, all_kept), (again, few_kept) = gradients(model, False), gradients(model, True)
    assert len(plain) == len(again) > 20 and all(torch.equal(one, other) for one, other in zip(plain, again))
    assert few_kept < all_kept / 3


def test_afterwards_the_blocks_are_as_they_were() -> None:
    model = network("llama")
    with recomputing(model, True):
        assert "forward" in model.base_model.layers[0].__dict__
    assert "forward" not in model.base_model.layers[0].__dict__


def test_a_model_whose_blocks_nobody_knows_is_refused() -> None:
    with pytest.raises(UserError, match="blocks"), recomputing(nn.Linear(2, 2), True):
        pass
