"""Attention masks for packed rows: a token sees the earlier tokens of its own document, and nothing else."""

import torch
from torch import Tensor, nn


def block_mask(segments_BT: Tensor, model: nn.Module) -> Tensor:
    """The 4-D mask (rows, 1, time, time) of packed rows, in the form that the model's attention takes.

    Position i sees j when j ≤ i and both have the same segment number. Padding is segment 0 and sees itself, so that
    no row of the softmax is empty (which would give not-a-number). SDPA takes booleans, plain attention an addend.
    """
    time = segments_BT.shape[1]
    causal = torch.ones(time, time, dtype=torch.bool, device=segments_BT.device).tril()
    seen = ((segments_BT[:, :, None] == segments_BT[:, None, :]) & causal)[:, None]
    if model.config._attn_implementation == "eager":
        return torch.zeros_like(seen, dtype=torch.float32).masked_fill(~seen, torch.finfo(torch.float32).min)
    return seen
