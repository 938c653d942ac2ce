"""What a reward model learns from a batch of prompts with all their answers: their order, or a number for each."""

import torch
from torch import Tensor, nn

from preceptor.data.batches import Batch
from preceptor.losses.ranking import pairwise_accuracy, pairwise_ranking, score_regression
from preceptor.models.reward_model import answer_scores


def ranking_loss(model: nn.Module, batch: Batch) -> tuple[Tensor, int, dict[str, Tensor]]:
    """The K-wise ranking loss over the prompts of a batch, and the share of pairs in the right order, by prompt."""
    ranks, present = batch["ranks"], batch["ends"] >= 0
    scores_BK = answer_scores(model, batch)
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
