"""First weights, and a check that they carry activations and gradients through every block at one scale."""

import re

import torch
from torch import Tensor, nn

STD = 0.02
# What writes to the residual stream, by the names that transformers gives it in the families of models/families.py.
WRITERS = re.compile(r"(^|\.)(o_proj|c_proj|out_proj|down_proj|fc2|w2|wo|o|Wo|out_lin|lin2|dense_4h_to_h|output\.dense|"
                     r"self_attention\.dense|attention\.output|feed_forward\.value)$")
LEFT_ALONE = re.compile(r"(^|\.)dt_proj$")  # Mamba's step sizes begin in a range of their own
STACKED = ("gate_up_proj", "down_proj")  # parameters that hold one matrix an expert


@torch.no_grad()
def initialise(model: nn.Module, kind: str) -> None:
    """Draw the weights of all linear layers and embeddings from the global generator; norms stay as they are.

        normal        W ~ N(0, 0.02²)                              (Radford et al. 2018)
        depth_scaled  what transformers draws, and W/√n for the n writers to the residual stream of a stack: 2 a block
                      in most families                             (Radford et al. 2019, §2.3)
        xavier        W ~ U(±√(6/(in + out)))                      (Glorot & Bengio 2010, eq. 16)
        he            W ~ N(0, 2/in)                               (He et al. 2015, eq. 10)
        family        what transformers drew when it built the model

    Under normal, xavier and he embeddings are N(0, 0.02²) and biases 0. Sinusoids and other fixed tables stay, and so
    do a state space's decay rates, step sizes and short convolutions, which mean something. An output projection tied
    to the embedding is the embedding.
    """
    if kind in ("normal", "xavier", "he"):
        embeddings = [module for module in model.modules() if isinstance(module, nn.Embedding)]
        for module in embeddings:
            if module.weight.requires_grad:
                module.weight.normal_(std=STD)
        shared = {id(module.weight) for module in embeddings}
        for name, module in model.named_modules():
            if not LEFT_ALONE.search(name):
                _draw(module, kind, shared)
    elif kind == "depth_scaled":
        for stack in _stacks(model):
            for weight in stack:
                weight.mul_(len(stack) ** -0.5)


def _draw(module: nn.Module, kind: str, embeddings: set[int]) -> None:
    """New weights for a linear layer, GPT-2's transposed one, a router, or experts whose matrices are stacked."""
    transposed = type(module).__name__ == "Conv1D"
    linear = transposed or isinstance(module, nn.Linear) or type(module).__name__.endswith("Router")
    for name, weight in module.named_parameters(recurse=False):
        if id(weight) in embeddings or not (name == "weight" if linear else name in STACKED):
            continue
        fan_in, fan_out = weight.shape[-2:] if transposed else weight.shape[-2:][::-1]
        if kind == "xavier":
            bound = (6 / (fan_in + fan_out)) ** 0.5
            weight.uniform_(-bound, bound)
        else:
            weight.normal_(std=STD if kind == "normal" else (2 / fan_in) ** 0.5)
    if linear and getattr(module, "bias", None) is not None:
        module.bias.zero_()


def _stacks(model: nn.Module) -> list[list[Tensor]]:
    """The weights that write to the residual stream, by stack: an encoder-decoder has two."""
    stacks: dict[str, list[Tensor]] = {}
    for name, module in model.base_model.named_modules():
        stack = name.partition(".")[0] if model.config.is_encoder_decoder else ""
        stacks.setdefault(stack, []).extend(residual_writers(name, module))
    return [stack for stack in stacks.values() if stack]


def residual_writers(name: str, module: nn.Module) -> list[Tensor]:
    """The weights of a module that write to the residual stream; experts hold theirs in one parameter."""
    if WRITERS.search(name) and isinstance(getattr(module, "weight", None), Tensor):
        return [module.weight]
    return [weight for own, weight in module.named_parameters(recurse=False) if own == "down_proj"]
