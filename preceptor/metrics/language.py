"""How well a model predicts text: from the summed loss in nats to figures that can be compared.

Sums come from `losses.likelihood`; adding sums and counts over batches before the division is what makes the figure
independent of the batching.
"""

import math
from collections.abc import Sequence

import numpy as np

from preceptor.run.errors import UserError


def perplexity(nats: float, tokens: int) -> float:
    """exp(nats / tokens): among how many equally likely tokens the model hesitates.

    Comparable between models of one tokenizer only. Infinite where the mean exceeds what a float holds (709 nats).

    Args:
        nats: sum of -log p over the tokens.
        tokens: how many tokens that sums over.

    Raises:
        UserError: there is no token.
    """
    _check_some(tokens, "token")
    try:
        return math.exp(nats / tokens)
    except OverflowError:
        return math.inf


def bits_per_byte(nats: float, utf8_bytes: int) -> float:
    """nats / (bytes log 2): what each byte of the text would cost, compressed with the model.

    Does not depend on the tokenizer, so it compares any two models on one text. Give the bytes of all the text whose
    tokens were predicted; the end-of-text tokens cost nats but have no bytes.

    Args:
        nats: sum of -log p over the tokens of the text.
        utf8_bytes: length of the text in UTF-8.

    Raises:
        UserError: there is no byte.
    """
    _check_some(utf8_bytes, "byte")
    return nats / (utf8_bytes * math.log(2))


def coherence(log_probs: Sequence[Sequence[float]]) -> float | None:
    """The mean over texts of the mean of log p(token | prefix, tokens before) in nats under a reference model.

    Su and Collier 2023 (arXiv 2210.14140), section 4.1: 0 at most; the model must not be the one that wrote the texts.

    Returns:
        The mean over the texts that have a token, or None when none has.
    """
    means = [math.fsum(text) / len(text) for text in log_probs if len(text)]
    return math.fsum(means) / len(means) if means else None


def embedding_coherence(prefixes: np.ndarray, continuations: np.ndarray) -> float:
    """The mean cosine between the embeddings (N, D) of prefixes and of their continuations, by any sentence encoder.

    Su et al. 2022 (arXiv 2202.06417), section 4.2, there with SimCSE.
    """
    lengths = np.linalg.norm(prefixes, axis=-1) * np.linalg.norm(continuations, axis=-1)
    return float(((prefixes * continuations).sum(-1) / np.maximum(lengths, 1e-12)).mean())


def _check_some(count: int, unit: str) -> None:
    if count <= 0:
        raise UserError(f"There is no {unit} to measure the model on.", "Give a text that is not empty.")
