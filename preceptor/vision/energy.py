"""The stage `energy`: an energy learns a density in the plane whose normaliser is known, by one of four losses.

What all contrastive systems rest on, small enough to check: p(x) = exp(-E(x)) / Z is compared with the true density on
a grid, where Z can be summed.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from preceptor.data.batches import Batch
from preceptor.learn.fit import fit
from preceptor.learn.gradients import Loss
from preceptor.losses.energy import contrastive_divergence_sum, denoising_sum, noise_contrastive_sum, ranking_sum
from preceptor.models.energy import EnergyNetwork, Mixture, langevin
from preceptor.run.files import write_json
from preceptor.run.step import Step
from preceptor.vision.generative_options import EnergyOptions

EXTENT, CELLS = 8.0, 200    # half the side of the grid, and how many cells a side has


def run(step: Step) -> None:
    """Write energy.json, the measures, and network.safetensors."""
    from safetensors.torch import save_file
    options: EnergyOptions = step.options
    torch.manual_seed(step.seed)
    network = EnergyNetwork(2, options.width)
    fit(network, DrawnPoints(options, step.seed), loss_of(options), options, folder=step.folder, log=step.log,
        progress=step.progress(options.steps))
    measured = measures(network, Mixture(options.sigma if options.objective == "denoising" else 0.0))
    save_file(dict(network.state_dict()), step.folder / "network.safetensors")
    write_json(step.folder / "energy.json", {"objective": options.objective, **measured})
    step.say(", ".join(f"{name} {value:.3f}" for name, value in measured.items()))


class DrawnPoints:
    """Batches `data` (N, 2), `noise` (N, K, 2) and `blur` (N, 2), each drawn from (seed, number)."""

    def __init__(self, options: EnergyOptions, seed: int) -> None:
        self.options, self.seed, self.total, self.number = options, seed, options.steps, 0

    def __next__(self) -> Batch:
        options = self.options
        draw = torch.Generator().manual_seed(self.seed * 1_000_003 + self.number)
        self.number += 1
        tensors = {"data": Mixture().draw(options.points, draw),
                   "noise": options.noise_deviation * torch.randn(options.points, options.noise_draws, 2,
                                                                  generator=draw),
                   "blur": torch.randn(options.points, 2, generator=draw)}
        return Batch(tensors, [1] * options.points, [[]] * options.points)

    def state(self) -> dict[str, Any]:
        return {"number": self.number}

    def restore(self, state: dict[str, Any]) -> None:
        self.number = state["number"]

    def skip(self, span: range) -> None:
        self.number = max(self.number, span.stop)


def loss_of(options: EnergyOptions) -> Loss:
    """The objective as a sum over the points of the data, for the loop."""
    def loss(model: nn.Module, batch: Batch) -> tuple[Tensor, int, dict[str, Tensor]]:
        data_N2, noise_NK2 = batch["data"], batch["noise"]
        if options.objective == "denoising":
            return denoising_sum(model, data_N2, batch["blur"], options.sigma), batch.count, {}
        of_data_N = model(data_N2)
        if options.objective == "contrastive_divergence":
            samples_N2 = langevin(model, data_N2, options.langevin_steps, options.langevin_size)
            return contrastive_divergence_sum(of_data_N, model(samples_N2), options.restraint), batch.count, {}
        of_noise_NK = model(noise_NK2.flatten(0, 1)).view(noise_NK2.shape[:2])
        q_data_N, q_noise_NK = (log_round(points, options.noise_deviation) for points in (data_N2, noise_NK2))
        if options.objective == "ranking":
            scores_N1K = torch.cat([(-of_data_N - q_data_N)[:, None], -of_noise_NK - q_noise_NK], 1)
            return ranking_sum(scores_N1K), batch.count, {}
        return noise_contrastive_sum(-of_data_N - model.log_normaliser, q_data_N, -of_noise_NK - model.log_normaliser,
                                     q_noise_NK), batch.count, {}

    return loss


def log_round(points: Tensor, deviation: float) -> Tensor:
    """log density of a round Gaussian about the origin of the plane."""
    return -(points**2).sum(-1) / (2 * deviation**2) - math.log(2 * math.pi * deviation**2)


@torch.no_grad()
def measures(network: EnergyNetwork, truth: Mixture) -> dict[str, float]:
    """`kl`: KL(true density || model) in nats; `log_z`: log of the model's normaliser, both summed on a grid;
    `log_z_learned`: what noise contrast says of it (0 for the others, which say nothing)."""
    side = (torch.arange(CELLS) + 0.5) * (2 * EXTENT / CELLS) - EXTENT
    points_N2 = torch.cartesian_prod(side, side)
    area = (2 * EXTENT / CELLS) ** 2
    log_unnormalised_N, true_N = -network(points_N2), truth.log_prob(points_N2)
    log_z = float(log_unnormalised_N.logsumexp(0)) + math.log(area)
    kl = float((true_N.exp() * (true_N - log_unnormalised_N + log_z)).sum() * area)
    return {"kl": kl, "log_z": log_z, "log_z_learned": float(network.log_normaliser)}
