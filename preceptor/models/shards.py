"""Blocks whose weights are split between processes (FSDP2, `fully_shard`), and their tensors, whole and in shares.

A block's weights, gradients and optimiser state are split along their first axis, and gathered while it computes.
Embeddings and what else stands outside the blocks are copied: losses use them on their own, where FSDP would not know.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from preceptor.models.trunk import blocks
from preceptor.run.errors import UserError
from preceptor.run.processes import count


def shard(model: nn.Module, how: str) -> None:
    """Shard the blocks of `model` between the processes, if `how` is `blocks` or `offload` (then kept in CPU memory).

    Raises:
        UserError: there is one process, or the model does not say what its blocks are.
    """
    if how == "none":
        return
    if count() == 1:
        raise UserError("There is one process, and nothing to shard between.",
                        "Start the run under torchrun (docs/training.md), or set shard to none.")
    if not hasattr(model, "base_model"):
        raise UserError("Only a single network can be sharded.", "Set shard to none.")
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import CPUOffloadPolicy, OffloadPolicy, fully_shard
    mesh = init_device_mesh(next(model.parameters()).device.type, (count(),))
    for block in blocks(model):
        fully_shard(block, mesh=mesh, offload_policy=CPUOffloadPolicy() if how == "offload" else OffloadPolicy())


def sharded(tensor: Any) -> bool:
    """Whether this process holds only a share of the tensor."""
    return isinstance(tensor, DTensor)


@torch.no_grad()
def whole(value: Any) -> Any:
    """A sharded tensor put together, and all other values as they are. All processes must ask for it."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def like(value: Any, pattern: Tensor) -> Any:
    """A whole tensor as the share of this process, where `pattern` is sharded and of that shape."""
    if isinstance(pattern, DTensor) and isinstance(value, Tensor) and value.shape == pattern.shape:
        return distribute_tensor(value.to(pattern.device), pattern.device_mesh, pattern.placements)
    return value
