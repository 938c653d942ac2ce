"""Whether a model's hidden states tell tokens apart: the isotropy on which contrastive search rests."""

import numpy as np


def isotropy(states: np.ndarray) -> float | None:
    """1 - mean over i != j of cos(h_i, h_j), for the hidden states (T, D) of one text (Su and Collier 2023,
    arXiv 2210.14140, equation 2).

    Near 0 all states point one way, and contrastive search sees a repetition everywhere; 1 is a random direction each.

    Returns:
        The value, or None where there are fewer than two states.
    """
    count = len(states)
    if count < 2:
        return None
    unit = states / np.maximum(np.linalg.norm(states, axis=-1, keepdims=True), 1e-12)
    total = np.square(unit.sum(0)).sum() - np.square(unit).sum()  # all pairs without the pairs of a state with itself
    return float(1 - total / (count * (count - 1)))
