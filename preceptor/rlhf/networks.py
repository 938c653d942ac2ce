"""The networks of online learning: which learn, which stand still, and which a checkpoint must hold."""

from typing import Self

import torch
from torch import Tensor, nn

from preceptor.rlhf.nucleus import NucleusMask


class Networks(nn.Module):
    """`policy` (a causal model); `value` (a scalar model, no weight in common) where the algorithm has a critic; `mask`
    where it has one; and `reference`, the frozen model that the policy began as.

    Never in training mode: dropout in the rollout or in the update would make the ratio of new to old probability
    measure the dropout, in whichever way the family of the model implements it.
    """

    def __init__(self, policy: nn.Module, reference: nn.Module, value: nn.Module | None = None,
                 mask: NucleusMask | None = None) -> None:
        super().__init__()
        self.policy, self.value, self.mask = policy, value, mask
        # Not registered: it never changes, so that neither the checkpoints nor the optimiser need to know it.
        object.__setattr__(self, "reference", reference.requires_grad_(False).eval())
        self.eval()

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode, whatever `mode` says."""
        return super().train(False)


@torch.no_grad()
def load_average(networks: Networks, average: dict[str, Tensor]) -> None:
    """Put the moving average of the weights in the place of the weights."""
    for name, parameter in networks.named_parameters():
        parameter.copy_(average[name])
