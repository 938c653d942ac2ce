"""What the algorithms on pairs of answers share: the scores that a loss compares, and all pairs as one loss.

Legend: B prompts, K answers to each; absent answers hold 0.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from preceptor.data.batches import Batch
from preceptor.losses.ranking import answer_pairs, mean_over_pairs, pairwise_accuracy
from preceptor.rlhf.rankings import likelihoods


def log_ratios(policy: nn.Module, batch: Batch) -> Tensor:
    """log pi(y|x) - log pi_ref(y|x) of every answer, [B, K]: what DPO calls the implicit reward, over beta."""
    return likelihoods(policy, batch).log_probs - batch["reference"]


def means(policy: nn.Module, batch: Batch) -> Tensor:
    """The mean log-probability of the tokens of every answer, [B, K]."""
    return likelihoods(policy, batch).means


def pair_loss(scores: Tensor, batch: Batch,
              of_pairs: Callable[[Tensor, Tensor], Tensor]) -> tuple[Tensor, int, dict[str, Tensor]]:
    """`of_pairs(chosen, rejected)` of `scores` over all pairs that a ranking sets apart, each prompt of weight one."""
    present = batch["ends"] >= 0
    chosen, rejected = answer_pairs(scores, present)
    total, count = mean_over_pairs(of_pairs(chosen, rejected), batch["ranks"], present)
    return total, int(count), pair_metrics(scores, batch)


@torch.no_grad()
def pair_metrics(scores: Tensor, batch: Batch) -> dict[str, Tensor]:
    """Sums over prompts of means over their pairs: `accuracy`, and the scores of the `chosen` and the `rejected`.

    Both falling while `chosen - rejected` grows is DPO's known way to move: what is ranked becomes less likely than
    what is not.
    """
    present, ranks = batch["ends"] >= 0, batch["ranks"]
    chosen, rejected = answer_pairs(scores, present)
    by_prompt = [pairwise_accuracy(scores[r:r + 1], ranks[r:r + 1], present[r:r + 1]) for r in range(len(ranks))]
    return {"accuracy": sum(right / pairs for right, pairs in by_prompt),
            "chosen": mean_over_pairs(chosen + 0 * rejected, ranks, present)[0],
            "rejected": mean_over_pairs(rejected + 0 * chosen, ranks, present)[0]}
