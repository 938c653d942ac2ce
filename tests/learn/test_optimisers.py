"""Every optimiser against an independent oracle over 100 steps; every schedule against its closed form."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from preceptor.data.packing import ramped_rows
from preceptor.learn.optimiser import build_optimisers
from preceptor.learn.options import FitOptions
from preceptor.learn.schedule import rate_factor

SHAPES = {"embedding.weight": (7, 6), "first.weight": (9, 6), "first.bias": (9,), "second.weight": (4, 9)}
Oracle = Callable[[np.ndarray, np.ndarray, dict, float, FitOptions], np.ndarray]


class Network(nn.Module):
    """An embedding, matrices and a bias: what the parameter groups tell apart."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.first, self.second = nn.Embedding(7, 6), nn.Linear(6, 9), nn.Linear(9, 4, bias=False)


def adam_direction(gradient: np.ndarray, state: dict, options: FitOptions) -> np.ndarray:
    """m̂/(√v̂ + ε), Kingma & Ba 2015, algorithm 1."""
    state["t"] = state.get("t", 0) + 1
    state["m"] = options.beta1 * state.get("m", 0) + (1 - options.beta1) * gradient
    state["v"] = options.beta2 * state.get("v", 0) + (1 - options.beta2) * gradient ** 2
    mean, square = state["m"] / (1 - options.beta1 ** state["t"]), state["v"] / (1 - options.beta2 ** state["t"])
    return mean / (np.sqrt(square) + options.epsilon)


def adamw(weight, gradient, state, decay, options):
    return weight * (1 - options.learning_rate * decay) - options.learning_rate * adam_direction(gradient, state,
                                                                                                options)


def adam(weight, gradient, state, decay, options):
    return weight - options.learning_rate * adam_direction(gradient + decay * weight, state, options)


def sgd(weight, gradient, state, decay, options):
    state["v"] = options.momentum * state.get("v", 0) + gradient + decay * weight
    return weight - options.learning_rate * state["v"]


def lamb(weight, gradient, state, decay, options):
    update = adam_direction(gradient, state, options) + decay * weight
    length, reach = math.sqrt((weight ** 2).sum()), math.sqrt((update ** 2).sum())
    return weight - options.learning_rate * (length / reach if length and reach else 1.0) * update


def lars(weight, gradient, state, decay, options):
    length, slope = math.sqrt((weight ** 2).sum()), math.sqrt((gradient ** 2).sum())
    rate = options.trust * length / (slope + decay * length) if length else 1.0
    state["v"] = options.momentum * state.get("v", 0) + options.learning_rate * rate * (gradient + decay * weight)
    return weight - state["v"]


def muon(weight, gradient, state, decay, options):
    """Jordan 2024 (kellerjordan.github.io/posts/muon): Nesterov momentum, then five Newton–Schulz steps."""
    state["v"] = options.momentum * state.get("v", 0) + (1 - options.momentum) * gradient
    direction = (1 - options.momentum) * gradient + options.momentum * state["v"]
    tall = direction.shape[0] > direction.shape[1]
    wide = direction.T if tall else direction
    wide = wide / math.sqrt((wide ** 2).sum())
    for _ in range(5):
        square = wide @ wide.T
        wide = 3.4445 * wide + (-4.7750 * square + 2.0315 * square @ square) @ wide
    rate = options.learning_rate * 0.2 * math.sqrt(max(weight.shape))
    return weight * (1 - options.learning_rate * decay) - rate * (wide.T if tall else wide)


ORACLES: dict[str, tuple[Oracle, Oracle, float, float]] = {  # of matrices, of the rest, learning rate, tolerance
    "adamw": (adamw, adamw, 1e-2, 1e-5), "adam": (adam, adam, 1e-2, 1e-5), "sgd": (sgd, sgd, 1e-2, 1e-5),
    "lamb": (lamb, lamb, 1e-2, 1e-5), "lars": (lars, lars, 1.0, 1e-5),
    "muon": (muon, adamw, 1e-3, 2e-3),  # PyTorch's Newton–Schulz runs in bfloat16
}


@pytest.mark.parametrize("name", ORACLES)
def test_an_optimiser_matches_its_oracle_over_100_steps(name: str) -> None:
    of_matrices, of_others, rate, tolerance = ORACLES[name]
    options = FitOptions(optimiser=name, learning_rate=rate)
    torch.manual_seed(0)
    model = Network()
    weights = {key: value.detach().double().numpy().copy() for key, value in model.named_parameters()}
    states: dict[str, dict] = {key: {} for key in weights}
    optimisers = build_optimisers(model, options, {})
    draw = torch.Generator().manual_seed(1)
    for _ in range(100):
        for key, parameter in model.named_parameters():
            # a gradient that pulls towards a drawn target, so that the weights go somewhere and the ratios change
            parameter.grad = parameter.detach() - 0.5 + torch.randn(SHAPES[key], generator=draw)
            matrix = key in ("first.weight", "second.weight")
            rule = of_matrices if matrix else of_others
            weights[key] = rule(weights[key], parameter.grad.double().numpy(), states[key], 0.1 if matrix else 0.0,
                                options)
        for optimiser in optimisers:
            optimiser.step()
    for key, parameter in model.named_parameters():
        np.testing.assert_allclose(parameter.detach().numpy(), weights[key], atol=tolerance, rtol=0)


@pytest.mark.parametrize("name", ["lamb", "lars"])
def test_zero_weights_still_learn(name: str) -> None:
    model = Network()
    nn.init.zeros_(model.first.bias)
    [optimiser] = build_optimisers(model, FitOptions(optimiser=name, learning_rate=0.1), {})
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimiser.step()
    torch.testing.assert_close(model.first.bias.detach(), torch.full((9,), -0.1))


CLOSED = {
    "cosine": lambda p: 0.1 + 0.9 * (1 + math.cos(math.pi * p)) / 2,
    "linear": lambda p: 1 - 0.9 * p,
    "polynomial": lambda p: 0.1 + 0.9 * (1 - p) ** 3,
    "wsd": lambda p: 1.0 if p <= 70 / 90 else 0.1 + 0.9 * (1 - math.sqrt((90 * p - 70) / 20)),
    "constant": lambda p: 1.0,
}


@pytest.mark.parametrize("schedule", CLOSED)
def test_a_schedule_has_its_closed_form_at_every_step(schedule: str) -> None:
    options = FitOptions(schedule=schedule, warmup=0.1, power=3.0)
    for number in range(1, 101):
        expected = number / 10 if number <= 10 else CLOSED[schedule]((number - 10) / 90)
        assert rate_factor(number, 100, options) == pytest.approx(expected, abs=1e-7), number


def test_the_batch_grows_linearly_and_stays() -> None:
    assert [ramped_rows(number, 9, 4) for number in range(7)] == [1, 3, 5, 7, 9, 9, 9]
    assert [ramped_rows(number, 9, 0) for number in range(2)] == [9, 9]
