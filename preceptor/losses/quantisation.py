"""What teaches an autoencoder with a codebook: pixels, codes, and the gradient that passes through the choice.

Legend: B images, T places, D dimensions of a code; C, H, W channels, height and width. Every sum is over images, of
the mean within one image, so that dividing by the number of images gives the mean of the papers.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def straight_through(states: Tensor, codes: Tensor) -> Tensor:
    """z + sg[e - z]: the value of the codes with the gradient of the states (Bengio et al. 2013, arXiv 1308.3432)."""
    return states + (codes - states).detach()


def codebook_sum(states_BTD: Tensor, codes_BTD: Tensor, beta: float = 0.25, learn_codes: bool = True) -> Tensor:
    """||sg[z] - e||^2 + beta ||z - sg[e]||^2 (van den Oord et al. 2017, arXiv 1711.00937, equation 3).

    The first term moves the codes to the states, the second commits the encoder to its codes: `beta` weighs the
    second. Widely copied code has it on the first, which slows down the codebook instead. Without `learn_codes` only
    the second is left, for a codebook that is a moving average (appendix A.1).
    """
    commitment = beta * F.mse_loss(states_BTD, codes_BTD.detach(), reduction="none")
    codebook = F.mse_loss(codes_BTD, states_BTD.detach(), reduction="none") if learn_codes else 0.0
    return _mean_of_each(commitment + codebook).sum()


def squared_error_sum(predicted_BCHW: Tensor, images_BCHW: Tensor) -> Tensor:
    """sum over images of mean (x - x^)^2; features of images as well (a perceptual distance)."""
    return _mean_of_each((predicted_BCHW - images_BCHW) ** 2).sum()


def logit_laplace_sum(location_BCHW: Tensor, images_BCHW: Tensor, log_scale: Tensor | float = 0.0,
                      margin: float = 0.1) -> Tensor:
    """-log of the logit-Laplace density (Ramesh et al. 2021, arXiv 2102.12092, appendix A.3, equation 2).

        p(y) = exp(-|logit y - mu| / b) / (2 b y (1 - y)),    y = (1 - 2 margin) x + margin

    of pixels x in [0, 1]: unlike a Gaussian it gives no probability outside of them. `location` is mu, `log_scale`
    ln b. A picture is drawn back as (sigmoid(mu) - margin) / (1 - 2 margin).
    """
    inner = (1 - 2 * margin) * images_BCHW + margin
    log_scale = torch.as_tensor(log_scale, dtype=location_BCHW.dtype, device=location_BCHW.device)
    distance = (inner.logit() - location_BCHW).abs() * torch.exp(-log_scale)
    return _mean_of_each(distance + log_scale + math.log(2) + torch.log(inner * (1 - inner))).sum()


def _mean_of_each(values: Tensor) -> Tensor:
    return values.flatten(1).mean(1)
