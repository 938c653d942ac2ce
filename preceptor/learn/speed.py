"""How fast a run goes: tokens a second, and their share of what the processor's matrix products reach at most.

A token of training costs about 6 floating-point operations a weight that it meets: 2 forward, 4 backward (Kaplan et al.
2020, arXiv 2001.08361, §2.1). Attention over the context is left out, so the share is a little too low.
"""

import time
from functools import cache

import torch
from torch import nn

from preceptor.learn.precision import autocast
from preceptor.run.processes import count

WORTH_MEASURING = 2e12
"""Operations of a run below which its peak is not measured: that would take as long as some of its steps."""
SIZE, TIMES = 1024, 5


class Speed:
    """Tokens since the run (re)started; the clock is read for what people see, and decides nothing."""

    def __init__(self, model: nn.Module, precision: str, steps: int) -> None:
        self.weights = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
        self.device, self.precision, self.steps = str(next(model.parameters()).device), precision, steps
        self.started, self.tokens, self.peak = time.monotonic(), 0, 0.0

    def add(self, tokens: int) -> None:
        """Count the tokens of one step."""
        if not self.tokens and 6 * self.weights * tokens * self.steps >= WORTH_MEASURING:
            self.peak = matrix_peak(self.device, self.precision)
        self.tokens += tokens

    @property
    def rate(self) -> float:
        """Tokens a second."""
        return self.tokens / max(time.monotonic() - self.started, 1e-9)

    @property
    def share(self) -> float | None:
        """Share of the measured peak of all processes; None where it was not measured."""
        return 6 * self.weights * self.rate / (self.peak * count()) if self.peak else None

    def metrics(self) -> dict[str, float]:
        """What the log keeps."""
        return {"tokens_per_second": self.rate, **({"share_of_peak": self.share} if self.peak else {})}

    def said(self) -> str:
        """For the progress line: `12.3k tokens, 4.1k/s, 41 % of peak`."""
        text = f"{thousands(self.tokens)} tokens, {thousands(self.rate)}/s"
        return f"{text}, {self.share:.0%} of peak".replace("%", " %") if self.peak else text


def thousands(value: float) -> str:
    """A number of three digits with its unit: `950`, `12.3k`, `4.56M`."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.0f}"


@cache
def matrix_peak(device: str, precision: str) -> float:
    """Operations a second of the best of a few square matrix products, in the precision of the run."""
    with torch.no_grad(), autocast(precision, device):
        one = torch.ones(SIZE, SIZE, device=device)
        one = one.to((one @ one).dtype)
        best = float("inf")
        for _ in range(TIMES):
            started = time.perf_counter()
            one @ one
            if device.startswith("cuda"):
                torch.cuda.synchronize()
            best = min(best, time.perf_counter() - started)
    return 2 * SIZE ** 3 / best
