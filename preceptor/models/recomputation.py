"""Gradient checkpointing: a block keeps its input only, and is computed again when its gradient is due.

Chen et al. 2016 (arXiv 1604.06174). The switch of transformers works in training mode alone, which the networks of
online learning are never in, so the blocks are wrapped here instead; dropout draws the same numbers again.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer

from preceptor.run.errors import UserError


@contextmanager
def recomputing(model: nn.Module, wanted: bool) -> Iterator[None]:
    """If `wanted`, what a block of a network in `model` computes inside here is computed again in the backward pass.

    Raises:
        UserError: no network in `model` says what its blocks are.
    """
    found = [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)] if wanted else []
    if wanted and not found:
        raise UserError("Gradient checkpointing does not know the blocks of this model.",
                        "Set gradient_checkpointing to false.")
    try:
        for block in found:
            block.forward = partial(_again, block.forward)
        yield
    finally:
        for block in found:
            del block.forward  # the one of the class is behind it


def _again(forward: Any, *inputs: Any, **named: Any) -> Any:
    if not torch.is_grad_enabled():
        return forward(*inputs, **named)
    return checkpoint(forward, *inputs, use_reentrant=False, **named)


def recomputes(model: nn.Module) -> bool:
    """Whether what the blocks of `model` compute now will be computed again in the backward pass."""
    blocks = (module for module in model.modules() if isinstance(module, GradientCheckpointingLayer))
    return any("forward" in vars(block) for block in blocks)
