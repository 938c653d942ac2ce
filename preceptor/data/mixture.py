"""Mixtures: how often each document of each source is seen, from weights or from epochs.

A source of n tokens with weight w in a mixture of T tokens is passed over e = w·T/n times: every document floor(e)
times, and a share e - floor(e) of them, drawn from the seed, once more. Repeating is worth nearly as much as new text
up to about four epochs (Muennighoff et al. 2023, arXiv 2305.16264, section 5), so more must be asked for.
"""

import math
import random
from collections.abc import Mapping, Sequence

from preceptor.run.errors import UserError, nearest

MOST_EPOCHS = 4.0


def epochs_of(tokens: Mapping[str, int], weights: Mapping[str, float], total: int,
              most: float = MOST_EPOCHS) -> dict[str, float]:
    """Epochs of each source so that its share of `total` tokens is its share of the weights.

    Raises:
        UserError: a weight is of no source, is negative, or needs more than `most` epochs; a source has no weight.
    """
    for name in weights:
        if name not in tokens:
            raise UserError(f"There is no source '{name}' to give a weight.", nearest(name, tokens))
    for name in tokens:
        if weights.get(name, -1.0) < 0:
            raise UserError(f"The source '{name}' has no weight, or one below 0.",
                            "Give each source one; 0 leaves it out.")
    whole = sum(weights.values())
    if not whole:
        raise UserError("All weights are 0.", "Give at least one source a weight.")
    epochs = {name: weights[name] / whole * total / count for name, count in tokens.items()}
    for name, count in epochs.items():
        if count > most:
            raise UserError(f"The source '{name}' would be seen {count:.1f} times, more than {most:g}.",
                            "Lower its weight or the total, or allow more epochs.")
    return epochs


def mixed(sources: Sequence[str], epochs: Mapping[str, float], seed: int) -> list[int]:
    """Indices of documents, each as often as the epochs of its source say, in an order drawn from the seed."""
    draw = random.Random(seed)
    order: list[int] = []
    for name in sorted(set(sources)):
        mine = [place for place, source in enumerate(sources) if source == name]
        whole = math.floor(epochs[name])
        extra = draw.sample(mine, round((epochs[name] - whole) * len(mine)))
        order += mine * whole + extra
    draw.shuffle(order)
    return order
