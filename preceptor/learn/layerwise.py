"""LARS and LAMB: optimisers that set the length of each tensor's step in proportion to the tensor.

They are for very large batches, where one learning rate is too much for some layers and too little for others.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor


class Lars(torch.optim.Optimizer):
    """LARS (You, Gitman & Ginsburg 2017, arXiv 1708.03888, algorithm 1). For each tensor w with gradient g

        λ = trust·‖w‖ / (‖g‖ + β‖w‖),  v ← m·v + γ·λ·(g + β·w),  w ← w − v

    with learning rate γ, momentum m and weight decay β; λ = 1 where w or its direction is zero.
    """

    def __init__(self, params: Iterable[Any], lr: float, momentum: float, weight_decay: float, trust: float) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "trust": trust})

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if not state:
                    state["velocity"] = torch.zeros_like(weight)
                length, slope = weight.norm(), weight.grad.norm()
                bottom = slope + group["weight_decay"] * length
                scale = torch.where((length > 0) & (bottom > 0), group["trust"] * length / bottom, 1.0)
                direction = weight.grad + group["weight_decay"] * weight
                state["velocity"].mul_(group["momentum"]).add_(direction * (group["lr"] * scale))
                weight.sub_(state["velocity"])


class Lamb(torch.optim.Optimizer):
    """LAMB (You et al. 2020, arXiv 1904.00962, algorithm 2, with φ the identity). For each tensor w with gradient g

        u = m̂ / (√v̂ + ε) + λ·w,  w ← w − η·(‖w‖/‖u‖)·u

    with Adam's bias-corrected moments m̂ and v̂, learning rate η and weight decay λ; the ratio is 1 where w or u is zero.
    """

    def __init__(self, params: Iterable[Any], lr: float, betas: tuple[float, float], eps: float,
                 weight_decay: float) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    update = self._update(weight, group)
                    length, reach = weight.norm(), update.norm()
                    ratio = torch.where((length > 0) & (reach > 0), length / reach, 1.0)
                    weight.sub_(update * (group["lr"] * ratio))

    def _update(self, weight: Tensor, group: dict[str, Any]) -> Tensor:
        state, (beta1, beta2) = self.state[weight], group["betas"]
        if not state:
            state |= {"step": torch.tensor(0.0), "mean": torch.zeros_like(weight), "square": torch.zeros_like(weight)}
        state["step"] += 1
        number = float(state["step"])
        state["mean"].lerp_(weight.grad, 1 - beta1)
        state["square"].mul_(beta2).addcmul_(weight.grad, weight.grad, value=1 - beta2)
        root = (state["square"] / (1 - beta2 ** number)).sqrt()
        return state["mean"] / (1 - beta1 ** number) / (root + group["eps"]) + group["weight_decay"] * weight
