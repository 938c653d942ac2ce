"""PSNR, SSIM and the use of a codebook, against plain loops and closed forms."""

import math

import pytest
import torch

from preceptor.metrics.reconstruction import code_use, psnr, ssim


def pictures(seed: int) -> torch.Tensor:
    return torch.rand((2, 3, 14, 13), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_psnr_counts_decibels_of_the_error() -> None:
    images = pictures(0)
    assert psnr(images + 0.1, images).tolist() == pytest.approx([20.0, 20.0])
    assert psnr(images + torch.tensor([0.1, 0.01])[:, None, None, None], images).tolist() == pytest.approx([20.0, 40.0])
    assert psnr(images, images).isinf().all()


def slow_ssim(x: torch.Tensor, y: torch.Tensor) -> float:
    """One channel, window by window, with weighted moments written out."""
    weights = torch.tensor([[math.exp(-((i - 5) ** 2 + (j - 5) ** 2) / (2 * 1.5**2)) for j in range(11)]
                            for i in range(11)], dtype=torch.float64)
    weights /= weights.sum()
    found = []
    for top in range(x.shape[0] - 10):
        for left in range(x.shape[1] - 10):
            a, b = (one[top:top + 11, left:left + 11] for one in (x, y))
            mean_a, mean_b = (weights * a).sum(), (weights * b).sum()
            var_a, var_b = (weights * (a - mean_a) ** 2).sum(), (weights * (b - mean_b) ** 2).sum()
            both = (weights * (a - mean_a) * (b - mean_b)).sum()
            found.append((2 * mean_a * mean_b + 1e-4) * (2 * both + 9e-4)
                         / ((mean_a**2 + mean_b**2 + 1e-4) * (var_a + var_b + 9e-4)))
    return torch.stack(found).mean().item()


def test_ssim_equals_a_plain_loop() -> None:
    one, other = pictures(0), pictures(1)
    other[0] = 0.8 * one[0] + 0.2 * other[0]
    expected = [sum(slow_ssim(one[n, c], other[n, c]) for c in range(3)) / 3 for n in range(2)]
    assert ssim(one, other).tolist() == pytest.approx(expected, rel=1e-9)
    assert expected[0] > 0.8 > expected[1]
    assert ssim(one, one).tolist() == pytest.approx([1, 1])
    with pytest.raises(ValueError, match="11 pixels"):
        ssim(one[..., :9], other[..., :9])


def test_use_of_a_codebook() -> None:
    even = code_use(torch.tensor([[0, 1], [2, 3]]), 8)
    assert even.used == 0.5 and even.perplexity == pytest.approx(4)
    uneven = code_use(torch.tensor([0, 0, 0, 5]), 8)
    assert uneven.used == 0.25
    assert uneven.perplexity == pytest.approx(math.exp(-0.75 * math.log(0.75) - 0.25 * math.log(0.25)))
