"""What each kind of network learns from text: to go on, to fill in, or to write what is missing; and its measure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

import torch
from torch import Tensor, nn

from preceptor.data.batches import IGNORE, Batch, Example, Layout
from preceptor.data.packing import pack
from preceptor.learn.gradients import Loss
from preceptor.losses.experts import balance_sum
from preceptor.losses.likelihood import cross_entropy_sum, selected_cross_entropy_sum
from preceptor.models.attention import block_mask
from preceptor.models.causal import hidden_states
from preceptor.models.encoder_decoder import written_logits
from preceptor.models.masked import masked_logits

CHUNK = 1024  # positions whose logits exist at once while measuring


def masked_loss(model: nn.Module, batch: Batch) -> tuple[Tensor, int, dict[str, Tensor]]:
    """Cross-entropy in nats of the hidden tokens, with how many of them are guessed (Devlin et al. 2019, §3.1)."""
    return _likelihood(masked_logits(model, batch), batch["targets"][batch["targets"] != IGNORE])


def written_loss(model: nn.Module, batch: Batch) -> tuple[Tensor, int, dict[str, Tensor]]:
    """Cross-entropy in nats of what the decoder is to write, with how much of it is guessed, each token after the true
    ones before it (Raffel et al. 2020, §3.1.4; Lewis et al. 2020, §2.2)."""
    return _likelihood(*written_logits(model, batch))


def _likelihood(logits_NV: Tensor, targets_N: Tensor) -> tuple[Tensor, int, dict[str, Tensor]]:
    total, count = cross_entropy_sum(logits_NV, targets_N)
    return total, int(count), {"accuracy": (logits_NV.argmax(-1) == targets_N).sum()}


def balanced_loss(weight: float) -> Loss:
    """The likelihood of a causal mixture of experts, and `weight` times its experts' balance (losses/experts.py)."""
    def loss(model: nn.Module, batch: Batch) -> tuple[Tensor, int, dict[str, Tensor]]:
        out = model.base_model(input_ids=batch["tokens"], position_ids=batch["positions"], use_cache=False,
                               attention_mask=block_mask(batch["segments"], model), output_router_logits=True)
        head = model.get_output_embeddings()
        total, count = selected_cross_entropy_sum(out.last_hidden_state, head.weight, batch["targets"], head.bias)
        balance = balance_sum(out.router_logits, model.config.num_experts_per_tok, batch["segments"] > 0,
                              (batch["targets"] != IGNORE).sum(1))
        return total + weight * balance, int(count), {"likelihood": total, "balance": balance}

    return loss


@dataclass(frozen=True, slots=True)
class Prediction:
    """How well targets are predicted: sums, so that parts can be added."""

    nats: float
    targets: int
    right: int
    bytes: int
    """UTF-8 bytes of the targets."""


def predictions(kind: str, model: nn.Module, batch: Batch) -> Iterator[tuple[Tensor, Tensor]]:
    """Logits (N, V) and targets (N) of a batch, some at a time, for a network of a kind (models/families.py)."""
    if kind == "causal":
        counted = batch["targets"] != IGNORE
        states_ND, targets_N = hidden_states(model, batch)[counted], batch["targets"][counted]
        for states, targets in zip(states_ND.split(CHUNK), targets_N.split(CHUNK)):
            yield model.get_output_embeddings()(states), targets
    elif kind == "masked":
        yield masked_logits(model, batch), batch["targets"][batch["targets"] != IGNORE]
    else:
        yield written_logits(model, batch)


@torch.no_grad()
def predict(kind: str, model: nn.Module, examples: Sequence[Example], layout: Layout, sizes: Tensor, *, rows: int,
            length: int) -> Prediction:
    """Sums over all targets of the examples; what a layout draws is the same every time.

    `sizes[token]` is how many bytes a token stands for. The model is left in its mode.
    """
    was_training = model.training
    model.eval()
    device = str(next(model.parameters()).device)
    pieces = [piece for example in examples for piece in example.pieces(length) if piece.count]
    packed = pack([len(piece.tokens) for piece in pieces], length)
    nats, counted, right, size = 0.0, 0, 0, 0
    for first in range(0, len(packed), rows):
        batch = layout([[pieces[index] for index in row] for row in packed[first:first + rows]], Random(first))
        for logits_NV, targets_N in predictions(kind, model, batch.to(device)):
            nats += float(cross_entropy_sum(logits_NV, targets_N)[0])
            counted += len(targets_N)
            right += int((logits_NV.argmax(-1) == targets_N).sum())
            size += int(sizes[targets_N.cpu()].sum())
    model.train(was_training)
    return Prediction(nats, counted, right, size)
