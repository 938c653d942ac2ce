"""What a checkpoint holds, gathered from and handed back to its owners."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn

from preceptor.learn.checkpoint import random_states, restore_random_states
from preceptor.learn.gradients import Term
from preceptor.learn.options import FitOptions
from preceptor.learn.precision import LossScale
from preceptor.learn.watch import Watch
from preceptor.models.shards import like, whole


class State:
    """Model, optimisers, moving average, loss scale, the watch over spikes, the rescues so far, the best score so far.

    What is captured is whole, whatever the number of processes, so that a run may go on with another number of them.
    """

    def __init__(self, model: nn.Module, optimisers: Sequence[torch.optim.Optimizer], terms: Sequence[Term],
                 options: FitOptions) -> None:
        self.model, self.optimisers, self.terms, self.decay = model, optimisers, terms, options.ema
        self.names = {parameter: name for name, parameter in model.named_parameters()}
        self.average = ({name: value.detach().clone() for name, value in model.named_parameters()
                         if value.requires_grad} if options.ema else None)
        self.scale, self.watch = LossScale.of(options.precision), Watch()
        self.rescues: list[dict[str, Any]] = []
        self.best = float("inf")
        self.steps = 0
        """Steps that the optimiser itself has heard of."""
        optimisers[0].register_step_post_hook(self._count)

    def _count(self, *heard: Any) -> None:
        self.steps += 1

    def groups(self) -> Iterator[dict[str, Any]]:
        for optimiser in self.optimisers:
            yield from optimiser.param_groups

    @torch.no_grad()
    def step(self) -> None:
        """Let the optimisers step on the gradients that are there, and the average follow."""
        for optimiser in self.optimisers:
            optimiser.step()
        self.scale.step()
        for name, value in self.model.named_parameters() if self.average else ():
            if name in self.average:
                self.average[name].lerp_(value, 1 - self.decay)

    def capture(self) -> dict[str, Any]:
        average = self.average and {name: whole(value) for name, value in self.average.items()}
        return {"model": {name: whole(value) for name, value in self.model.state_dict().items()},
                "optimisers": [_gathered(optimiser, self.names) for optimiser in self.optimisers],
                "average": average, "cursors": [term.batches.state() for term in self.terms],
                "random": random_states(), "scale": [self.scale.value, self.scale.calm], "watch": self.watch.state(),
                "rescues": self.rescues, "best": self.best, "steps": self.steps}

    def restore(self, state: dict[str, Any]) -> None:
        own = self.model.state_dict()
        self.model.load_state_dict({name: like(value, own[name]) for name, value in state["model"].items()})
        for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
            _hand_back(optimiser, saved, self.names)
        for name, value in (self.average or {}).items():
            value.copy_(like(state["average"][name], value))
        for term, cursor in zip(self.terms, state["cursors"], strict=True):
            term.batches.restore(cursor)
        restore_random_states(state["random"])
        self.scale = LossScale(*state["scale"])
        self.watch.restore(state["watch"])
        self.rescues, self.best, self.steps = list(state["rescues"]), state["best"], state["steps"]


def _gathered(optimiser: torch.optim.Optimizer, names: dict[nn.Parameter, str]) -> dict[str, dict[str, Any]]:
    """The optimiser's moments by the names of the weights, so that its groups may be cut otherwise; whole tensors."""
    return {names[parameter]: {name: whole(value) for name, value in moments.items()}
            for parameter, moments in optimiser.state.items()}


def _hand_back(optimiser: torch.optim.Optimizer, saved: dict[str, dict[str, Any]],
               names: dict[nn.Parameter, str]) -> None:
    """Load what `_gathered` gave; where the weights are sharded, this process keeps its share."""
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    moments = {number: saved[names[parameter]] for number, parameter in enumerate(parameters)
               if names[parameter] in saved}
    optimiser.load_state_dict({"state": moments, "param_groups": optimiser.state_dict()["param_groups"]})
    for parameter, loaded in optimiser.state.items():
        optimiser.state[parameter] = {name: like(value, parameter) for name, value in loaded.items()}
