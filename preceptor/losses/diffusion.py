"""Denoising diffusion: how a picture becomes noise, what the network learns of it, and one step back.

Legend: B images (any further axes), S steps. kept_S[t] is the share of the picture's variance left after step t: the
alpha-bar of Ho et al. 2020 (arXiv 2006.11239).
"""

import math
from typing import Literal

import torch
from torch import Tensor


def noise_schedule(steps: int = 1000, kind: Literal["linear", "cosine"] = "cosine") -> Tensor:
    """kept_S = prod_{s <= t} (1 - beta_s).

    linear: beta from 1e-4 to 0.02 (Ho et al., section 4), stretched to the number of steps. cosine: cos^2 of
    (t / S + 0.008) / 1.008 * pi / 2, beta at most 0.999 (Nichol and Dhariwal 2021, arXiv 2102.09672, equation 17),
    which leaves small pictures readable for longer.
    """
    if kind == "linear":
        betas = torch.linspace(1e-4, 0.02, steps, dtype=torch.float64) * (1000 / steps)
    else:
        at = (torch.arange(steps + 1, dtype=torch.float64) / steps + 0.008) / 1.008 * math.pi / 2
        betas = 1 - (at[1:].cos() / at[:-1].cos()) ** 2
    return torch.cumprod(1 - betas.clamp(max=0.999), 0).float()


def noised(images: Tensor, noise: Tensor, kept_B: Tensor) -> Tensor:
    """x_t = sqrt(kept) x_0 + sqrt(1 - kept) eps (Ho et al., equation 4)."""
    kept = kept_B.view(-1, *[1] * (images.ndim - 1))
    return kept.sqrt() * images + (1 - kept).sqrt() * noise


def noise_errors(predicted: Tensor, noise: Tensor) -> Tensor:
    """||eps - eps_theta(x_t, t)||^2 of each image, (B,), as the mean over its numbers (Ho et al., equation 14).

    Its sum is the training loss; its mean over steps and noises, negated, stands for log p(x | c) in a diffusion
    classifier (Li et al. 2023, arXiv 2303.16203, equation 6), as long as all classes meet the same steps and noises.
    """
    return ((predicted - noise) ** 2).flatten(1).mean(1)


def drawn_back(noisy: Tensor, predicted: Tensor, kept_B: Tensor, kept_before_B: Tensor) -> Tensor:
    """One step of DDIM without new noise (Song et al. 2021, arXiv 2010.02502, equation 12, sigma = 0).

    x_0 = (x_t - sqrt(1 - kept) eps) / sqrt(kept), clipped to [-1, 1] as pictures are, and noised anew with the eps
    that this x_0 leaves.
    """
    kept, before = (one.view(-1, *[1] * (noisy.ndim - 1)) for one in (kept_B, kept_before_B))
    clean = ((noisy - (1 - kept).sqrt() * predicted) / kept.sqrt()).clamp(-1, 1)
    noise = (noisy - kept.sqrt() * clean) / (1 - kept).sqrt()
    return before.sqrt() * clean + (1 - before).sqrt() * noise


def guided(with_text: Tensor, without: Tensor, guidance: float) -> Tensor:
    """eps = eps(x) + w (eps(x, c) - eps(x)): classifier-free guidance (Ho and Salimans 2022, arXiv 2207.12598), where
    w = 1 is the model itself."""
    return without + guidance * (with_text - without)
