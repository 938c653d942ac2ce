"""The likelihood of tokens under a language model: the losses of pretraining, fine-tuning and the pretraining mix.

Legend: B batch, T time, V vocabulary, D width of the network, N positions that count.

Labels are aligned with what predicts them: labels[b, t] is the token that logits[b, t] should give. Shifting is the
work of the batch, done once, so that no loss shifts twice. Losses are sums, in nats, over the positions that count;
the caller divides by the count of the whole optimiser step, so that micro-batches, accumulation and processes change
nothing. Half-precision logits are widened to float32 before the logarithm of the sum; float64 stays float64.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from preceptor.data.batches import IGNORE

CHUNK = 2**22  # logits computed at once
HELD = 2**25  # logits kept for a backward pass; with more of them it computes them again


def token_log_probs(logits: Tensor, targets: Tensor) -> Tensor:
    """log p(target) = logit[target] - log sum_v exp(logit[v]), at every position.

    Args:
        logits: [..., V], already divided by the sampling temperature where there is one.
        targets: [...], integers in [0, V). No position is ignored here.

    Returns:
        [...], float32 or wider.

    Raises:
        IndexError: a target lies outside the vocabulary.
    """
    rows = _widened(logits).flatten(0, -2)
    # The fused kernel is 1.5 times as fast on a CPU as gather and logsumexp. Its own ignored label (-100) would turn
    # a padding label into log p = 0, so it is set to a number that no label has.
    nats = F.cross_entropy(rows, targets.flatten(), ignore_index=torch.iinfo(torch.int32).min, reduction="none")
    return -nats.view(targets.shape)


def cross_entropy_sum(logits: Tensor, labels: Tensor, ignore: int = IGNORE) -> tuple[Tensor, Tensor]:
    """Sum of -log p(label) over the positions whose label is not `ignore`.

    Args:
        logits: [..., V].
        labels: [...], aligned with the logits.
        ignore: the label of positions that do not count.

    Returns:
        The sum in nats and the count (int64), both scalars. Divide by the count of the whole optimiser step.
    """
    counted = labels != ignore
    nats = F.cross_entropy(
        _widened(logits).flatten(0, -2), labels.flatten(), ignore_index=ignore, reduction="sum"
    )
    return nats, counted.sum()


def z_loss_sum(logits: Tensor) -> Tensor:
    """sum over positions of log² Z, Z = sum_v exp(logit_v): keeps logits from drifting, which a softmax does not see
    (Chowdhery et al. 2022, arXiv 2204.02311, section 5; Chameleon Team 2024, arXiv 2405.09818, section 2.3).

    Args:
        logits: [N, V], of the positions that count.
    """
    return (_widened(logits).logsumexp(-1) ** 2).sum()


def selected_log_probs(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    temperature: float = 1.0,
    bias: Tensor | None = None,
    chunk: int | None = None,
    held: int = HELD,
) -> Tensor:
    """log p(target) at chosen positions, from the hidden states before the unembedding.

    Logits exist for N rows instead of B x T, `chunk` rows at a time, and are kept for the backward pass only where all
    of them are few; else it computes each chunk again. Values and gradients are those of the plain way, which holds
    three times N x V numbers. Gradients of gradients are not offered.

    Args:
        hidden: [N, D], the rows that count, e.g. `hidden_BTD[labels_BT != IGNORE]`.
        weight: [V, D], the unembedding.
        targets: [N], the token that each row should give.
        temperature: divides the logits. It must be the one that the answers were sampled with, or the ratio of PPO
            does not start at 1.
        bias: [V], where the unembedding has one (Phi, GPT-J).
        chunk: rows whose logits are computed at once; as many as make `CHUNK` numbers where None.
        held: the most logits, N x V, that are kept from the forward to the backward pass.

    Returns:
        [N], float32 or wider.

    Raises:
        ValueError: the temperature is not positive (greedy decoding has no log-probability).
    """
    if temperature <= 0:
        raise ValueError(f"the temperature of a log-probability must be positive, not {temperature}")
    rows = chunk or max(1, CHUNK // len(weight))
    learned = torch.is_grad_enabled() and any(one is not None and one.requires_grad for one in (hidden, weight, bias))
    return _SelectedLogProbs.apply(hidden, weight, bias, targets, temperature, rows,
                                   learned and len(targets) * len(weight) <= held)


class _SelectedLogProbs(torch.autograd.Function):
    """With p = softmax(logits / temperature): d log p(target) / d logits = (onehot(target) - p) / temperature."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, temperature: float,
                rows: int, keep: bool) -> Tensor:
        kind, device = hidden.dtype, hidden.device.type
        if torch.is_autocast_enabled(device):  # once here, or it would cast the weight again for every chunk
            kind = torch.get_autocast_dtype(device)
        inputs = hidden.to(kind), weight.to(kind), None if bias is None else bias.to(kind)
        logits, found = [], []
        for states, labels in zip(inputs[0].split(rows), targets.split(rows), strict=True):
            part = _widened(F.linear(states, *inputs[1:]))
            if temperature != 1:
                part = part / temperature
            found.append(token_log_probs(part, labels))
            if keep:
                logits.append(part)
        ctx.save_for_backward(hidden, weight, bias, targets, *logits)
        ctx.settings = kind, temperature, rows
        return torch.cat(found)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, bias, targets, *kept = ctx.saved_tensors
        kind, temperature, rows = ctx.settings
        cast = weight.to(kind)
        wanted_hidden, wanted_weight, wanted_bias = ctx.needs_input_grad[:3]
        of_hidden = torch.empty_like(hidden) if wanted_hidden else None
        of_weight = torch.zeros_like(weight) if wanted_weight else None
        of_bias = torch.zeros_like(bias) if wanted_bias else None
        with torch.autocast(hidden.device.type, enabled=False):
            for first in range(0, len(targets), rows):
                span = slice(first, first + rows)
                states, labels, scale = hidden[span].to(kind), targets[span, None], cotangent[span, None] / temperature
                if kept:
                    logits = kept[first // rows]
                else:
                    logits = _widened(F.linear(states, cast, None if bias is None else bias.to(kind))) / temperature
                change = logits.softmax(-1).mul_(-scale).scatter_add_(1, labels, scale)
                if wanted_bias:
                    of_bias += change.sum(0)
                change = change.to(kind)
                if wanted_hidden:
                    of_hidden[span] = change @ cast
                if wanted_weight:
                    of_weight += change.T @ states
        return of_hidden, of_weight, of_bias, None, None, None, None


def selected_cross_entropy_sum(
    hidden: Tensor,
    weight: Tensor,
    labels: Tensor,
    bias: Tensor | None = None,
    ignore: int = IGNORE,
    chunk: int | None = None,
) -> tuple[Tensor, Tensor]:
    """`cross_entropy_sum` that computes logits only where there is a label: the loss of supervised fine-tuning.

    Args:
        hidden: [B, T, D] or [T, D], the states before the unembedding.
        weight: [V, D].
        labels: [B, T] or [T], aligned; `ignore` where a position does not count.
        bias, chunk: as in `selected_log_probs`.

    Returns:
        The sum in nats and the count (int64), both scalars.
    """
    counted = labels != ignore
    log_probs = selected_log_probs(hidden[counted], weight, labels[counted], bias=bias, chunk=chunk)
    return -log_probs.sum(), counted.sum()


def entropy(logits: Tensor) -> Tensor:
    """H(p) = -sum_v p(v) log p(v) in nats, at every position. A token forbidden by a logit of -inf adds nothing.

    Args:
        logits: [..., V].

    Returns:
        [...], float32 or wider, between 0 and log V.
    """
    log_p = _widened(logits).log_softmax(-1)
    # 0 * -inf is not a number; the limit of p log p is 0.
    return -(log_p.exp() * log_p.masked_fill(log_p == -torch.inf, 0.0)).sum(-1)


def _widened(logits: Tensor) -> Tensor:
    return logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits
