"""What turns cosines into logits: a learned scale, and of the sigmoid loss a bias as well."""

import math

import torch
from torch import Tensor, nn


class Scale(nn.Module):
    """The inverse temperature s = exp(log_scale), learned; with a `bias`, the sigmoid loss's b beside it.

    CLIP starts at 1/0.07 and bounds s by 100; SigLIP starts at s = 10 and b = -10. The bound is put on the weight
    itself before it is used: cut in the loss, its gradient would stop for good.
    """

    def __init__(self, start: float, bias: float | None = None, most: float = 100.0) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(math.log(start)))
        self.bias = None if bias is None else nn.Parameter(torch.tensor(float(bias)))
        self.most = math.log(most)

    def forward(self) -> Tensor:
        """The scale, a number."""
        with torch.no_grad():
            self.log_scale.clamp_(max=self.most)
        return self.log_scale.exp()
