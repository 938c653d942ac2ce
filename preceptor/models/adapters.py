"""LoRA: a few weights learn beside frozen ones, which are also the reference (Hu et al. 2021, arXiv 2106.09685).

    y = W x + (alpha / rank) B A x,    W [out, in] as it was loaded, A [rank, in] random, B [out, rank] zero at first

`peft` puts A and B inside the linear maps of a model and leaves its class alone, so that whatever reads hidden states
works as before. With the adapter off the model is the one that was loaded, bit for bit: one copy of the weights is both
policy and reference. What is saved is an ordinary model, W + (alpha / rank) B A in the place of W. The other kind of
adapter is the soft prompt (models/soft_prompt.py).
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from preceptor.models.eight_bit import dense
from preceptor.models.trunk import blocks
from preceptor.run.errors import UserError


def add_lora(model: nn.Module, rank: int, alpha: float, first: int = 0) -> None:
    """Freeze the model, and put a LoRA adapter into every linear map of its trunk, or of its blocks from `first` on.

    A comes from the global generator. An output projection is no part of the trunk.

    Raises:
        UserError: `peft` is not installed, the rank is no rank, or `peft` cannot adapt the family.
    """
    if rank < 1:
        raise UserError(f"An adapter of rank {rank} can learn nothing.", "Set lora_rank to 1 or more.")
    peft = peft_package()
    maps = linear_maps(model, first)
    config = peft.LoraConfig(r=rank, lora_alpha=alpha, target_modules=maps,
                             fan_in_fan_out=not isinstance(model.get_submodule(maps[0]), nn.Linear))
    try:
        peft.inject_adapter_in_model(config, model)
    except ValueError as error:
        raise UserError(f"peft cannot adapt a '{model.config.model_type}' model: {str(error).splitlines()[0]}",
                        "Set adapter to none, or take a model of another family.") from None


def peft_package() -> Any:
    """The package that makes adapters.

    Raises:
        UserError: it is not installed.
    """
    try:
        import peft
    except ImportError:
        raise UserError("An adapter needs the package 'peft', which is not installed.",
                        "Run: pip install 'preceptor[lora]', or set adapter to none.") from None
    return peft


def linear_maps(model: nn.Module, first: int = 0) -> list[str]:
    """The names of the matrices that the trunk, or its blocks from `first` on, multiply with: torch's own, or GPT-2's,
    which are stored transposed."""
    from transformers.pytorch_utils import Conv1D
    parts = blocks(model)[first:] if first else [model.base_model]
    head = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    inside = {id(module) for part in parts for module in part.modules()} - {id(head)}
    return [name for name, module in model.named_modules()
            if id(module) in inside and isinstance(module, (nn.Linear, Conv1D))]


@contextmanager
def adapter_off(model: nn.Module) -> Iterator[nn.Module]:
    """Inside the block, `model` is what it was before it had an adapter. Nothing may be learned there."""
    layers, prompt = lora_layers(model).values(), getattr(model, "soft_prompt", None)
    for layer in layers:
        layer.enable_adapters(False)
    if prompt is not None:
        prompt.on = False
    try:
        yield model
    finally:
        for layer in layers:
            layer.enable_adapters(True)
        if prompt is not None:
            prompt.on = True


def carries_adapter(model: nn.Module) -> bool:
    """Whether there is an adapter in or before the model."""
    return bool(lora_layers(model)) or getattr(model, "soft_prompt", None) is not None


@torch.no_grad()
def ordinary_weights(model: nn.Module, sign: float = 1.0) -> dict[str, Tensor] | None:
    """The weights of the same model without LoRA, what it learned included; None where it has none.

    Computed beside the weights, which stay as they are: adding B A to W and taking it off again would not give W back.
    With a `sign` of -1 what it learned is taken off weights that had it added.
    """
    layers = lora_layers(model)
    if not layers:
        return None
    parts = {f"{name}.{part}" for name in layers for part in layers[name].adapter_layer_names}
    weights = {}
    for name, value in model.state_dict().items():
        owner, _, leaf = name.rpartition(".base_layer.")
        if owner in layers:
            change = sign * layers[owner].get_delta_weight("default") if leaf == "weight" else 0.0
            weights[f"{owner}.{leaf}"] = dense(value) + change
        elif not any(name.startswith(f"{part}.") for part in parts):
            weights[name] = value
    return weights


def beside_adapter(model: nn.Module, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights of the same model without LoRA by the names that they have in it, with the adapter's own; those of a
    model that has LoRA, too, as they are."""
    layers = lora_layers(model)
    if not layers or any(".base_layer." in name for name in weights):
        return weights
    named = {(f"{owner}.base_layer.{leaf}" if owner in layers else name): value for name, value in weights.items()
             for owner, _, leaf in [name.rpartition(".")]}
    return {name: value for name, value in model.state_dict().items() if "lora_" in name} | named


def lora_layers(model: nn.Module) -> dict[str, Any]:
    """The linear maps that have an adapter inside, by name."""
    return {name: module for name, module in model.named_modules() if hasattr(module, "lora_A")}


def view_of(model: nn.Module) -> nn.Module:
    """The same network once more over the same weights, so that each can carry an adapter of its own."""
    shared: dict[int, Any] = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    return copy.deepcopy(model, shared)
