"""Learning a score from rankings: InstructGPT (Ouyang et al. 2022, arXiv 2203.02155), section 3.5, equation 1.

Legend: B prompts, K answers to each (padded to the most of the batch; `present` says which exist).

All pairs of one prompt are one element: shuffled into separate examples they overfit within an epoch, because every
answer would be seen K - 1 times (section 3.5). One forward pass for each answer then serves all its pairs.
"""

import torch.nn.functional as F
from torch import Tensor


def pairwise_ranking(scores: Tensor, ranks: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
    """sum over prompts of mean over pairs (w, l) of -log sigmoid(r_w - r_l), where w is ranked above l.

    Equation 1 divides by C(K, 2). Tied answers give no pair, so we divide by the pairs that are left: each prompt
    has the same weight, however many answers or ties it has. A prompt without a pair counts neither in the sum nor
    in the number.

    Args:
        scores: [B, K], the reward model's outputs; what stands at absent answers has no effect.
        ranks: [B, K], smaller is better, equal is a tie (`Comparison.ranks()`).
        present: [B, K] booleans, false at padding.

    Returns:
        The sum in nats, and the number of prompts with at least one pair (int64); both scalars. Divide by the number
        of the whole optimiser step. A model that knows nothing has log 2 = 0.693 a prompt.
    """
    return mean_over_pairs(F.softplus(-_margins(scores, present)), ranks, present)


def mean_over_pairs(losses: Tensor, ranks: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
    """sum over prompts of the mean of `losses[b, w, l]` over the pairs with w ranked above l.

    The reduction of `pairwise_ranking`, shared by all that is learned from pairs: each prompt has the same weight,
    tied answers give no pair.

    Args:
        losses: [B, K, K], finite everywhere, since 0 times infinity is not a number; `answer_pairs` makes it so.
        ranks, present: [B, K].

    Returns:
        The sum, and the number of prompts with at least one pair (int64); both scalars.
    """
    ordered = _ordered_pairs(ranks, present)
    pairs = ordered.sum((1, 2))
    return ((losses * ordered).sum((1, 2)) / pairs.clamp(min=1)).sum(), (pairs > 0).sum()


def answer_pairs(values: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
    """What belongs to the winner and to the loser of each pair: [B, K] as [B, K, 1] and [B, 1, K], 0 where absent."""
    values = values.masked_fill(~present, 0.0)
    return values[:, :, None], values[:, None, :]


def score_regression(scores: Tensor, targets: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
    """sum over prompts of the mean over answers of (score - target)^2: a score learned from numbers, not from pairs.

    Args:
        scores: [B, K], the reward model's outputs; what stands at absent answers has no effect.
        targets: [B, K], what each answer is worth, best with mean 0 and deviation 1 over the data.
        present: [B, K] booleans, false at padding.

    Returns:
        The sum, and the number of prompts with an answer (int64); both scalars. A model that says 0 has 1 a prompt.
    """
    errors = (scores - targets).masked_fill(~present, 0.0).square()
    answers = present.sum(1)
    return (errors.sum(1) / answers.clamp(min=1)).sum(), (answers > 0).sum()


def pairwise_accuracy(scores: Tensor, ranks: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
    """How many pairs the scores order as the ranking does; equal scores count one half, as a coin would.

    Here each pair has the same weight, as in the accuracies of the paper (72.4 % and 69.6 %). Arguments as in
    `pairwise_ranking`.

    Returns:
        The number of correct pairs (floating) and the number of pairs (int64); both scalars, without gradient.
    """
    ordered = _ordered_pairs(ranks, present)
    margins = _margins(scores.detach(), present)
    correct = (margins > 0).to(scores.dtype) + 0.5 * (margins == 0)
    return (correct * ordered).sum(), ordered.sum()


def _ordered_pairs(ranks: Tensor, present: Tensor) -> Tensor:
    """[B, K, K]: whether answer i is ranked strictly above answer j, both present."""
    return (ranks[:, :, None] < ranks[:, None, :]) & present[:, :, None] & present[:, None, :]


def _margins(scores: Tensor, present: Tensor) -> Tensor:
    """[B, K, K]: r_i - r_j. Absent scores become 0 first: infinity times a zero weight would poison the gradient."""
    winners, losers = answer_pairs(scores, present)
    return winners - losers
