"""The rate-distortion view of pictures and texts: how much a representation tells, and what it keeps beyond that.

A picture x becomes a distribution p(z | x) = N(mean, deviation^2), a round-axed Gaussian, and so does a text.
Legend: B rows, D dimensions. Everything in nats.
"""

from torch import Tensor

from preceptor.losses.image_text import clip_sum


def gaussian_divergence(mean_p_BD: Tensor, deviation_p_BD: Tensor, mean_q_BD: Tensor, deviation_q_BD: Tensor) -> Tensor:
    """KL(p || q) of each row's two Gaussians, (B,):

        sum_d log(s_q / s_p) + (s_p^2 + (m_p - m_q)^2) / (2 s_q^2) - 1/2
    """
    spread = (deviation_p_BD**2 + (mean_p_BD - mean_q_BD)**2) / (2 * deviation_q_BD**2)
    return (deviation_q_BD.log() - deviation_p_BD.log() + spread - 0.5).sum(-1)


def symmetric_divergence_sum(mean_p_BD: Tensor, deviation_p_BD: Tensor, mean_q_BD: Tensor,
                             deviation_q_BD: Tensor) -> Tensor:
    """sum over rows of (KL(p || q) + KL(q || p)) / 2: what one view's representation holds that the other's does not
    (Federici et al. 2020, arXiv 2002.07017)."""
    p, q = (mean_p_BD, deviation_p_BD), (mean_q_BD, deviation_q_BD)
    return (gaussian_divergence(*p, *q) + gaussian_divergence(*q, *p)).sum() / 2


def contrast_nats(images_BD: Tensor, texts_BD: Tensor, scale: Tensor | float) -> float:
    """The distortion of unit vectors: InfoNCE in nats, mean over B pairs and both directions (Dubois et al. 2021, arXiv
    2106.10800). log B less this is a lower bound on I(picture; text), and never above log B (van den Oord
    et al. 2018, arXiv 1807.03748, appendix A.1).

    Here only the diagonal is true, unlike in training: the bound is that of one true text among B.
    """
    return float(clip_sum(images_BD.double(), texts_BD.double(), scale)) / len(images_BD)


def rate_bound(mean_BD: Tensor, deviation_BD: Tensor) -> float:
    """An upper bound on I(x; z), the rate: the mean KL(p(z | x) || q(z)) over pictures (Alemi et al. 2018, arXiv
    1711.00464), with q the one Gaussian that has the mean and the variance of all of them together, which
    makes the bound the tightest that a Gaussian q can give."""
    mean_BD, deviation_BD = mean_BD.double(), deviation_BD.double()
    centre_D = mean_BD.mean(0)
    whole_D = (deviation_BD**2 + (mean_BD - centre_D)**2).mean(0).sqrt()
    return float(gaussian_divergence(mean_BD, deviation_BD, centre_D, whole_D).mean())

