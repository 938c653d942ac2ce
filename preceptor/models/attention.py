"""Attention masks for packed rows: a token sees the earlier tokens of its own document, and nothing else."""

import torch
from torch import Tensor, nn


def block_mask(segments_BT: Tensor, model: nn.Module) -> Tensor:
    """The 4-D mask (rows, 1, time, time) of packed rows, in the form that the model's attention takes.

    Position i sees j when j ≤ i and both have the same segment number. Padding is segment 0 and sees itself, so that
    no row of the softmax is empty (which would give not-a-number).
    """
    return _for_attention(segments_BT[:, :, None] == segments_BT[:, None, :], model)


def shared_prompt_mask(segments_BT: Tensor, model: nn.Module) -> Tensor:
    """The mask of rows that hold one prompt (segment 1) and several answers to it (segments 2, 3, ...).

    An answer sees the prompt and itself, never another answer. With the positions of each answer going on from the
    prompt's last, every token has the state that it has when its prompt and answer stand alone.
    """
    same = segments_BT[:, :, None] == segments_BT[:, None, :]
    prompt = (segments_BT[:, None, :] == 1) & (segments_BT[:, :, None] > 0)
    return _for_attention(same | prompt, model)


def _for_attention(seen_BTT: Tensor, model: nn.Module) -> Tensor:
    """Causality, and the form that the attention takes: SDPA booleans, plain attention an addend."""
    causal = torch.ones(seen_BTT.shape[1:], dtype=torch.bool, device=seen_BTT.device).tril()
    seen = (seen_BTT & causal)[:, None]
    if model.config._attn_implementation == "eager":
        return torch.zeros_like(seen, dtype=torch.float32).masked_fill(~seen, torch.finfo(torch.float32).min)
    return seen
