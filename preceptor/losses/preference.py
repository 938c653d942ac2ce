"""Learning from preferences without a reward model: DPO, IPO, SimPO, ORPO on pairs of answers, KTO on single ones.

Each function gives one loss for each pair (or answer), of any shape, and no reduction: `ranking.mean_over_pairs` makes
of all pairs of a ranking one element for each prompt. Arguments are log-probabilities of whole answers under the
policy, that is sums over their tokens, the end of text included, unless a mean over tokens is asked for; `ratio` is
the answer's log pi(y|x) - log pi_ref(y|x), whose second term is a constant.

    loss    what it needs          what minimises its expectation over pairs (tests/losses/test_preference.py)
    DPO     ratios                 pi ~ pi_ref exp(r / beta), where labelers prefer by sigmoid(r_w - r_l)
    IPO     ratios                 pi ~ pi_ref exp(p(y beats another) / tau), also where labelers are all of one mind
    SimPO   means over tokens      pi ~ exp(length r / beta) at margin 0: no reference, and no divergence from one
    ORPO    means over tokens      odds of the mean proportional to exp(r), besides the likelihood of the chosen
    KTO     ratios, good or bad    answers that are good more often than bad_weight / (good_weight + bad_weight)
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def dpo(chosen_ratio: Tensor, rejected_ratio: Tensor, beta: float, smoothing: float = 0.0) -> Tensor:
    """-(1 - s) log sigmoid(beta (h_w - h_l)) - s log sigmoid(-beta (h_w - h_l)), h the log ratio to the reference.

    Rafailov et al. 2023 (arXiv 2305.18290), equation 7. `smoothing` s is the chance that a label is the wrong way
    round (cDPO; Mitchell 2023, "A note on DPO with noisy preferences"): the margin is then drawn to log((1 - s)/s)
    and no longer grows without end.

    Args:
        chosen_ratio, rejected_ratio: [...].
        beta: the price of divergence in the objective that this solves, E[r] - beta KL(pi || pi_ref).
        smoothing: s, from 0 to 1/2.
    """
    margin = beta * (chosen_ratio - rejected_ratio)
    return (1 - smoothing) * F.softplus(-margin) + smoothing * F.softplus(margin)


def ipo(chosen_ratio: Tensor, rejected_ratio: Tensor, tau: float) -> Tensor:
    """(h_w - h_l - 1/(2 tau))^2.

    Azar et al. 2023 (arXiv 2310.12036), equation 17. A margin beyond 1/(2 tau) is drawn back, so that labels without
    noise do not drive the policy to certainty, as they do in DPO. Sums over tokens, as in the paper.
    """
    return (chosen_ratio - rejected_ratio - 1 / (2 * tau)).square()


def simpo(chosen_mean: Tensor, rejected_mean: Tensor, beta: float, margin: float) -> Tensor:
    """-log sigmoid(beta (l_w - l_l) - margin), l the mean log-probability of an answer's tokens.

    Meng et al. 2024 (arXiv 2405.14734), equation 6. Without the division by the length the longer answer would have
    the lower reward by its length alone.
    """
    return F.softplus(margin - beta * (chosen_mean - rejected_mean))


def orpo_odds(chosen_mean: Tensor, rejected_mean: Tensor) -> Tensor:
    """-log sigmoid(log odds_w - log odds_l), odds = p/(1 - p), p = exp of the mean log-probability of the tokens.

    Hong et al. 2024 (arXiv 2403.07691), equations 4 and 7. It is added, times lambda, to the likelihood loss of the
    chosen answer (equation 6), which is `likelihood.cross_entropy_sum`.
    """
    return F.softplus(_log_odds(rejected_mean) - _log_odds(chosen_mean))


def _log_odds(log_p: Tensor) -> Tensor:
    """log p - log(1 - p). Where p rounds to 1 its distance from 1 is taken as that of the number next to 1."""
    nearest = -torch.finfo(log_p.dtype).eps
    log_p = log_p.clamp(max=nearest)  # log(1 - p) would be -inf, and its gradient not a number
    return log_p - torch.log(-torch.expm1(log_p))


def kto(ratio: Tensor, good: Tensor, divergence: Tensor, beta: float, good_weight: float = 1.0,
        bad_weight: float = 1.0) -> Tensor:
    """lambda_good (1 - sigmoid(beta (h - z))) for a good answer, lambda_bad (1 - sigmoid(beta (z - h))) for a bad one.

    Ethayarajh et al. 2024 (arXiv 2402.01306), equations 7 and 8. z, the point from which gains and losses are felt,
    stands for KL(pi || pi_ref) and has no gradient: see `kto_divergence`.

    Args:
        ratio: [...].
        good: [...] booleans, whether the answer is desirable.
        divergence: [...] or a scalar, z of the optimiser step.
        beta: how soon gains stop counting.
        good_weight, bad_weight: lambda; the paper keeps the ratio of their totals over the data between 1 and 4/3.
    """
    gain = beta * (ratio - divergence.detach())
    return torch.where(good, good_weight * torch.sigmoid(-gain), bad_weight * torch.sigmoid(gain))


@torch.no_grad()
def kto_divergence(foreign_ratio: Tensor) -> Tensor:
    """z = max(0, mean of log pi(y'|x) - log pi_ref(y'|x)) over prompts x with answers y' to other prompts.

    Section 4.1 of the paper: biased, but it needs no samples of the policy, and the same z serves all answers.

    Args:
        foreign_ratio: [N], one mismatched answer for each prompt of the optimiser step.

    Returns:
        A scalar, 0 or more.
    """
    return foreign_ratio.mean().clamp(min=0.0)
