"""What masked and matching objectives draw for a batch: hidden words, hidden patches, texts that are not true.

Everything random comes from torch's global generator, whose state a checkpoint keeps.
"""

import random

import torch
from torch import Tensor

from preceptor.data.batches import Batch, Example
from preceptor.data.masking import Masking

EASY = 0.1
"""Share of hard negatives that are drawn alike all the same. Once similarities are sharp, the softmax draws the same
few pairs for ever and the score of all others drifts: on four colours, two seeds of four then took one for another."""


def hidden_words(batch: Batch, masking: Masking) -> Batch:
    """The texts of a batch (B, T) with holes; `targets` are the words that were there, and IGNORE elsewhere."""
    draw = random.Random(int(torch.randint(2**62, ())))
    lengths = (batch["segments"] > 0).sum(1).tolist()
    rows = [[Example("", tokens[:length], [])] for tokens, length in zip(batch["tokens"].tolist(), lengths)]
    return masking(rows, draw).to(str(batch["tokens"].device))


def hidden_patches(pictures: int, patches: int, share: float, device: torch.device) -> Tensor:
    """Which patches are hidden, bool (pictures, patches): of every picture the same number, a share rounded, and at
    least one."""
    due = max(1, round(share * patches))
    return torch.rand(pictures, patches, device=device).argsort(1).argsort(1) < due


def mismatched(positives_BB: Tensor, logits_BB: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Rows and, for each of them, another row whose text is not true of its picture: two (N,) of row numbers.

    A row to which every text of the batch belongs has no negative and is left out, so that N may be smaller than B.

    Args:
        positives_BB: which texts are true of which pictures.
        logits_BB: similarities; the more alike an untrue text is, the more often it is drawn, by their softmax (hard
            negatives, Li et al. 2021, arXiv 2107.07651, section 3.2), but for a share `EASY`. None draws all alike.
    """
    rows_N = (~positives_BB).any(1).nonzero()[:, 0]
    if not len(rows_N):
        return rows_N, rows_N
    weights_NB = _alike(torch.zeros_like(positives_BB, dtype=torch.float), positives_BB)[rows_N]
    if logits_BB is not None:
        weights_NB = EASY * weights_NB + (1 - EASY) * _alike(logits_BB.detach().float(), positives_BB)[rows_N]
    return rows_N, torch.multinomial(weights_NB, 1)[:, 0]


def _alike(logits_BB: Tensor, positives_BB: Tensor) -> Tensor:
    """The softmax over what is not true."""
    return logits_BB.masked_fill(positives_BB, -torch.inf).softmax(1)


def half_retold(positives_BB: Tensor) -> tuple[Tensor, Tensor]:
    """For each row whose text stands beside its picture, (B,), and whether that is its own, bool (B,).

    Half of the rows, rounded down, get a text that is not true, fewer where too few have one: the sentence-image
    prediction of VisualBERT (Li et al. 2019, arXiv 1908.03557). So at least one text is its picture's own.
    """
    order_B = torch.arange(len(positives_BB), device=positives_BB.device)
    rows_N, others_N = mismatched(positives_BB)
    chosen = torch.randperm(len(rows_N), device=rows_N.device)[:len(order_B) // 2]
    order_B[rows_N[chosen]] = others_N[chosen]
    own_B = torch.ones_like(order_B, dtype=torch.bool)
    own_B[rows_N[chosen]] = False
    return order_B, own_B


def retold(batch: Batch, order_B: Tensor) -> Batch:
    """Only the texts of a batch, in another order."""
    return Batch({name: batch[name][order_B] for name in ("tokens", "targets", "positions", "segments")},
                 batch.counts, batch.documents)
