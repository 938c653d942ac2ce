"""The one training loop: model + batches + loss. Pretraining, rewards, PPO and images all go through `fit`."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from torch import Tensor, nn

from preceptor.data.batches import Batches
from preceptor.learn.checkpoint import keep_for_good, load_checkpoint, save_checkpoint
from preceptor.learn.gradients import Loss, Measured, Term, take_gradients
from preceptor.learn.optimiser import build_optimisers
from preceptor.learn.options import FitOptions
from preceptor.learn.rescue import rescue
from preceptor.learn.schedule import rate_factor
from preceptor.learn.speed import Speed
from preceptor.learn.state import State
from preceptor.learn.track import open_tracker
from preceptor.learn.watch import Signs
from preceptor.models.shards import shard
from preceptor.run.errors import UserError, nearest
from preceptor.run.log import Log
from preceptor.run.progress import Progress

AfterStep = Callable[[int], Mapping[str, float] | None]


def fit(model: nn.Module, batches: Batches, loss: Loss, options: FitOptions, *, folder: Path, log: Log,
        progress: Progress, extra: Sequence[Term] = (), rates: Mapping[str, float] | None = None,
        after_step: AfterStep | None = None, rescues: int = 0) -> dict[str, Tensor] | None:
    """Train `model` in place, one optimiser step a batch, resuming from `folder/checkpoints` where there are any.

    The gradient of one step is that of Σ loss / Σ count over the whole batch, plus weight·Σ/Σ of each extra term,
    whatever the number of micro-batches and of processes. `after_step(number)` runs after each optimiser step and
    before its checkpoint; what it returns is logged. With `rescues` spikes are watched for, and so many of them cured
    (learn/rescue.py). Returns the moving average of the weights when `options.ema` asks for one.

    Raises:
        UserError: the loss or a gradient is not finite, or spikes after the last rescue.
    """
    terms = (Term("", batches, loss, 1.0), *extra)
    shard(model, options.shard)
    state = State(model, build_optimisers(model, options, rates or {}), terms, options)
    total = batches.total
    number = _resume(state, options, folder, rescues)
    model.train()
    speed = Speed(model, options.precision, total - number)
    track = open_tracker(options.track, folder, log.step, number)
    while number < batches.total:  # fewer than planned where the batches end early: the schedule keeps to the plan
        number += 1
        for group in state.groups():
            group["lr"] = group["peak"] * rate_factor(number, total, options)
        measured = take_gradients(model, terms, options, state.scale)
        cause = _cause(state, measured, number, rescues)
        if cause:
            number = rescue(state, options, rescues, folder, number, cause)
            continue
        state.step()
        speed.add(measured.tokens)
        noted = dict(after_step(number) or {}) if after_step else {}
        if noted or number % options.log_every == 0 or number in (1, batches.total):
            scale = {"loss_scale": state.scale.value} if options.precision == "fp16" else {}
            metrics = {**measured.metrics, **scale, "lr": next(state.groups())["lr"], **speed.metrics(), **noted}
            log.write(number, **metrics)
            track(number, metrics)
        progress.total = batches.total
        progress.update(number, f"loss {measured.metrics['loss']:.3f}  {speed.said()}")
        _save(state, options, folder, number, noted, last=number == batches.total)
    assert state.steps == batches.total, "optimiser steps done differ from optimiser steps due"
    return state.average


def _resume(state: State, options: FitOptions, folder: Path, rescues: int) -> int:
    """Restore the newest checkpoint; returns the optimiser steps that it has done."""
    found = load_checkpoint(folder / "checkpoints")
    if found is not None:
        state.restore(found[1])
        return found[0]
    if rescues:  # so that the first spike has something to go back to
        save_checkpoint(folder / "checkpoints", 0, state.capture(), options.keep_last)
    return 0


def _cause(state: State, measured: Measured, number: int, rescues: int) -> str:
    """Why the step must not be taken, in words; empty where it may."""
    if rescues:
        return state.watch.cause(Signs.of(measured))
    if not measured.finite:
        raise UserError(f"The loss or its gradient stopped being a finite number at optimiser step {number}.",
                        "Lower the learning rate, or look at the documents of that batch.")
    return ""


def _save(state: State, options: FitOptions, folder: Path, number: int, noted: Mapping[str, float],
          last: bool) -> None:
    """Write the checkpoints that are due: the newest, and those that stay for good."""
    if options.keep_best and noted and options.keep_best not in noted:
        raise UserError(f"There is no measure '{options.keep_best}' whose best checkpoint could be kept.",
                        nearest(options.keep_best, noted))
    best = noted.get(options.keep_best, state.best) < state.best
    state.best = min(state.best, noted.get(options.keep_best, state.best))
    periodic = options.keep_every > 0 and number % options.keep_every == 0
    if not (last or best or periodic or number % options.checkpoint_every == 0):
        return
    save_checkpoint(folder / "checkpoints", number, state.capture(), options.keep_last)
    if periodic:
        keep_for_good(folder / "checkpoints", number, folder / "kept" / f"step-{number:08d}")
    if best:
        keep_for_good(folder / "checkpoints", number, folder / "kept" / "best")
