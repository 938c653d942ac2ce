"""The balance of a mixture of experts."""

from collections.abc import Sequence

import torch
from torch import Tensor


def balance_sum(router_logits: Sequence[Tensor], used: int, real_BT: Tensor, counts_B: Tensor) -> Tensor:
    """Σ_rows count · E Σ_e f_e P_e: Switch Transformers' balance (Fedus et al. 2022, eq. 4-6), a row the unit.

    In a row, over all its real tokens and all layers, f_e is the mean number of times that expert e is among the `used`
    chosen ones, and P_e the mean probability that the router gives it. The product is `used` when all experts have the
    same load and more otherwise. It couples the tokens of a row and no others, so that micro-batches, which are whole
    rows, change nothing; each row is weighted by what its likelihood counts.

    Args:
        router_logits: for every layer [B·T, E].
        used: experts that a token goes through.
        real_BT: [B, T], false where there is padding.
        counts_B: [B], what the loss counts in each row.

    Returns:
        A scalar, to be divided by the count of the whole optimiser step.
    """
    stacked_LBTE = torch.stack(tuple(router_logits)).unflatten(1, real_BT.shape).float()
    probabilities_LBTE = stacked_LBTE.softmax(-1)
    chosen_LBTK = probabilities_LBTE.topk(used, dim=-1).indices
    load_LBTE = torch.zeros_like(probabilities_LBTE).scatter(-1, chosen_LBTK, 1.0)
    weight_BT1 = real_BT[..., None].float() / (len(router_logits) * real_BT.sum(1).clamp(min=1)[:, None, None])
    f_BE = (load_LBTE * weight_BT1).sum((0, 2))
    p_BE = (probabilities_LBTE * weight_BT1).sum((0, 2))
    return (counts_B * (f_BE * p_BE).sum(-1)).sum() * probabilities_LBTE.shape[-1]
