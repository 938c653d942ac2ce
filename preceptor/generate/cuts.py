"""Processors that leave tokens out: pure functions from logits to logits, where what is left out becomes -inf.

R rows, V entries of the vocabulary. Each equals the processor of the same name in Hugging Face transformers, where it
has one, but that tokens which tie at the boundary are all kept: the order of the vocabulary decides nothing. At least
one token is always kept. Probabilities are those of the logits given, -inf included.
"""

import math

import torch
from torch import Tensor


def top_k(logits_RV: Tensor, k: int) -> Tensor:
    """The k most likely tokens (Fan et al. 2018, arXiv 1805.04833)."""
    return _at_least(logits_RV, logits_RV.topk(min(k, logits_RV.shape[-1])).values[:, -1:])


def top_p(logits_RV: Tensor, p: float) -> Tensor:
    """The fewest most likely tokens whose probabilities reach p (Holtzman et al. 2020, arXiv 1904.09751)."""
    sorted_RV = logits_RV.sort(dim=-1, descending=True).values
    chance_RV = sorted_RV.double().softmax(-1)
    before_RV = chance_RV.cumsum(-1) - chance_RV
    kept_R1 = (before_RV < p).sum(-1, keepdim=True).clamp(min=1)
    return _at_least(logits_RV, sorted_RV.gather(-1, kept_R1 - 1))


def min_p(logits_RV: Tensor, share: float) -> Tensor:
    """Tokens with p(v) >= share * max p (Nguyen et al. 2024, arXiv 2407.01082).

    Whether it is better than top-p at equal tuning is disputed (arXiv 2506.13681).
    """
    return _at_least(logits_RV, logits_RV.amax(-1, keepdim=True) + (math.log(share) if share else -math.inf))


def typical_p(logits_RV: Tensor, mass: float) -> Tensor:
    """Tokens whose surprise is nearest to the entropy, until their sum reaches `mass` (Meister et al. 2023,
    arXiv 2202.00666). The most likely token may be left out."""
    log_probs_RV = logits_RV.log_softmax(-1)
    distance_RV = (-log_probs_RV - _entropy(log_probs_RV)).abs()
    sorted_RV, order_RV = distance_RV.sort(dim=-1)
    sum_RV = log_probs_RV.gather(-1, order_RV).double().exp().cumsum(-1)
    last_R1 = (sum_RV < mass).sum(-1, keepdim=True).clamp(max=logits_RV.shape[-1] - 1)
    return logits_RV.masked_fill(distance_RV > sorted_RV.gather(-1, last_R1), -math.inf)


def epsilon_cutoff(logits_RV: Tensor, epsilon: float) -> Tensor:
    """Tokens with p(v) >= epsilon (Hewitt et al. 2022, arXiv 2210.15191, section 4.3)."""
    return _likely(logits_RV, torch.full_like(logits_RV[:, :1], epsilon))


def eta_cutoff(logits_RV: Tensor, epsilon: float) -> Tensor:
    """Tokens with p(v) >= min(epsilon, sqrt(epsilon) exp(-H)), H the entropy (Hewitt et al. 2022, equation 8)."""
    spread_R1 = (-_entropy(logits_RV.log_softmax(-1))).exp()
    return _likely(logits_RV, (math.sqrt(epsilon) * spread_R1).clamp(max=epsilon))


def top_n_sigma(logits_RV: Tensor, n: float) -> Tensor:
    """Tokens with a logit of at least max - n * sigma (Tang et al. 2024, arXiv 2411.07641, algorithm 1).

    sigma is the standard deviation over the tokens that are still in, dividing by their number. Temperature scales both
    sides alike, so it does not matter which comes first.
    """
    in_RV = logits_RV > -math.inf
    count_R1 = in_RV.sum(-1, keepdim=True)
    mean_R1 = logits_RV.masked_fill(~in_RV, 0.0).sum(-1, keepdim=True) / count_R1
    variance_R1 = (logits_RV - mean_R1).masked_fill(~in_RV, 0.0).square().sum(-1, keepdim=True) / count_R1
    return _at_least(logits_RV, logits_RV.amax(-1, keepdim=True) - n * variance_R1.sqrt())


def xtc(logits_RV: Tensor, threshold: float, excluding_R: Tensor) -> Tensor:
    """In the rows `excluding`: leave out all tokens of p >= threshold but the least likely of them.

    "Exclude top choices", by its author p-e-w: what is left is still a choice of the model, but not the obvious one.
    """
    log_probs_RV = logits_RV.log_softmax(-1)
    top_RV = log_probs_RV >= (math.log(threshold) if threshold else -math.inf)
    least_R1 = log_probs_RV.masked_fill(~top_RV, math.inf).amin(-1, keepdim=True)
    return logits_RV.masked_fill(top_RV & (log_probs_RV > least_R1) & excluding_R[:, None], -math.inf)


def mirostat(logits_RV: Tensor, limits_R: Tensor) -> Tensor:
    """Tokens whose surprise -log2 p(v) is at most the row's limit mu (Basu et al. 2021, arXiv 2007.14966)."""
    return _likely(logits_RV, 2.0 ** -limits_R[:, None].to(logits_RV.dtype))


def mirostat_limits(log_probs_R: Tensor, limits_R: Tensor, tau: float, eta: float) -> Tensor:
    """Mirostat 2's limits after a token: mu - eta (S - tau), S the token's surprise in bits before any cut.

    So in the authors' program; llama.cpp takes the surprise after.
    """
    return limits_R - eta * (-log_probs_R / math.log(2) - tau)


def _entropy(log_probs_RV: Tensor) -> Tensor:
    """The entropy in nats, (R, 1); a token of probability 0 adds nothing."""
    return -(log_probs_RV.exp() * log_probs_RV).nansum(-1, keepdim=True)


def _likely(logits_RV: Tensor, least_R1: Tensor) -> Tensor:
    """Tokens of probability `least` or more, and the most likely one."""
    best_R1 = logits_RV.amax(-1, keepdim=True)
    return logits_RV.masked_fill((logits_RV.softmax(-1) < least_R1) & (logits_RV < best_R1), -math.inf)


def _at_least(logits_RV: Tensor, least_R1: Tensor) -> Tensor:
    return logits_RV.masked_fill(logits_RV < least_R1, -math.inf)
