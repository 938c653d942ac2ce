"""Losses against a distribution over tokens instead of one token: label smoothing and distillation.

Legend: B batch, T time, V vocabulary. Sums in nats over the positions whose label counts, as in losses/likelihood.py.
"""

from torch import Tensor

from preceptor.data.batches import IGNORE


def smoothed_cross_entropy_sum(logits: Tensor, labels: Tensor, smoothing: float,
                               ignore: int = IGNORE) -> tuple[Tensor, Tensor]:
    """Cross-entropy against (1 − s)·[label] + s/V for every token (Szegedy et al. 2016, arXiv 1512.00567, §7):

        −(1 − s)·log p(label) − s/V·Σ_v log p(v)

    Args:
        logits: [..., V].
        labels: [...], aligned with the logits; `ignore` where a position does not count.
        smoothing: s, in [0, 1].

    Returns:
        The sum in nats and the count (int64), both scalars.
    """
    counted = labels != ignore
    log_p = logits[counted].float().log_softmax(-1)
    of_labels = log_p.gather(-1, labels[counted][:, None])[:, 0]
    return -((1 - smoothing) * of_labels + smoothing * log_p.mean(-1)).sum(), counted.sum()


def distillation_sum(logits: Tensor, teacher_logits: Tensor, counted: Tensor, temperature: float = 1.0) -> Tensor:
    """τ²·KL(teacher ‖ student) of the softmax at temperature τ (Hinton et al. 2015, arXiv 1503.02531, §2):

        τ²·Σ_v q(v)·(log q(v) − log p(v)),  q = softmax(teacher/τ),  p = softmax(student/τ)

    The factor keeps the gradient's size, which falls with 1/τ².

    Args:
        logits: [..., V] of the model that learns.
        teacher_logits: [..., V]; no gradient goes into them.
        counted: [...], bool: the positions that count.

    Returns:
        The sum in nats, a scalar.
    """
    log_p = (logits[counted].float() / temperature).log_softmax(-1)
    log_q = (teacher_logits[counted].detach().float() / temperature).log_softmax(-1)
    return temperature ** 2 * (log_q.exp() * (log_q - log_p)).sum()
