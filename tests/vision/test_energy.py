"""The energy stage: its density is normalised, its four objectives come near it, and it goes through the one loop."""

import math
from pathlib import Path

import pytest
import torch

from preceptor.models.energy import EnergyNetwork, Mixture
from preceptor.run.files import read_json
from preceptor.vision.energy import DrawnPoints, log_round, measures
from preceptor.vision.generative_options import EnergyOptions
from tests.vision.conftest import run_stage


class Exact(EnergyNetwork):
    """The energy of the truth itself, less a constant."""

    def forward(self, points: torch.Tensor) -> torch.Tensor:
        return 1.7 - Mixture().log_prob(points)


def test_the_truth_is_normalised_and_measured_as_such() -> None:
    found = measures(Exact(2), Mixture())
    assert found["kl"] == pytest.approx(0, abs=1e-4) and found["log_z"] == pytest.approx(-1.7, abs=1e-4)
    blurred = measures(Exact(2), Mixture(blur=0.5))      # KL of a broader density is not zero
    assert blurred["kl"] > 0.1
    assert log_round(torch.zeros(1, 2), 2.0).item() == pytest.approx(-math.log(8 * math.pi))
    draw = torch.Generator().manual_seed(0)
    points = Mixture().draw(20_000, draw)
    assert points.mean(0).tolist() == pytest.approx([-0.45, -0.2], abs=0.05)
    assert Mixture().log_prob(points).mean().item() == pytest.approx(-entropy(), abs=0.03)


def entropy() -> float:
    side = torch.linspace(-6, 6, 400)
    logs = Mixture().log_prob(torch.cartesian_prod(side, side))
    return -float((logs.exp() * logs).sum()) * (12 / 399) ** 2


def test_batches_are_a_function_of_seed_and_number() -> None:
    first, again = DrawnPoints(EnergyOptions(steps=3, points=4), 1), DrawnPoints(EnergyOptions(steps=3, points=4), 1)
    next(first)
    again.restore(first.state())
    assert torch.equal(next(first)["noise"], next(again)["noise"])
    assert not torch.equal(next(first)["data"], next(DrawnPoints(EnergyOptions(steps=3, points=4), 2))["data"])


@pytest.mark.parametrize("objective", ["noise_contrast", "ranking", "denoising", "contrastive_divergence"])
def test_each_objective_comes_near_the_density(objective: str, tmp_path: Path) -> None:
    start = measures(EnergyNetwork(2, 32), Mixture())["kl"]
    folder = run_stage("energy", tmp_path / objective, objective=objective, steps=250, points=128, width=32,
                       learning_rate=1e-2, langevin_steps=10)
    found = read_json(folder / "energy.json")
    assert found["kl"] < 0.4 < 1 < start
    if objective == "noise_contrast":
        assert found["log_z_learned"] == pytest.approx(found["log_z"], abs=0.4)
    else:
        assert found["log_z_learned"] == 0
