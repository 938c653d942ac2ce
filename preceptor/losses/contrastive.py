"""SimCTG: hidden states of different tokens are pushed apart (Su et al. 2022, arXiv 2202.06417, equation 2).

Legend: B rows, T time, D width. It couples the tokens of one document; documents in one row or batch do not touch.
"""

import torch
from torch import Tensor
from torch.nn.functional import normalize

from preceptor.data.batches import IGNORE


def simctg_sum(hidden: Tensor, targets: Tensor, segments: Tensor, margin: float) -> Tensor:
    """sum over documents of  count / (n (n - 1)) sum_{i != j} max(0, margin - 1 + cos(h_i, h_j)).

    n is the number of tokens of the document, and `count` that of its targets, so that the sum divided by all targets
    is the mean over documents, weighed by their targets: for documents of one length, the paper's mean. Added to the
    likelihood with weight 1. Splitting a batch by rows changes nothing.

    Args:
        hidden: [B, T, D], the model's last hidden states.
        targets: [B, T], IGNORE where a position does not count for the likelihood.
        segments: [B, T], the number of each position's document, 0 for padding.
        margin: rho; 0.5 in the paper. At 0 or less nothing is pushed, as a cosine is at most 1.
    """
    unit_BTD = normalize(hidden.float(), dim=-1)
    pushed_BTT = (margin - 1 + unit_BTD @ unit_BTD.transpose(1, 2)).clamp(min=0)
    same_BTT = (segments[:, :, None] == segments[:, None, :]) & (segments > 0)[:, :, None]
    counted_BT = (targets != IGNORE) & (segments > 0)
    size_BT = same_BTT.sum(-1)
    count_BT = (same_BTT & counted_BT[:, None, :]).sum(-1)
    weight_BT = count_BT / (size_BT * (size_BT - 1)).clamp(min=1)  # a document of one token has no pair
    others_BTT = same_BTT & ~torch.eye(same_BTT.shape[1], dtype=torch.bool, device=hidden.device)
    return (pushed_BTT * others_BTT * weight_BT[:, :, None]).sum()
