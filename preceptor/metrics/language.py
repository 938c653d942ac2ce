"""How well a model predicts text: from the summed loss in nats to figures that can be compared.

Sums come from `losses.likelihood`; adding sums and counts over batches before the division is what makes the figure
independent of the batching.
"""

import math

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


def _check_some(count: int, unit: str) -> None:
    if count <= 0:
        raise UserError(f"There is no {unit} to measure the model on.", "Give a text that is not empty.")
