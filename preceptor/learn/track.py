"""Trackers: where metrics go beside the run's own log. None of them asks anything of the person who waits.

    tensorboard    event files in the step's tensorboard/, for `tensorboard --logdir RUN`
    wandb          Weights & Biases; without WANDB_API_KEY it writes offline files, and never asks for a login
    module:name    your own `name(folder, step, first)`, which returns a function of (position, metrics)
"""

import os
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from preceptor.run.errors import UserError
from preceptor.run.processes import leads

Tracker = Callable[[int, Mapping[str, Any]], None]


def open_tracker(name: str, folder: Path, step: str, first: int) -> Tracker:
    """The tracker of that name for a step that goes on after position `first`; for "" one that does nothing.

    Raises:
        UserError: it is not installed, or there is none of that name.
    """
    if not name or not leads():
        return lambda at, metrics: None
    try:
        if name in KNOWN:
            return KNOWN[name](folder, step, first)
        module, _, function = name.partition(":")
        return getattr(import_module(module), function)(folder, step, first)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f"The tracker '{name}' cannot be used: {error}.",
                        f"Install it (pip install 'preceptor[tensorboard]', pip install wandb), choose one of "
                        f"{', '.join(KNOWN)}, or write your own as package.module:function.") from None


def tensorboard(folder: Path, step: str, first: int) -> Tracker:
    """Writes scalars; what a killed attempt wrote behind its last checkpoint is purged."""
    from torch.utils.tensorboard import SummaryWriter
    writer = SummaryWriter(str(folder / "tensorboard"), purge_step=first + 1)

    def track(at: int, metrics: Mapping[str, Any]) -> None:
        for name, value in metrics.items():
            if isinstance(value, (int, float)):
                writer.add_scalar(f"{step}/{name}", value, at)
        writer.flush()

    return track


def wandb(folder: Path, step: str, first: int) -> Tracker:
    """Logs to Weights & Biases under the step's name; one run a step, gone on with after a kill."""
    import wandb as service
    mode = os.environ.get("WANDB_MODE") or ("online" if os.environ.get("WANDB_API_KEY") else "offline")
    run = service.init(project="preceptor", name=step, id=f"{folder.parent.name}-{folder.name}", resume="allow",
                       mode=mode, dir=str(folder))
    return lambda at, metrics: run.log(dict(metrics), step=at)


KNOWN: dict[str, Callable[[Path, str, int], Tracker]] = {"tensorboard": tensorboard, "wandb": wandb}
