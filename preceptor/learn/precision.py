"""The precision of matrix products, and the scale that keeps small gradients of fp16 from vanishing."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch

from preceptor.run.machine import has_bfloat16

GROWTH = 2000  # steps without an overflow after which the scale is doubled, PyTorch's own number


def autocast(precision: str, device: str) -> AbstractContextManager[Any]:
    """The precision in which the loop runs forward passes; what is measured for a loss must be measured in it too."""
    if precision == "bf16" or (precision == "auto" and has_bfloat16()):
        return torch.autocast(torch.device(device).type, torch.bfloat16)
    if precision == "fp16":
        return torch.autocast(torch.device(device).type, torch.float16)
    return nullcontext()


@dataclass(slots=True)
class LossScale:
    """Dynamic loss scaling (Micikevicius et al. 2018, arXiv 1710.03740, §3.2): what the loss is multiplied by before
    the backward pass, so that gradients below fp16's smallest number survive, and divided by after it.

    An overflow halves it, and the batch is computed again: no data is lost and no optimiser step is skipped.
    """

    value: float = 1.0
    calm: int = 0

    @classmethod
    def of(cls, precision: str) -> "LossScale":
        """2^16 for fp16; 1, which never changes, for all that has fp32's range."""
        return cls(2.0 ** 16 if precision == "fp16" else 1.0)

    def lower(self) -> bool:
        """Halve the scale after an overflow; False where it is 1 already, so that the overflow is not its doing."""
        if self.value <= 1.0:
            return False
        self.value, self.calm = self.value / 2, 0
        return True

    def step(self) -> None:
        """Count a step without an overflow; double the scale after `GROWTH` of them."""
        self.calm += 1
        if self.calm == GROWTH and self.value > 1.0:
            self.value, self.calm = self.value * 2, 0
