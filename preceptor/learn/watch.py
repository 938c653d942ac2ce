"""The watch over spikes: how far a step's loss, its gradient norm, and what its batch says twice lie from those before.

Levels and deviations are the median and 1.4826 times the median absolute deviation over the last `WINDOW` steps: a
few wild steps among them change neither. The norm is watched as a logarithm, because its size is a matter of factors.

Text that comes again and again does not show in the loss before it has been learned by heart, when it is too late. It
shows in the batch: the share of its windows of `SPAN` tokens that stand in it elsewhere too.

A smaller batch is noisier: the deviation of its mean loss and the norm of its mean gradient grow with 1/√count where
noise dominates. So the last, short batch of an epoch is judged as if it were a full one.
"""

import math
from collections import deque
from dataclasses import dataclass
from statistics import median, pstdev
from typing import Any, Self

import torch

from preceptor.data.batches import Batch
from preceptor.learn.gradients import Measured

WINDOW = 64
LEARNING = 32
"""Steps before anything is judged: of fewer no level is known."""
ALARM = 8.0
"""Deviations above the level at which a step is a spike."""
SUSPECT = 4.0
"""Deviations above the level at which a batch beside a spike is cut out with it."""
FLOOR = 0.02
"""The least deviation of the loss, as a share of its level, and of the logarithm of the norm."""
LEAST_REPEATED = 0.05
"""The least deviation of the share of a batch that it says twice."""
SPAN = 16
"""Tokens of a window: longer than phrases that everybody uses, shorter than a packed row."""
RECENT = 8
"""Steps whose deviation is compared with that of the whole window, to tell a calm gradient."""


@dataclass(frozen=True, slots=True)
class Signs:
    """What a step shows of its batch: the loss, the gradient norm, positions that counted, the share said twice."""

    loss: float
    norm: float
    count: int
    repeated: float

    @classmethod
    def of(cls, measured: Measured) -> Self:
        return cls(measured.metrics["loss"], measured.metrics["gradient_norm"], measured.batch.count,
                   said_twice(measured.batch))


def said_twice(batch: Batch) -> float:
    """The share of the windows of `SPAN` tokens, within rows and without padding, that the batch has had before."""
    if not {"tokens", "segments"} <= set(batch.tensors) or batch["tokens"].shape[1] < SPAN:
        return 0.0
    text = batch["segments"].unfold(1, SPAN, 1).gt(0).all(-1)
    windows = batch["tokens"].unfold(1, SPAN, 1)[text]
    factors = torch.randint(-2 ** 62, 2 ** 62, (SPAN,), generator=torch.Generator().manual_seed(0))
    hashes = (windows * factors).sum(-1)  # wraps around, as a hash may
    return 1.0 - len(hashes.unique()) / max(1, len(hashes))


class Watch:
    """The signs of the last steps that were found good, and what they say of the next."""

    def __init__(self) -> None:
        self.losses: deque[float] = deque(maxlen=WINDOW)
        self.norms: deque[float] = deque(maxlen=WINDOW)
        self.counts: deque[int] = deque(maxlen=WINDOW)
        self.repeated: deque[float] = deque(maxlen=WINDOW)

    def deviations(self, signs: Signs) -> dict[str, float]:
        """How many deviations each sign lies above its level; infinite where loss or norm are no numbers."""
        if not (math.isfinite(signs.loss) and math.isfinite(signs.norm)):
            return {"finite": math.inf}
        if len(self.losses) < LEARNING:
            return {"finite": 0.0}
        shortness = math.sqrt(min(1.0, signs.count / median(self.counts)))
        return {"loss": _deviations(signs.loss, self.losses, FLOOR * median(self.losses)) * shortness,
                "norm": _deviations(_log(signs.norm, signs.count), self.norms, FLOOR),
                "repeated": _deviations(signs.repeated, self.repeated, LEAST_REPEATED)}

    def cause(self, signs: Signs) -> str:
        """Why this step is a spike, in words; empty where it is none, and then it joins the levels."""
        found = self.deviations(signs)
        worst = max(found, key=lambda sign: found[sign])
        if found[worst] > ALARM:
            return self._said(worst, found[worst], signs)
        self.losses.append(signs.loss)
        self.norms.append(_log(signs.norm, signs.count))
        self.counts.append(signs.count)
        self.repeated.append(signs.repeated)
        return ""

    def _said(self, sign: str, deviations: float, signs: Signs) -> str:
        if sign == "finite":
            return "the loss or the gradient is not a finite number"
        if sign == "repeated":
            return (f"{signs.repeated:.0%} of the batch is said twice in it, {deviations:.0f} deviations above the "
                    f"level {median(self.repeated):.0%}")
        name, value, level = {
            "loss": ("loss", signs.loss, median(self.losses)),
            "norm": ("gradient norm", signs.norm, math.exp(median(self.norms)) / math.sqrt(signs.count))}[sign]
        return f"the {name} {value:.3f} lies {deviations:.0f} deviations above its level {level:.3f}"

    def calm(self) -> bool:
        """Whether the last gradient norm is at or below its level (and a deviation), and the last few vary no more than
        twice as much as all in the window."""
        if len(self.norms) < LEARNING:
            return True
        recent = list(self.norms)[-RECENT:]
        level = _deviations(recent[-1], self.norms, FLOOR) <= 1.0
        return level and pstdev(recent) <= 2 * max(pstdev(self.norms), FLOOR)

    def state(self) -> dict[str, Any]:
        return {"losses": list(self.losses), "norms": list(self.norms), "counts": list(self.counts),
                "repeated": list(self.repeated)}

    def restore(self, state: dict[str, Any]) -> None:
        self.losses, self.norms = deque(state["losses"], WINDOW), deque(state["norms"], WINDOW)
        self.counts, self.repeated = deque(state["counts"], WINDOW), deque(state["repeated"], WINDOW)


def _log(norm: float, count: int) -> float:
    """The logarithm of norm·√count, which noise alone gives the same level whatever the count."""
    return math.log(max(norm, 1e-30)) + math.log(count) / 2


def _deviations(value: float, window: deque[float], least: float) -> float:
    level = median(window)
    deviation = 1.4826 * median(abs(one - level) for one in window)
    return (value - level) / max(deviation, least, 1e-12)
