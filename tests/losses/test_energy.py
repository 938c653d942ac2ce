"""Energy-based losses on densities whose normaliser is known, in one dimension and by brute force."""

import math

import pytest
import torch
from torch import Tensor

from preceptor.losses.energy import contrastive_divergence_sum, denoising_sum, noise_contrastive_sum, ranking_sum
from preceptor.models.energy import langevin

MEAN, DEVIATION = 0.7, 0.6                      # of the data, a Gaussian
LOG_Z = 0.5 * math.log(2 * math.pi * DEVIATION**2)


def normal(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def log_normal(points: Tensor, deviation: float) -> Tensor:
    return -points**2 / (2 * deviation**2) - 0.5 * math.log(2 * math.pi * deviation**2)


class Bowl(torch.nn.Module):
    """E(x) = (x - m)^2 exp(-2 s) / 2 with log Z as a weight of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.m, self.s, self.log_z = (torch.nn.Parameter(torch.zeros((), dtype=torch.float64)) for _ in range(3))

    def forward(self, points: Tensor) -> Tensor:
        return ((points - self.m) ** 2).sum(-1) * torch.exp(-2 * self.s) / 2


def learn(loss: str, steps: int = 200, points: int = 300) -> Bowl:
    model, generator = Bowl(), torch.Generator().manual_seed(0)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        data = MEAN + DEVIATION * normal(generator, points, 1)
        noise = 1.5 * normal(generator, points, 4, 1)
        of_data, of_noise = model(data), model(noise)
        if loss == "noise contrast":
            value = noise_contrastive_sum(-of_data - model.log_z, log_normal(data[:, 0], 1.5),
                                          -of_noise - model.log_z, log_normal(noise[..., 0], 1.5))
        elif loss == "ranking":
            both, where = torch.cat([of_data[:, None], of_noise], 1), torch.cat([data[:, None], noise], 1)[..., 0]
            value = ranking_sum(-both - log_normal(where, 1.5))
        elif loss == "denoising":
            value = denoising_sum(model, data, normal(generator, points, 1), sigma=0.3)
        else:
            samples = langevin(model, data, 8, 0.3, generator)
            value = contrastive_divergence_sum(of_data, model(samples))
        optimiser.zero_grad()
        (value / points).backward()
        optimiser.step()
        schedule.step()
    return model


@pytest.mark.parametrize("loss, deviation", [("noise contrast", DEVIATION), ("ranking", DEVIATION),
                                             ("denoising", math.hypot(DEVIATION, 0.3)),
                                             ("contrastive divergence", DEVIATION)])
def test_each_finds_the_density(loss: str, deviation: float) -> None:
    """Denoising finds that of the blurred data, as it must."""
    model = learn(loss)
    assert model.m.item() == pytest.approx(MEAN, abs=0.05)
    assert model.s.exp().item() == pytest.approx(deviation, rel=0.06)
    if loss == "noise contrast":
        assert model.log_z.item() == pytest.approx(LOG_Z, abs=0.05)
    else:
        assert model.log_z.item() == 0      # the others say nothing about it


def test_noise_contrast_is_the_cross_entropy_of_telling_data_from_noise() -> None:
    generator = torch.Generator().manual_seed(1)
    of_data, q_data, of_noise, q_noise = (normal(generator, *shape) for shape in ((5,), (5,), (5, 3), (5, 3)))

    def data_share(model: float, noise: float) -> float:
        return math.exp(model) / (math.exp(model) + 3 * math.exp(noise))    # three draws of noise for one of data

    expected = 0.0
    for n in range(5):
        expected -= math.log(data_share(of_data[n].item(), q_data[n].item()))
        expected -= sum(math.log(1 - data_share(of_noise[n, k].item(), q_noise[n, k].item())) for k in range(3))
    assert noise_contrastive_sum(of_data, q_data, of_noise, q_noise).item() == pytest.approx(expected, rel=1e-12)


def test_ranking_bounds_the_mutual_information_of_two_gaussians() -> None:
    """I = -1/2 log(1 - rho^2); log K less the loss comes close from below and can never pass log K."""
    generator, rho, count = torch.Generator().manual_seed(2), 0.8, 512
    x = normal(generator, count)
    y = rho * x + math.sqrt(1 - rho**2) * normal(generator, count)
    variance = 1 - rho**2
    ratios = -(y[None] - rho * x[:, None]) ** 2 / (2 * variance) + y[None] ** 2 / 2    # log p(y | x) / p(y) + constant
    own = ratios.diagonal()[:, None]
    others = ratios[~torch.eye(count, dtype=torch.bool)].view(count, count - 1)
    bound = math.log(count) - ranking_sum(torch.cat([own, others], 1)).item() / count
    assert bound == pytest.approx(-0.5 * math.log(variance), abs=0.08)
    assert math.log(count) - ranking_sum(torch.cat([own + 1e3, others], 1)).item() / count == pytest.approx(
        math.log(count))


def test_denoising_is_least_at_the_score_of_the_blurred_data_and_langevin_draws_from_the_energy() -> None:
    generator = torch.Generator().manual_seed(3)
    data, noise = normal(generator, 4000, 1), normal(generator, 4000, 1)
    losses = {width: denoising_sum(lambda x, w=width: (x**2).sum(1) / (2 * w), data, noise, 0.5).item()
              for width in (0.9, 1.25, 1.7)}        # 1 + 0.5^2 is the variance of the blurred data
    assert min(losses, key=losses.get) == 1.25
    start = torch.zeros(4000, 1, dtype=torch.float64)
    samples = langevin(lambda x: ((x - 2) ** 2).sum(1) / (2 * 0.25), start, 300, 0.15, generator)
    assert samples.mean().item() == pytest.approx(2, abs=0.04) and samples.var().item() == pytest.approx(0.25, abs=0.03)
