"""The gradient of one optimiser step: every loss over its whole batch, whatever the micro-batches and processes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from preceptor.data.batches import Batch, Batches
from preceptor.learn.options import FitOptions
from preceptor.learn.parallel import add_gradients, added_up, clip, loss_factor, shares
from preceptor.learn.precision import LossScale, autocast
from preceptor.models.recomputation import recomputing


class Loss(Protocol):
    """`loss(model, batch)` returns the *sum* over what counts, how many count, and metrics as sums over the same."""

    def __call__(self, model: nn.Module, batch: Batch) -> tuple[Tensor, int, dict[str, Tensor]]: ...


@dataclass(frozen=True, slots=True)
class Term:
    """A further loss in the same optimiser step, with its own batches: its mean is added `weight` times (PPO-ptx)."""

    name: str
    batches: Batches
    loss: Loss
    weight: float


@dataclass(frozen=True, slots=True)
class Measured:
    """What one step saw: metrics as means over what counts, the tokens that went through, the first term's batch."""

    metrics: dict[str, float]
    tokens: int
    batch: Batch

    @property
    def documents(self) -> list[str]:
        """The ids of the batch's texts."""
        return sorted({name for row in self.batch.documents for name in row})

    @property
    def finite(self) -> bool:
        return math.isfinite(self.metrics["loss"]) and math.isfinite(self.metrics["gradient_norm"])


def take_gradients(model: nn.Module, terms: Sequence[Term], options: FitOptions, scale: LossScale) -> Measured:
    """Leave the clipped gradient of the next batch of every term in the parameters, and tell what was seen.

    An overflow of fp16 lowers the scale and computes the same batches again.
    """
    batches = [next(term.batches) for term in terms]
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    while True:
        for parameter in parameters:
            parameter.grad = None
        metrics, tokens = _backward(model, terms, batches, options, scale.value)
        add_gradients(parameters, loss_factor(model))
        if scale.value != 1.0:
            torch._foreach_div_([one.grad for one in parameters if one.grad is not None], scale.value)
        metrics["gradient_norm"] = clip(parameters, options.clip_norm or math.inf)
        measured = Measured(metrics, tokens, batches[0])
        if measured.finite or not scale.lower():
            return measured


def _backward(model: nn.Module, terms: Sequence[Term], batches: Sequence[Batch], options: FitOptions,
              scale: float) -> tuple[dict[str, float], int]:
    device = str(next(model.parameters()).device)
    factor = scale * loss_factor(model)
    metrics: dict[str, float] = {}
    tokens = 0
    for term, batch in zip(terms, batches):
        sums: dict[str, float] = {}
        for micro, share in shares(batch, options.micro_batches):
            with autocast(options.precision, device), recomputing(model, options.gradient_checkpointing):
                value, count, extras = term.loss(model, micro.to(device))
            assert count == micro.count, f"the loss counted {count} positions of {micro.count}"
            (value * (share * factor * term.weight / batch.count)).backward()
            for name, part in {"loss": value, **extras}.items():
                sums[name] = sums.get(name, 0.0) + share * float(part.detach())
        tokens += batch.tensors["tokens"].numel() if "tokens" in batch.tensors else len(batch.counts)
        prefix = f"{term.name}_" if term.name else ""
        metrics |= {prefix + name: value / batch.count for name, value in added_up(sums).items()}
    return metrics, tokens
