"""Which attention a network takes: plain products for short rows in bf16 on a CPU, and its own everywhere else."""

from typing import Any

import pytest
import torch
from torch import nn

from preceptor.data.batches import Batch, Example, collate
from preceptor.models import attention
from preceptor.models.causal import hidden_states
from preceptor.models.recomputation import recomputing
from tests.models.test_trunk import network

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU's own attention is the fast one")


def packed_row() -> Batch:
    """Two documents and padding in a row of eight."""
    return collate([[Example("a", [2, 3, 4, 5], [3, 4, 5, 6]), Example("b", [7, 8, 9], [8, 9, 2])],
                    [Example("c", list(range(2, 10)), list(range(2, 10)))]], 1)


def read(family: str, kinds: list[str], precision: torch.dtype, wanted: bool = False) -> tuple[torch.Tensor, ...]:
    """States of the row, and a gradient; `kinds` gains the attention of each block that ran."""
    model = network(family)
    model.set_attn_implementation("sdpa")

    def note(module: nn.Module, inputs: Any) -> None:
        kinds.append(model.config._attn_implementation)

    for block in model.base_model.get_submodule("layers" if family == "llama" else "h"):
        block.register_forward_pre_hook(note)
    with torch.autocast("cpu", precision, enabled=precision != torch.float32), recomputing(model, wanted):
        states = hidden_states(model, packed_row())[packed_row()["segments"] > 0].float()
    assert model.config._attn_implementation == "sdpa"
    (states * torch.arange(states.numel()).view(states.shape).sin()).sum().backward()
    weight = model.get_input_embeddings().weight
    return states.detach(), weight.grad


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_short_rows_in_bf16_go_by_plain_products(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are as far from fp32 as the other attention is in bf16, and no further."""
    kinds: list[str] = []
    exact = read(family, kinds, torch.float32)
    assert set(kinds) == {"sdpa"}
    kinds.clear()
    plain = read(family, kinds, torch.bfloat16)
    assert set(kinds) == {"eager"}
    monkeypatch.setattr(attention, "SHORT", 0)
    usual = read(family, kinds, torch.bfloat16)
    for right, one, other in zip(exact, plain, usual, strict=True):
        assert 0 < (one - right).norm() < 1.5 * (other - right).norm() < 0.1 * right.norm()


def test_long_rows_and_blocks_that_are_computed_again_keep_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds: list[str] = []
    read("llama", kinds, torch.bfloat16, wanted=True)
    monkeypatch.setattr(attention, "SHORT", 7)
    read("llama", kinds, torch.bfloat16)
    assert set(kinds) == {"sdpa"}
