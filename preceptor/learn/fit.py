"""The one training loop: model + batches + loss. Pretraining, rewards, PPO and images all go through `fit`."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from preceptor.data.batches import Batch, Batches
from preceptor.learn.checkpoint import load_checkpoint, random_states, restore_random_states, save_checkpoint
from preceptor.learn.optimiser import build_optimiser
from preceptor.learn.options import FitOptions
from preceptor.learn.schedule import rate_factor
from preceptor.models.recomputation import recomputing
from preceptor.run.errors import UserError
from preceptor.run.log import Log
from preceptor.run.machine import has_bfloat16
from preceptor.run.progress import Progress


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


AfterStep = Callable[[int], Mapping[str, float] | None]


def fit(model: nn.Module, batches: Batches, loss: Loss, options: FitOptions, *, folder: Path, log: Log,
        progress: Progress, extra: Sequence[Term] = (), rates: Mapping[str, float] | None = None,
        after_step: AfterStep | None = None) -> dict[str, Tensor] | None:
    """Train `model` in place, one optimiser step a batch, resuming from `folder/checkpoints` where there are any.

    The gradient of one step is that of Σ loss / Σ count over the whole batch, plus weight·Σ/Σ of each extra term,
    whatever the number of micro-batches. `after_step(number)` runs after each optimiser step and before its
    checkpoint; what it returns is logged. Returns the moving average of the weights when `options.ema` asks for one.

    Raises:
        UserError: the loss or a gradient is not finite.
    """
    terms = (Term("", batches, loss, 1.0), *extra)
    device = str(next(model.parameters()).device)
    optimiser = build_optimiser(model, options, rates or {})
    average = ({name: value.detach().clone() for name, value in model.named_parameters() if value.requires_grad}
               if options.ema else None)
    state = _State(model, optimiser, terms, average)
    total = batches.total
    done = state.resume(folder / "checkpoints")
    model.train()
    started, tokens = time.monotonic(), 0
    number = done
    while number < batches.total:  # fewer than planned where the batches end early: the schedule keeps to the plan
        number += 1
        for group in optimiser.param_groups:
            group["lr"] = group["peak"] * rate_factor(number, total, options)
        metrics, seen = _one_step(model, optimiser, terms, options, device, number)
        tokens += seen
        if average is not None:
            _update_average(average, model, options.ema)
        noted = dict(after_step(number) or {}) if after_step else {}
        if noted or number % options.log_every == 0 or number in (1, batches.total):
            spent = time.monotonic() - started
            log.write(number, **metrics, lr=optimiser.param_groups[0]["lr"], tokens_per_second=tokens / spent, **noted)
        progress.total = batches.total
        progress.update(number, f"loss {metrics['loss']:.3f}")
        if number % options.checkpoint_every == 0 or number == batches.total:
            save_checkpoint(folder / "checkpoints", number, state.capture())
    assert state.optimiser_steps() == batches.total, "optimiser steps done differ from optimiser steps due"
    return average


def _one_step(model: nn.Module, optimiser: torch.optim.Optimizer, terms: Sequence[Term], options: FitOptions,
              device: str, number: int) -> tuple[dict[str, float], int]:
    """One optimiser step; returns its metrics (means over what counts) and the tokens that went through."""
    optimiser.zero_grad(set_to_none=True)
    metrics: dict[str, float] = {}
    tokens = 0
    for term in terms:
        batch = next(term.batches)
        sums: dict[str, float] = {}
        for micro in batch.split(options.micro_batches):
            with autocast(options.precision, device), recomputing(model, options.gradient_checkpointing):
                value, count, extras = term.loss(model, micro.to(device))
            assert count == micro.count, f"the loss counted {count} positions of {micro.count}"
            (value * (term.weight / batch.count)).backward()
            for name, part in {"loss": value, **extras}.items():
                sums[name] = sums.get(name, 0.0) + float(part.detach())
            tokens += micro.tensors["tokens"].numel() if "tokens" in micro.tensors else len(micro.counts)
        prefix = f"{term.name}_" if term.name else ""
        metrics |= {prefix + name: value / batch.count for name, value in sums.items()}
    limit = options.clip_norm or float("inf")
    norm = float(nn.utils.clip_grad_norm_([p for group in optimiser.param_groups for p in group["params"]], limit))
    if not (abs(norm) < float("inf") and abs(metrics["loss"]) < float("inf")):
        raise UserError(f"The loss or its gradient stopped being a finite number at optimiser step {number}.",
                        "Lower the learning rate, or look at the documents of that batch.")
    optimiser.step()
    return {**metrics, "gradient_norm": norm}, tokens


def autocast(precision: str, device: str) -> AbstractContextManager[Any]:
    """The precision in which the loop runs forward passes; what is measured for a loss must be measured in it too."""
    if precision == "bf16" or (precision == "auto" and has_bfloat16()):
        return torch.autocast(torch.device(device).type, torch.bfloat16)
    return nullcontext()


@torch.no_grad()
def _update_average(average: dict[str, Tensor], model: nn.Module, decay: float) -> None:
    for name, value in model.named_parameters():
        if name in average:
            average[name].lerp_(value, 1 - decay)


@dataclass(frozen=True, slots=True)
class _State:
    """What a checkpoint holds, gathered from and handed back to its owners."""

    model: nn.Module
    optimiser: torch.optim.Optimizer
    terms: Sequence[Term]
    average: dict[str, Tensor] | None

    def capture(self) -> dict[str, Any]:
        return {"model": self.model.state_dict(), "optimiser": self.optimiser.state_dict(), "average": self.average,
                "cursors": [term.batches.state() for term in self.terms], "random": random_states()}

    def resume(self, folder: Path) -> int:
        """Restore the newest checkpoint; returns the optimiser steps that it has done."""
        found = load_checkpoint(folder)
        if found is None:
            return 0
        number, state = found
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        for name, value in (self.average or {}).items():
            value.copy_(state["average"][name])
        for term, cursor in zip(self.terms, state["cursors"], strict=True):
            term.batches.restore(cursor)
        restore_random_states(state["random"])
        return number

    def optimiser_steps(self) -> int:
        return max((int(moments["step"]) for moments in self._moments()), default=0)

    def _moments(self) -> Iterator[dict[str, Any]]:
        yield from self.optimiser.state.values()
