"""What a weight, a group of weights and a block are worth, and which of them stay.

Legend: O outputs and I inputs of a linear map, whose weight is W [O, I]; N tokens; D width of the residual stream.
"""

from torch import Tensor


def magnitude_scores(weight_OI: Tensor) -> Tensor:
    """|W| (Han et al. 2015, arXiv 1506.02626, §3). Returns [O, I]."""
    return weight_OI.abs()


def wanda_scores(weight_OI: Tensor, input_norms_I: Tensor) -> Tensor:
    """S_oi = |W_oi|·‖X_i‖₂ (Sun et al. 2023, arXiv 2306.11695, eq. 1).

    Args:
        input_norms_I: the 2-norm of each input over all tokens of the calibration text.

    Returns:
        [O, I], to be compared within each output.
    """
    return weight_OI.abs() * input_norms_I


def group_scores(scores_OI: Tensor, size: int) -> Tensor:
    """The worth of each group of `size` neighbouring inputs: the sum of its weights' scores.

    With |W| this is the criterion of Li et al. 2016 (arXiv 1608.08710, §3.1), here over what a channel or head sends
    on; with Wanda's score it is that paper's structured form (An et al. 2023, arXiv 2312.11983, "Wanda-sp").

    Returns:
        [I / size].
    """
    return scores_OI.sum(0).view(-1, size).sum(1)


def block_influence(before_ND: Tensor, after_ND: Tensor) -> Tensor:
    """1 - cos(x, y) of each token's state before and after a block (Men et al. 2024, arXiv 2403.03853, eq. 1, whose
    mean over tokens is the block's influence). Returns [N]."""
    cosine = (before_ND * after_ND).sum(-1) / (before_ND.norm(dim=-1) * after_ND.norm(dim=-1)).clamp_min(1e-12)
    return 1 - cosine


def keep_largest(scores: Tensor, sparsity: float) -> Tensor:
    """A mask of the last axis in which exactly the floor(sparsity · n) lowest scores are False; of equal scores the
    first go first."""
    drop = int(scores.shape[-1] * sparsity + 1e-9)  # 0.3 · 10 is 2.9999... in floating point
    order = scores.argsort(dim=-1, stable=True)
    return scores.new_ones(scores.shape).bool().scatter(-1, order[..., :drop], False)


def keep_two_of_four(scores_OI: Tensor) -> Tensor:
    """A mask [O, I] with exactly the two highest scores of every four neighbouring inputs (Mishra et al. 2021, arXiv
    2104.08378, §3: the pattern that sparse tensor cores skip)."""
    return keep_largest(scores_OI.view(len(scores_OI), -1, 4), 0.5).view_as(scores_OI)
