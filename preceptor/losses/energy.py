"""Four ways to learn a density that is known up to its normaliser: p(x) = exp(-E(x)) / Z.

Legend: N points of the data, K draws from a known density q for each, D dimensions. Each loss is a sum over the points
of the data. Only noise-contrastive estimation learns Z as well; the others leave it open.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

Energy = Callable[[Tensor], Tensor]
"""Points (N, D) -> energies (N)."""


def noise_contrastive_sum(of_data_N: Tensor, noise_of_data_N: Tensor, of_noise_NK: Tensor,
                          noise_of_noise_NK: Tensor) -> Tensor:
    """-log sigmoid(G(x) - log K) - sum_k log(1 - sigmoid(G(y_k) - log K)),  G = log p_theta - log q.

    Noise-contrastive estimation (Gutmann and Hyvarinen 2012, JMLR 13, equation 8, with nu = K): the posterior of being
    data and not noise. `of_...` are log p_theta = -E - log Z with log Z a parameter of the model, which this loss fits
    along: at its optimum the model is normalised.
    """
    shift = math.log(of_noise_NK.shape[1])
    data_N = of_data_N - noise_of_data_N - shift
    noise_NK = of_noise_NK - noise_of_noise_NK - shift
    return F.softplus(-data_N).sum() + F.softplus(noise_NK).sum()


def ranking_sum(scores_NK: Tensor) -> Tensor:
    """InfoNCE: -log (exp f(x_0) / sum_k exp f(x_k)), where column 0 is the data (van den Oord et al. 2018, arXiv
    1807.03748, equation 4).

    For a density, f = -E - log q of the point, and the optimum is the density whatever Z (Ma and Collins 2018, arXiv
    1809.01812, section 3.1). For pairs, log K less the mean of this is a lower bound of their mutual information.
    """
    return -scores_NK.log_softmax(1)[:, 0].sum()


def denoising_sum(energy: Energy, points_ND: Tensor, noise_ND: Tensor, sigma: float) -> Tensor:
    """sigma^2 ||s(x + sigma eps) + eps / sigma||^2 with the score s = -dE/dx (Vincent 2011, equation 10; the factor
    sigma^2 of Song and Ermon 2019, arXiv 1907.05600, section 4.2).

    Its optimum is the score of the data blurred with sigma, not that of the data.
    """
    blurred = (points_ND + sigma * noise_ND).detach().requires_grad_()
    slope_ND = torch.autograd.grad(energy(blurred).sum(), blurred, create_graph=True)[0]
    return ((noise_ND - sigma * slope_ND) ** 2).sum()


def contrastive_divergence_sum(of_data_N: Tensor, of_samples_N: Tensor, restraint: float = 0.0) -> Tensor:
    """E(x) - E(x~) + restraint (E(x)^2 + E(x~)^2), with samples x~ of the model itself that carry no gradient.

    Its gradient is that of -log p where x~ are true samples (Hinton 2002, Neural Computation 14, equation 4). The value
    itself says nothing. `restraint` keeps energies from running away (Du and Mordatch 2019, arXiv 1903.08689, §3.4).
    """
    return (of_data_N - of_samples_N + restraint * (of_data_N**2 + of_samples_N**2)).sum()
