"""LoRA: a few weights learn beside frozen ones, which are also the reference (Hu et al. 2021, arXiv 2106.09685).

    y = W x + (alpha / rank) B A x,    W [out, in] as it was loaded, A [rank, in] random, B [out, rank] zero at first

`peft` puts A and B inside the linear maps of a model and leaves its class alone, so that whatever reads hidden states
works as before. With the adapter off the model is the one that was loaded, bit for bit: one copy of the weights is both
policy and reference. What is saved is an ordinary model, W + (alpha / rank) B A in the place of W.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from preceptor.models.trunk import blocks
from preceptor.run.errors import UserError


def add_adapter(model: nn.Module, kind: str, rank: int, alpha: float, first: int = 0) -> None:
    """Freeze the model, and put a LoRA adapter into every linear map of its blocks from number `first` on.

    A comes from the global generator. `kind` "none" does nothing at all.

    Raises:
        UserError: `peft` is not installed, or the rank is no rank.
    """
    if kind == "none":
        return
    if rank < 1:
        raise UserError(f"An adapter of rank {rank} can learn nothing.", "Set lora_rank to 1 or more.")
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError:
        raise UserError("An adapter needs the package 'peft', which is not installed.",
                        "Run: pip install 'preceptor[lora]', or set adapter to none.") from None
    inside = {id(module) for block in blocks(model)[first:] for module in block.modules()}
    maps = [name for name, module in model.named_modules() if id(module) in inside and _is_map(module)]
    inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=alpha, target_modules=maps,
                                       fan_in_fan_out=not isinstance(model.get_submodule(maps[0]), nn.Linear)), model)


def _is_map(module: nn.Module) -> bool:
    """A matrix that is multiplied with: torch's own, or GPT-2's, which is stored transposed."""
    from transformers.pytorch_utils import Conv1D
    return isinstance(module, (nn.Linear, Conv1D))


@contextmanager
def adapter_off(model: nn.Module) -> Iterator[nn.Module]:
    """Inside the block, `model` is what it was before it had an adapter. Nothing may be learned there."""
    layers = _adapted(model).values()
    for layer in layers:
        layer.enable_adapters(False)
    try:
        yield model
    finally:
        for layer in layers:
            layer.enable_adapters(True)


@torch.no_grad()
def ordinary_weights(model: nn.Module) -> dict[str, Tensor] | None:
    """The weights of the same model without an adapter, what it learned included; None where it has none.

    Computed beside the weights, which stay as they are: adding B A to W and taking it off again would not give W back.
    """
    layers = _adapted(model)
    if not layers:
        return None
    parts = {f"{name}.{part}" for name in layers for part in layers[name].adapter_layer_names}
    weights = {}
    for name, value in model.state_dict().items():
        owner, _, leaf = name.rpartition(".base_layer.")
        if owner in layers:
            change = layers[owner].get_delta_weight("default") if leaf == "weight" else 0.0
            weights[f"{owner}.{leaf}"] = value + change
        elif not any(name.startswith(f"{part}.") for part in parts):
            weights[name] = value
    return weights


def _adapted(model: nn.Module) -> dict[str, Any]:
    """The linear maps that have an adapter inside, by name."""
    return {name: module for name, module in model.named_modules() if hasattr(module, "lora_A")}
