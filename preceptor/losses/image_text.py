"""Contrastive losses of image-text pairs, with several positives for an image or a text.

Legend: B pairs in the batch, D dimensions; image i and text i are a pair, both unit vectors. `positives_BB[i, j]` says
that text j is true of image i as well (the same concept twice in a batch, one caption of two pictures): without it
the loss pushes apart what belongs together. A pair is positive whatever stands on the diagonal; None is the diagonal.

Both losses couple all pairs of a batch, so the unit that may not be split is the whole batch. They return the sum over
its B pairs; the mean of the papers is that divided by B.
"""

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint


def same_concept(concepts_B: Tensor) -> Tensor:
    """Which images and texts belong together, (B, B), where each pair shows one concept: those of equal number."""
    return concepts_B[:, None] == concepts_B[None, :]


def clip_sum(images_BD: Tensor, texts_BD: Tensor, scale: Tensor | float, positives_BB: Tensor | None = None) -> Tensor:
    """The symmetric InfoNCE of CLIP (Radford et al. 2021, arXiv 2103.00020, figure 3), summed over B pairs.

        L = 1/2 sum_i -1/|P(i)| sum_{j in P(i)} log softmax_j(s z_i . w_j)  +  the same of texts over images

    P(i) are the positives of i, of which each has the same share, as in equation 2 of Khosla et al. 2020 (arXiv
    2004.11362): with one it is CLIP's loss, with n it can fall no lower than log n. `scale` s is the inverse
    temperature itself; bounding it (CLIP: 100) is for the model, since a bound in the loss would stop its gradient.
    """
    return softmax_sum(_logits(images_BD, texts_BD, scale), positives_BB)


def softmax_sum(logits_BB: Tensor, positives_BB: Tensor | None = None, smoothing: float = 0.0) -> Tensor:
    """CLIP's loss of logits that are there already, image i with text j. With a `smoothing` e, e of each share goes to
    all that are in the batch alike, as in BLIP-2's code (0.1)."""
    targets_BB = _with_pairs(positives_BB, logits_BB, first=0).to(logits_BB.dtype)
    how = {"reduction": "sum", "label_smoothing": smoothing}
    of_images = functional.cross_entropy(logits_BB, targets_BB / targets_BB.sum(1, keepdim=True), **how)
    of_texts = functional.cross_entropy(logits_BB.T, (targets_BB / targets_BB.sum(0)).T, **how)
    return (of_images + of_texts) / 2


def siglip_sum(images_BD: Tensor, texts_BD: Tensor, scale: Tensor | float, bias: Tensor | float,
               positives_BB: Tensor | None = None, chunk: int | None = None) -> Tensor:
    """The sigmoid loss of SigLIP (Zhai et al. 2023, arXiv 2303.15343, section 3.2), summed over B pairs.

        L = sum_ij -log sigmoid(y_ij (s z_i . w_j + b)),   y_ij = 1 for positives, else -1

    Every image and text is judged alone, so several positives need no shares. With `chunk`, that many images at a time
    meet all texts, and the backward pass computes their logits again: value and gradients are those of the whole, and
    no more than `chunk` rows of the (B, B) logits are held at once.
    """
    rows = len(images_BD) if chunk is None else chunk
    sums = []
    for first in range(0, len(images_BD), rows):
        some_RB = None if positives_BB is None else positives_BB[first:first + rows]
        operands = (images_BD[first:first + rows], texts_BD, scale, bias, some_RB, first)
        sums.append(_sigmoid_rows(*operands) if chunk is None
                    else checkpoint(_sigmoid_rows, *operands, use_reentrant=False))
    return torch.stack(sums).sum()


def sigmoid_sum(cosines_BB: Tensor, scale: Tensor | float, bias: Tensor | float,
                positives_BB: Tensor | None = None) -> Tensor:
    """SigLIP's loss of cosines that are there already, as Llip's are, in which each text has its own picture vector."""
    logits_BB = scale * cosines_BB + bias
    return _sigmoid_of(logits_BB, _with_pairs(positives_BB, logits_BB, first=0))


def _sigmoid_rows(images_RD: Tensor, texts_BD: Tensor, scale: Tensor | float, bias: Tensor | float,
                  positives_RB: Tensor | None, first: int) -> Tensor:
    """The sigmoid loss of the R images from number `first` on against all texts."""
    logits_RB = _logits(images_RD, texts_BD, scale) + bias
    return _sigmoid_of(logits_RB, _with_pairs(positives_RB, logits_RB, first))


def _sigmoid_of(logits_RB: Tensor, positives_RB: Tensor) -> Tensor:
    # -log sigmoid(x) = softplus(-x), which keeps its digits where log(sigmoid(x)) has lost them.
    return functional.softplus(torch.where(positives_RB, -logits_RB, logits_RB)).sum()


def _logits(images_RD: Tensor, texts_BD: Tensor, scale: Tensor | float) -> Tensor:
    """The scaled similarities, in float32 where the vectors are of half precision."""
    similarities_RB = images_RD @ texts_BD.T
    return scale * (similarities_RB if similarities_RB.dtype.itemsize >= 4 else similarities_RB.float())


def _with_pairs(positives_RB: Tensor | None, like_RB: Tensor, first: int) -> Tensor:
    """The positives of the R images from number `first` on, each image's own text included."""
    pairs_RB = torch.zeros_like(like_RB, dtype=torch.bool)
    pairs_RB.diagonal(first).fill_(True)
    return pairs_RB if positives_RB is None else pairs_RB | positives_RB
