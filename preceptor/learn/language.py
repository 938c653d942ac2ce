"""Language modelling over packed rows: the loss that pretraining, fine-tuning and PPO-ptx share, and its measure."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from preceptor.data.batches import Batch, Example, collate
from preceptor.data.packing import pack
from preceptor.losses.likelihood import selected_cross_entropy_sum
from preceptor.models.causal import hidden_states


def language_loss(model: nn.Module, batch: Batch) -> tuple[Tensor, int, dict[str, Tensor]]:
    """Cross-entropy in nats, summed over the targets; logits are computed only where there is a target."""
    head = model.get_output_embeddings()
    total, count = selected_cross_entropy_sum(hidden_states(model, batch), head.weight, batch["targets"], head.bias)
    return total, int(count), {}


@torch.no_grad()
def total_nats(model: nn.Module, examples: Sequence[Example], *, rows: int, length: int, pad: int) -> tuple[float, int]:
    """Cross-entropy of all targets of the examples, as (nats, targets). The model is left in its mode."""
    was_training = model.training
    model.eval()
    pieces = [piece for example in examples for piece in example.pieces(length) if piece.count]
    packed = pack([len(piece.tokens) for piece in pieces], length)
    nats, targets = 0.0, 0
    for first in range(0, len(packed), rows):
        batch = collate([[pieces[index] for index in row] for row in packed[first:first + rows]], pad)
        total, count, _ = language_loss(model, batch.to(str(next(model.parameters()).device)))
        nats, targets = nats + float(total), targets + count
    model.train(was_training)
    return nats, targets
