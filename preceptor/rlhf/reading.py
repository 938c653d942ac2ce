"""What is read off the networks at the positions that choose a token of an answer, and only there.

Legend: N tokens of answers in a packed batch, in the order of `batch["targets"] != IGNORE`; V vocabulary; D width.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from preceptor.data.batches import IGNORE, Batch
from preceptor.losses.divergence import full_kl
from preceptor.losses.likelihood import HELD, entropy, selected_log_probs, token_log_probs
from preceptor.models.causal import hidden_states
from preceptor.models.scalar import offset, token_values
from preceptor.rlhf.networks import Networks


@dataclass(frozen=True, slots=True)
class Reading:
    """All [N], of the policy now. Entropy and divergence take the whole vocabulary, and are there when asked for."""

    log_probs: Tensor
    entropy: Tensor | None = None
    divergence: Tensor | None = None
    """Exact, from the reference, of the next token."""


def answer_log_probs(policy: nn.Module, batch: Batch, temperature: float) -> Tensor:
    """log p(token | what stands before it) of every token of an answer, its end included. Returns [N]."""
    chosen = actions(batch)
    head = policy.get_output_embeddings()
    return selected_log_probs(hidden_states(policy, batch)[chosen], head.weight, batch["targets"][chosen], temperature,
                              bias=head.bias)


def read_policy(networks: Networks, batch: Batch, temperature: float, *, whole: bool = False,
                against_reference: bool = False) -> Reading:
    """The policy's log-probabilities; with `whole` its entropy, with `against_reference` the exact divergence too.

    Under a mask (NLPO) the policy is what the mask leaves of it.
    """
    if not (whole or against_reference or networks.mask):
        return Reading(answer_log_probs(networks.policy, batch, temperature))
    chosen = actions(batch)
    policy, mask = networks.policy, networks.mask
    inputs = [batch["targets"][chosen], hidden_states(policy, batch)[chosen]]
    with torch.no_grad():
        inputs.append(mask.hidden(batch)[chosen] if mask else inputs[0])
        if against_reference:
            with networks.as_reference() as reference:
                inputs.append(hidden_states(reference, batch)[chosen])
        else:
            inputs.append(inputs[0])

    def rows(targets: Tensor, hidden: Tensor, mask_hidden: Tensor, reference_hidden: Tensor) -> Tensor:
        logits = _logits(policy, hidden) / temperature
        if mask:
            allowed = mask.allowed(_logits(mask.policy, mask_hidden))
            # What was drawn was allowed: at the edge of the nucleus rounding may say otherwise in another batch.
            allowed.scatter_(1, targets[:, None], True)
            logits = logits.masked_fill(~allowed, -torch.inf)
        columns = [token_log_probs(logits, targets), entropy(logits)]
        if against_reference:
            columns.append(full_kl(logits, _logits(reference, reference_hidden).detach() / temperature))
        return torch.stack(columns, 1)

    chunk = max(1, HELD // len(policy.get_output_embeddings().weight))
    table = rows(*inputs) if len(inputs[0]) <= chunk else torch.cat([
        checkpoint(rows, *part, use_reentrant=False, preserve_rng_state=False)
        for part in zip(*(tensor.split(chunk) for tensor in inputs), strict=True)])
    return Reading(*table.unbind(1))


def answer_values(value: nn.Module, batch: Batch) -> Tensor:
    """The expected return before each token of an answer is chosen, on the scale of the reward model. Returns [N]."""
    return token_values(value, batch)[actions(batch)] + offset(value)


def actions(batch: Batch) -> Tensor:
    """(rows, time): true where a token of an answer is chosen."""
    return batch["targets"] != IGNORE


def at_actions(batch: Batch, name: str) -> Tensor:
    """The numbers `name` of the tokens of answers, [N]."""
    return batch[name][actions(batch)]


def answer_numbers(batch: Batch) -> Tensor:
    """Which answer of the batch each token belongs to, [N]; a row holds whole answers, so that none is split."""
    rows, times = actions(batch).nonzero(as_tuple=True)
    segments = batch["segments"]
    return torch.unique(rows * (int(segments.max()) + 1) + segments[rows, times], return_inverse=True)[1]


def _logits(model: nn.Module, hidden: Tensor) -> Tensor:
    head = model.get_output_embeddings()
    logits = F.linear(hidden, head.weight, head.bias)
    return logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits
