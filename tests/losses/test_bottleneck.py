"""Divergences of Gaussians against torch.distributions, and the two bounds on information against the true value."""

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from preceptor.losses.bottleneck import contrast_nats, gaussian_divergence, rate_bound, symmetric_divergence_sum


def draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_divergences_are_those_of_torch() -> None:
    means, deviations = (draw(5, 3, seed=0), draw(5, 3, seed=1)), (draw(5, 3, seed=2).exp(), draw(5, 3, seed=3).exp())
    p, q = (Normal(mean, deviation) for mean, deviation in zip(means, deviations))
    torch.testing.assert_close(gaussian_divergence(means[0], deviations[0], means[1], deviations[1]),
                               kl_divergence(p, q).sum(-1), rtol=1e-12, atol=0)
    both = (kl_divergence(p, q) + kl_divergence(q, p)).sum() / 2
    torch.testing.assert_close(symmetric_divergence_sum(means[0], deviations[0], means[1], deviations[1]), both,
                               rtol=1e-12, atol=0)
    assert symmetric_divergence_sum(means[0], deviations[0], means[0], deviations[0]).item() == pytest.approx(0)


def mixture_information(means_B: Tensor, deviation: float) -> float:
    """I(x; z) in nats for equally likely x and z = N(mean of x, deviation^2), summed on a grid of z."""
    z = torch.linspace(-12, 12, 20_001, dtype=torch.float64)
    p_BZ = Normal(means_B[:, None], deviation).log_prob(z).exp()
    ratio = (p_BZ / p_BZ.mean(0)).clamp(min=1e-300)
    return float((p_BZ * ratio.log()).sum() * (z[1] - z[0])) / len(means_B)


@pytest.mark.parametrize("deviation", [0.3, 1.0, 3.0])
def test_the_rate_is_never_above_its_bound(deviation: float) -> None:
    means = torch.tensor([-3.0, -1.0, 0.5, 4.0], dtype=torch.float64)
    true = mixture_information(means, deviation)
    bound = rate_bound(means[:, None], torch.full((4, 1), deviation, dtype=torch.float64))
    assert true <= bound and true <= math.log(4) + 1e-9
    if deviation == 3.0:    # where the parts run into one another, their sum is nearly the Gaussian of the bound
        assert bound == pytest.approx(true, rel=0.05)


def test_the_rate_of_what_tells_nothing_is_zero() -> None:
    assert rate_bound(torch.ones(7, 4), torch.full((7, 4), 0.5)) == pytest.approx(0, abs=1e-12)


def test_contrast_is_between_none_and_the_log_of_the_pairs() -> None:
    eye = torch.eye(6)
    assert contrast_nats(eye, eye, 100.0) == pytest.approx(0, abs=1e-9)
    assert contrast_nats(eye[:1].expand(6, -1), eye, 0.0) == pytest.approx(math.log(6))
    logits = torch.nn.functional.normalize(draw(6, 3, seed=4), dim=1), torch.nn.functional.normalize(
        draw(6, 3, seed=5), dim=1)
    table = 5 * logits[0] @ logits[1].T
    expected = -(table.log_softmax(1).diagonal().mean() + table.log_softmax(0).diagonal().mean()) / 2
    assert contrast_nats(*logits, 5.0) == pytest.approx(float(expected), rel=1e-12)
