"""The watch over spikes: how far the loss and the gradient norm of a step lie from the steps before it.

Levels and deviations are the median and 1.4826 times the median absolute deviation over the last `WINDOW` steps: a
few wild steps among them change neither. The norm is watched as a logarithm, because its size is a matter of factors.

A smaller batch is noisier: the deviation of its mean loss and the norm of its mean gradient grow with 1/√count where
noise dominates. So the last, short batch of an epoch is judged as if it were a full one.
"""

import math
from collections import deque
from statistics import median, pstdev
from typing import Any

WINDOW = 64
LEARNING = 32
"""Steps before anything is judged: of fewer no level is known."""
ALARM = 8.0
"""Deviations above the level at which a step is a spike."""
SUSPECT = 4.0
"""Deviations above the level at which a batch beside a spike is cut out with it."""
FLOOR = 0.02
"""The least deviation of the loss, as a share of its level, and of the logarithm of the norm."""
RECENT = 8
"""Steps whose deviation is compared with that of the whole window, to tell a calm gradient."""


class Watch:
    """The last losses and gradient norms that were found good, and what they say of the next."""

    def __init__(self) -> None:
        self.losses: deque[float] = deque(maxlen=WINDOW)
        self.norms: deque[float] = deque(maxlen=WINDOW)
        self.counts: deque[int] = deque(maxlen=WINDOW)

    def deviations(self, loss: float, norm: float, count: int) -> tuple[float, float]:
        """How many deviations loss and gradient norm lie above their levels; infinite where they are no numbers."""
        if not (math.isfinite(loss) and math.isfinite(norm)):
            return math.inf, math.inf
        if len(self.losses) < LEARNING:
            return 0.0, 0.0
        shortness = math.sqrt(min(1.0, count / median(self.counts)))
        return (_deviations(loss, self.losses, FLOOR * median(self.losses)) * shortness,
                _deviations(_log(norm, count), self.norms, FLOOR))

    def cause(self, loss: float, norm: float, count: int) -> str:
        """Why this step is a spike, in words; empty where it is none, and then it joins the levels."""
        of_loss, of_norm = self.deviations(loss, norm, count)
        if math.isinf(of_loss):
            return "the loss or the gradient is not a finite number"
        if of_loss > ALARM:
            return f"the loss {loss:.3f} lies {of_loss:.0f} deviations above its level {median(self.losses):.3f}"
        if of_norm > ALARM:
            level = math.exp(median(self.norms)) / math.sqrt(count)
            return f"the gradient norm {norm:.3f} lies {of_norm:.0f} deviations above its level {level:.3f}"
        self.losses.append(loss)
        self.norms.append(_log(norm, count))
        self.counts.append(count)
        return ""

    def calm(self) -> bool:
        """Whether the last gradient norm is at or below its level (and a deviation), and the last few vary no more than
        twice as much as all in the window."""
        if len(self.norms) < LEARNING:
            return True
        recent = list(self.norms)[-RECENT:]
        level = _deviations(recent[-1], self.norms, FLOOR) <= 1.0
        return level and pstdev(recent) <= 2 * max(pstdev(self.norms), FLOOR)

    def state(self) -> dict[str, Any]:
        return {"losses": list(self.losses), "norms": list(self.norms), "counts": list(self.counts)}

    def restore(self, state: dict[str, Any]) -> None:
        self.losses, self.norms = deque(state["losses"], WINDOW), deque(state["norms"], WINDOW)
        self.counts = deque(state["counts"], WINDOW)


def _log(norm: float, count: int) -> float:
    """The logarithm of norm·√count, which noise alone gives the same level whatever the count."""
    return math.log(max(norm, 1e-30)) + math.log(count) / 2


def _deviations(value: float, window: deque[float], least: float) -> float:
    level = median(window)
    deviation = 1.4826 * median(abs(one - level) for one in window)
    return (value - level) / max(deviation, least, 1e-12)
