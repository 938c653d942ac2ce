"""DITTO: a model that reads a sentence again and again learns not to grow surer of it.

Xu et al. 2022, arXiv 2206.02369.
"""

from torch import Tensor

from preceptor.losses.unlikelihood import LEAST


def ditto_sum(log_probs: Tensor, period: int, decay: float = 0.5) -> tuple[Tensor, int]:
    """-sum_{n >= 2} sum_l log(1 - |p(x_{n,l}) - decay * p(x_{n-1,l})|)   (equation 3).

    x_{n,l} is token l of the n-th copy of the sentence; the earlier copy's probability is a constant, so that the
    later one is drawn towards it and not the other way round.

    Args:
        log_probs: [T], of one sentence repeated: log p of its tokens, from the first copy's first predicted one on.
        period: tokens of the sentence.
        decay: lambda, 0.5 in the paper: each copy half as likely as the one before.

    Returns:
        The sum in nats and the number of terms, T - period.
    """
    chances = log_probs.float().exp()
    gap = (chances[period:] - decay * chances[:-period].detach()).abs()
    return -(1 - gap).clamp(min=LEAST).log().sum(), len(gap)
