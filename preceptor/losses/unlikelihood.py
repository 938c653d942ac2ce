"""Unlikelihood: making tokens that would repeat less likely (Welleck et al. 2020, arXiv 1908.04319).

Legend: B rows, T time, V vocabulary. Rows may hold several documents (`segments`, 0 where there is padding); a
document never sees the tokens of another. Losses are sums over positions, in nats; the caller divides by the count.

The gradient on a logit is that of log(1 - p) while p < 1 - 1e-6; beyond that, where float32 has no 1 - p any more, it
is 0.
"""

import torch
from torch import Tensor

from preceptor.data.batches import IGNORE

LEAST = 1e-6


def token_unlikelihood_sum(logits: Tensor, tokens: Tensor, targets: Tensor, segments: Tensor) -> Tensor:
    """-sum_t sum_{c in C_t} log(1 - p(c | x_<t)), C_t = {x_1, ..., x_{t-1}} without x_t   (equation 5, without the
    MLE).

    C_t is a set: a token that occurred ten times counts once. It holds all earlier tokens of the document, those of a
    prompt included; a position counts where its target does.

    Args:
        logits: [B, T, V], aligned: position t predicts `targets[:, t]`.
        tokens: [B, T], what the model read.
        targets: [B, T], IGNORE where a position does not count.
        segments: [B, T], the number of each position's document, 0 for padding.

    Returns:
        The sum, a scalar; divide it by the number of targets and add `alpha` times it (1 in the paper) to the
        likelihood.
    """
    log_probs_BTV = logits.float().log_softmax(-1)
    log_probs_BTC = log_probs_BTV.gather(-1, tokens[:, None, :].expand(-1, tokens.shape[1], -1))
    same_BTC = segments[:, :, None] == segments[:, None, :]
    past_TC = torch.ones(tokens.shape[1], tokens.shape[1], dtype=torch.bool, device=tokens.device).tril()
    equal_BTC = (tokens[:, :, None] == tokens[:, None, :]) & same_BTC
    first_BC = ~(equal_BTC & past_TC.tril(-1)).any(-1)  # the first time that its document says this token
    counted_BT1 = ((targets != IGNORE) & (segments > 0))[:, :, None]
    negative_BTC = same_BTC & past_TC & first_BC[:, None, :] & (tokens[:, None, :] != targets[:, :, None]) & counted_BT1
    return -log_one_minus(log_probs_BTC[negative_BTC]).sum()


def sequence_unlikelihood_sum(log_probs: Tensor, penalised: Tensor) -> Tensor:
    """-sum_t [x_t lies in a repeated n-gram] log(1 - p(x_t | x_<t))   (equation 7), over tokens the model itself wrote.

    Args:
        log_probs: [B, T] of the written tokens.
        penalised: [B, T], `repeated_ngrams` of them.
    """
    return -log_one_minus(log_probs[penalised]).sum()


def repeated_ngrams(tokens: Tensor, n: int = 4) -> Tensor:
    """Which tokens lie in an n-gram that stood before in its row: [B, T] booleans. The last n-gram counts."""
    marked = torch.zeros_like(tokens, dtype=torch.bool)
    for row, text in enumerate(tokens.tolist()):
        seen: set[tuple[int, ...]] = set()
        for start in range(len(text) - n + 1):
            gram = tuple(text[start:start + n])
            if gram in seen:
                marked[row, start:start + n] = True
            seen.add(gram)
    return marked


def log_one_minus(log_probs: Tensor) -> Tensor:
    """log(1 - p) of log p, with 1 - p at least 1e-6: finite, with a finite gradient, at p = 1, too."""
    return (-torch.expm1(log_probs)).clamp(min=LEAST).log()
