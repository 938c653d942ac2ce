"""What a model would say next at each place of a human text: accuracy, repetition, and how many words it uses.

Welleck et al. 2020 (arXiv 1908.04319), section 6.1. A text is (tokens, predictions): `predictions[t]` is the token
that the model finds most likely at the place of `tokens[t]`, given the tokens before it. Given the tokens as
predictions, the figures are those of the text itself, the paper's human row.
"""

from collections.abc import Iterable, Sequence

Text = tuple[Sequence[int], Sequence[int]]

SPANS = (16, 32, 128, 512)  # the paper's l; its tables give l = 128


def accuracy(texts: Iterable[Text]) -> float | None:
    """The share of places where the most likely token is the right one; None where there is no place."""
    return _share((guess == token for tokens, guesses in texts for token, guess in zip(tokens, guesses, strict=True)))


def rep_l(texts: Iterable[Text], span: int = 128) -> float | None:
    """rep/l: the share of places where the most likely token is one of the `span` tokens before."""
    return _share(guess in before for before, _, guess in _places(texts, span))


def wrep_l(texts: Iterable[Text], span: int = 128) -> float | None:
    """wrep/l: the share of places where the most likely token is one of the `span` before, and wrong."""
    return _share(guess in before and guess != token for before, token, guess in _places(texts, span))


def uniq(texts: Iterable[Text]) -> int:
    """How many different tokens are ever the most likely one. It grows with the texts: compare at equal lengths."""
    return len({guess for _, guesses in texts for guess in guesses})


def prediction(texts: Iterable[Text]) -> dict[str, float]:
    """`accuracy`, `rep` and `wrep` at l = 128, their means over the paper's four l, `uniq`, and `places`.

    Raises:
        ValueError: a text has another number of predictions than tokens.
    """
    texts = list(texts)
    figures = {"accuracy": accuracy(texts), "rep_128": rep_l(texts), "wrep_128": wrep_l(texts)}
    if figures["rep_128"] is not None:
        figures |= {"rep": sum(rep_l(texts, span) for span in SPANS) / len(SPANS),
                    "wrep": sum(wrep_l(texts, span) for span in SPANS) / len(SPANS)}
    figures |= {"uniq": uniq(texts), "places": sum(len(tokens) for tokens, _ in texts)}
    return {name: value for name, value in figures.items() if value is not None}


def _places(texts: Iterable[Text], span: int) -> Iterable[tuple[Sequence[int], int, int]]:
    """(the tokens before, the token, the prediction) of every place; the first of a text has none before it."""
    for tokens, guesses in texts:
        for place, (token, guess) in enumerate(zip(tokens, guesses, strict=True)):
            yield tokens[max(0, place - span):place], token, guess


def _share(hits: Iterable[bool]) -> float | None:
    found = list(hits)
    return sum(found) / len(found) if found else None
