"""The networks of online learning: which learn, which stand still, and which a checkpoint must hold."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

import torch
from torch import Tensor, nn

from preceptor.models.adapters import adapter_off
from preceptor.rlhf.nucleus import NucleusMask


class Networks(nn.Module):
    """`policy` (a causal model); `value` (a scalar model) where the algorithm has a critic; `mask` where it has one;
    and `reference`, the frozen model that the policy began as, or None where that is the policy with its adapter off.

    No two have a weight in common, but for the blocks that do not learn: where the policy has `frozen_layers`, it alone
    has them, and the others read the states that come out of them (`preceptor.models.trunk`).

    Never in training mode: dropout in the rollout or in the update would make the ratio of new to old probability
    measure the dropout, in whichever way the family of the model implements it.
    """

    def __init__(self, policy: nn.Module, reference: nn.Module | None, value: nn.Module | None = None,
                 mask: NucleusMask | None = None) -> None:
        super().__init__()
        self.policy, self.value, self.mask = policy, value, mask
        # Not registered: it never changes, so that neither the checkpoints nor the optimiser need to know it.
        object.__setattr__(self, "reference", reference.requires_grad_(False).eval() if reference else None)
        self.eval()

    @property
    def frozen_layers(self) -> int:
        """Lowest blocks that the networks share; 0 where they share none."""
        return getattr(self.policy, "frozen_layers", 0)

    @contextmanager
    def as_reference(self) -> Iterator[nn.Module]:
        """The model that the policy began as. Nothing may be learned inside the block."""
        if self.reference is not None:
            yield self.reference
        else:
            with adapter_off(self.policy) as reference:
                yield reference

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode, whatever `mode` says."""
        return super().train(False)


@torch.no_grad()
def load_average(networks: Networks, average: dict[str, Tensor]) -> None:
    """Put the moving average of the weights in the place of the weights."""
    parameters = dict(networks.named_parameters())
    for name, value in average.items():
        parameters[name].copy_(value)
