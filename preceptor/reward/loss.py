"""What a reward model learns from a batch of prompts with all their answers: their order, or a number for each."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from preceptor.data.batches import Batch
from preceptor.losses.ranking import pairwise_accuracy, pairwise_ranking, score_regression
from preceptor.models.encoder import axis_values
from preceptor.models.reward_model import answer_scores


def ranking_loss(model: nn.Module, batch: Batch) -> tuple[Tensor, int, dict[str, Tensor]]:
    """The K-wise ranking loss over the prompts of a batch, and the share of pairs in the right order, by prompt."""
    return _ranking(answer_scores(model, batch), batch["ranks"], batch["ends"] >= 0)


def encoder_ranking_loss(model: nn.Module, batch: Batch) -> tuple[Tensor, int, dict[str, Tensor]]:
    """The same of an encoder with one output."""
    return _ranking(axis_values(model, batch)[..., 0], batch["ranks"], batch["seen"].any(2))


def _ranking(scores_BK: Tensor, ranks: Tensor, present: Tensor) -> tuple[Tensor, int, dict[str, Tensor]]:
    loss, count = pairwise_ranking(scores_BK, ranks, present)
    by_prompt = [pairwise_accuracy(scores_BK[r:r + 1], ranks[r:r + 1], present[r:r + 1]) for r in range(len(ranks))]
    return loss, int(count), {"accuracy": sum(correct / pairs for correct, pairs in by_prompt)}


def regression_loss(model: nn.Module, batch: Batch) -> tuple[Tensor, int, dict[str, Tensor]]:
    """The squared error of the scores against the table `target`, each prompt of the same weight."""
    present = batch["ends"] >= 0
    scores_BK = answer_scores(model, batch)
    loss, count = score_regression(scores_BK, batch["target"], present)
    with torch.no_grad():
        wrong = (scores_BK - batch["target"]).abs().masked_fill(~present, 0.0).sum(1) / present.sum(1)
    return loss, int(count), {"absolute_error": wrong.sum()}


def axes_loss(model: nn.Module, batch: Batch, weights: Sequence[float]) -> tuple[Tensor, int, dict[str, Tensor]]:
    """The squared error of each output against its table `target_N`, axes by their weights, each prompt of the same.

    A table holds not-a-number where an answer was not judged on the axis; that answer has no part in it.
    """
    values_BKA, total = axis_values(model, batch), sum(map(abs, weights))
    loss, wrong = values_BKA.new_zeros(()), values_BKA.new_zeros(())
    for axis, weight in enumerate(weights):
        target = batch[f"target_{axis}"]
        judged = batch["seen"].any(2) & ~target.isnan()
        value, _ = score_regression(values_BKA[..., axis], target.nan_to_num(), judged)
        loss = loss + abs(weight) / total * value
        with torch.no_grad():
            error = (values_BKA[..., axis] - target.nan_to_num()).abs().masked_fill(~judged, 0.0)
            wrong += abs(weight) / total * (error.sum(1) / judged.sum(1).clamp(min=1)).sum()
    return loss, len(batch.counts), {"absolute_error": wrong}
