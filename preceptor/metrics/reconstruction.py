"""How much of a picture an image tokenizer keeps, and how much of its codebook it uses.

Legend: B images of C channels, H by W pixels with values in [0, 1]; V codes.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


def psnr(predicted_BCHW: Tensor, images_BCHW: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of each image in decibel, (B,): 10 log10 (1 / mean squared error); a perfect copy is
    infinite."""
    errors_B = ((predicted_BCHW - images_BCHW) ** 2).flatten(1).mean(1)
    return -10 * errors_B.log10()


def ssim(predicted_BCHW: Tensor, images_BCHW: Tensor) -> Tensor:
    """Structural similarity of each image, (B,), 1 for a perfect copy (Wang et al. 2004, equation 13).

        (2 m_x m_y + C1) (2 s_xy + C2) / ((m_x^2 + m_y^2 + C1) (s_x^2 + s_y^2 + C2))

    m and s are means and (co)variances in a Gaussian window of 11 pixels and sigma 1.5, C1 = 0.01^2, C2 = 0.03^2; the
    mean is over channels and over the windows that lie wholly inside, as the authors' code does.

    Raises:
        ValueError: the images are smaller than the window.
    """
    if min(images_BCHW.shape[2:]) < 11:
        raise ValueError(f"SSIM needs images of 11 pixels or more, not {tuple(images_BCHW.shape[2:])}")
    x, y = predicted_BCHW.double(), images_BCHW.double()
    mean_x, mean_y, square_x, square_y, product = map(_blurred, (x, y, x * x, y * y, x * y))
    variances = square_x - mean_x**2 + square_y - mean_y**2
    covariance = product - mean_x * mean_y
    alike = ((2 * mean_x * mean_y + 0.01**2) * (2 * covariance + 0.03**2)
             / ((mean_x**2 + mean_y**2 + 0.01**2) * (variances + 0.03**2)))
    return alike.flatten(1).mean(1)


def _blurred(images_BCHW: Tensor) -> Tensor:
    """Weighted means over a Gaussian window, along the rows and then along the columns."""
    at = torch.arange(11, dtype=images_BCHW.dtype, device=images_BCHW.device) - 5
    window = torch.exp(-at**2 / (2 * 1.5**2))
    window = window / window.sum()
    channels = images_BCHW.shape[1]
    rows = F.conv2d(images_BCHW, window.view(1, 1, 1, 11).expand(channels, -1, -1, -1), groups=channels)
    return F.conv2d(rows, window.view(1, 1, 11, 1).expand(channels, -1, -1, -1), groups=channels)


@dataclass(frozen=True, slots=True)
class CodeUse:
    """`used` is the share of the codebook that occurs at all; `perplexity` is exp of the entropy of the codes'
    frequencies: as many codes, used alike, would tell as much."""

    used: float
    perplexity: float


def code_use(codes: Tensor, codebook: int) -> CodeUse:
    """Of codes in [0, `codebook`), of any shape."""
    shares_V = torch.bincount(codes.flatten(), minlength=codebook).double() / codes.numel()
    entropy = -torch.special.xlogy(shares_V, shares_V).sum()
    return CodeUse(float((shares_V > 0).double().mean()), float(entropy.exp()))
