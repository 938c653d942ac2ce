"""Whether a picture and a text belong together, as a yes or no, and what masked pictures give back.

Legend: N pairs, B pictures, P patches of a picture, K numbers of a patch. Sums, as everywhere; the caller divides.
"""

import torch.nn.functional as F
from torch import Tensor


def matching_sum(logits_N: Tensor, true_N: Tensor) -> Tensor:
    """sum_n -log sigmoid(y_n l_n), y = 1 where the text is true of the picture, else -1: the image-text matching loss
    (Lu et al. 2019, arXiv 1908.02265; Li et al. 2021, arXiv 2107.07651, section 3.2).

    Who draws the pairs keeps false negatives out: a text of another row that is true as well is no negative
    (data/pictures/pretext.py).

    Args:
        logits_N: above 0 for "they belong together".
        true_N: bool.
    """
    return F.binary_cross_entropy_with_logits(logits_N.float(), true_N.float(), reduction="sum")


def hidden_patch_sum(predicted_BPK: Tensor, patches_BPK: Tensor, hidden_BP: Tensor) -> tuple[Tensor, int]:
    """sum over the hidden patches of mean_k |x_k - x^_k|, and how many patches that are: masked image modelling on
    pixels (Xie et al. 2022, arXiv 2111.09886; Kwon et al. 2023, arXiv 2208.02131).

    Patches that are seen count for nothing: giving back what is there teaches nothing.
    """
    away_BP = (predicted_BPK - patches_BPK).abs().mean(-1)
    return away_BP[hidden_BP].sum(), int(hidden_BP.sum())
