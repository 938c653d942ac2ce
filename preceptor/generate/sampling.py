"""Drawing tokens: pure functions of logits and uniform numbers, one row an answer.

N rows, V entries of the vocabulary, T tokens. Probabilities are held as integers, in units of 2^-46: a sum of integers
does not depend on its order, while torch has no deterministic cumulative sum of floating-point numbers on a GPU.
"""

import math

import numpy as np
import torch
from torch import Tensor

from preceptor.run.errors import UserError

WEIGHT_OF_ONE = 2.0**46
GOLDEN = -7046029254386353131  # 2^64 / golden ratio, as a signed number: the step of the splitmix64 counter


def uniforms(seeds_N: Tensor, count: int) -> Tensor:
    """Uniform numbers in [0, 1) of shape (N, count), float64, each a function of (seed, index) alone.

    The counter-based generator splitmix64 (Steele, Lea and Flood 2014, figure 15), begun at the hash of the seed so
    that the numbers of neighbouring seeds have nothing in common. A generator with a state would tie a row's numbers to
    the rows that were drawn before it.
    """
    index_T = torch.arange(1, count + 1, device=seeds_N.device)
    start_N = _mixed(seeds_N + GOLDEN)
    bits_NT = _mixed(start_N[:, None] + index_T * GOLDEN)
    return _shifted(bits_NT, 16).double() / 2.0**48  # 48 bits: the largest is below 1 even after a multiplication


def substream(seeds_N: Tensor, number: int | Tensor) -> Tensor:
    """Seeds whose numbers have nothing in common with those of `seeds` or of another stream number (0 or more)."""
    return _mixed(_mixed(seeds_N) + torch.as_tensor(number) * GOLDEN)  # wraps around; a plain number would not


def normals(seeds_N: Tensor, count: int) -> Tensor:
    """Standard normal numbers (N, count), each a function of (seed, index) alone (Box and Muller 1958)."""
    numbers_N2C = uniforms(seeds_N, 2 * count).view(len(seeds_N), 2, count)
    return ((-2 * torch.log1p(-numbers_N2C[:, 0])).sqrt() * (2 * math.pi * numbers_N2C[:, 1]).cos()).float()


def _mixed(bits: Tensor) -> Tensor:
    """The finaliser of splitmix64; products wrap around at 64 bits."""
    bits = (bits ^ _shifted(bits, 30)) * -4658895280553007687
    bits = (bits ^ _shifted(bits, 27)) * -7723592293110705685
    return bits ^ _shifted(bits, 31)


def _shifted(bits: Tensor, by: int) -> Tensor:
    """Shift right and fill with zeros: torch repeats the sign, as its integers are signed."""
    return (bits >> by) & ((1 << (64 - by)) - 1)


def log_probabilities(logits_NV: Tensor, temperature_N: Tensor) -> Tensor:
    """log softmax(logits / temperature) in float32; a temperature of 0 counts as 1."""
    scale_N = torch.where(temperature_N > 0, temperature_N, 1.0)
    scaled_NV = logits_NV.float()
    if (scale_N != 1).any():  # dividing by 1 changes no bit, and costs as much as the softmax
        scaled_NV = scaled_NV / scale_N[:, None]
    return torch.log_softmax(scaled_NV, dim=-1)


def weights(log_probs_NV: Tensor) -> Tensor:
    """Probabilities as int64, in units of 2^-46; what is less likely than one unit cannot be drawn."""
    return (log_probs_NV.double().exp() * WEIGHT_OF_ONE).long()


def truncated(weights_NV: Tensor, top_k_N: Tensor, top_p_N: Tensor) -> Tensor:
    """Weights with those outside the top k, and then outside the nucleus of mass p among what is left, set to 0.

    Top-k (Fan et al. 2018): the k most likely tokens; 0 means all. Top-p (Holtzman et al. 2020): the fewest most likely
    tokens whose probabilities reach p; 1 means all. Tokens that tie with the last one kept are kept, so that
    the order of the vocabulary decides nothing. At least one token is always left.
    """
    sorted_NV = _descending(weights_NV)
    rank_V = torch.arange(weights_NV.shape[-1], device=weights_NV.device)
    last_of_k_N = torch.where(top_k_N > 0, top_k_N.clamp(max=len(rank_V)) - 1, len(rank_V) - 1)
    sorted_NV = torch.where(sorted_NV >= sorted_NV.gather(-1, last_of_k_N[:, None]), sorted_NV, 0)
    sum_NV = sorted_NV.cumsum(-1)
    before_NV = sum_NV - sorted_NV
    nucleus_NV = (before_NV < top_p_N[:, None] * sum_NV[:, -1:]) & (sorted_NV > 0)
    least_kept_N1 = sorted_NV.gather(-1, nucleus_NV.sum(-1, keepdim=True) - 1)
    return torch.where(weights_NV >= least_kept_N1, weights_NV, 0)


def _descending(weights_NV: Tensor) -> Tensor:
    """Each row sorted, the largest first. On a CPU numpy's sort is eight times as fast as torch's (measured)."""
    if weights_NV.device.type == "cpu":
        return torch.from_numpy(np.sort(weights_NV.numpy(), axis=-1)[:, ::-1].copy())
    return weights_NV.sort(dim=-1, descending=True).values


def draw(weights_NV: Tensor, uniforms_N: Tensor) -> Tensor:
    """One token a row by the inverse of the distribution function; a token of weight 0 is never drawn."""
    sum_NV = weights_NV.cumsum(-1)
    target_N = (uniforms_N * sum_NV[:, -1]).long()
    return torch.searchsorted(sum_NV, target_N[:, None], right=True)[:, 0]


def next_tokens(logits_NV: Tensor, uniforms_N: Tensor, temperature_N: Tensor, top_k_N: Tensor, top_p_N: Tensor,
                shaped: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
    """Draw each row's next token; returns (tokens, log-probabilities before top-k and top-p), both (N,).

    `shaped` are rows (R) and their logits (R, V) after processors of their own (`processors.py`): they draw from these,
    without top-k and top-p once more; their log-probabilities are those of the model, as in every row.

    Raises:
        UserError: a logit is not a number.
    """
    log_probs_NV = log_probabilities(logits_NV, temperature_N)
    if log_probs_NV[:, 0].isnan().any():  # softmax spreads one such logit over its whole row
        raise UserError("The model gives probabilities that are not numbers: its training has diverged.",
                        "Train it with a smaller learning rate, or take an earlier checkpoint.")
    greedy_N = temperature_N == 0
    if greedy_N.all():  # what a draw needs costs more than all the rest
        tokens_N = (logits_NV if shaped is None else logits_NV.float().index_copy(0, *shaped)).argmax(-1)
        return tokens_N, log_probs_NV.gather(-1, tokens_N[:, None])[:, 0]
    weights_NV = weights(log_probs_NV)
    if (top_k_N > 0).any() or (top_p_N < 1).any():  # its sort is dear, too
        weights_NV = truncated(weights_NV, top_k_N, top_p_N)
    if shaped is not None:
        weights_NV[shaped[0]] = weights(shaped[1].log_softmax(-1))
        logits_NV = logits_NV.float().index_copy(0, *shaped)
    tokens_N = draw(weights_NV, uniforms_N)
    if greedy_N.any():
        tokens_N = torch.where(greedy_N, logits_NV.argmax(-1), tokens_N)
    return tokens_N, log_probs_NV.gather(-1, tokens_N[:, None])[:, 0]
