"""Texts that end in a loop: the same phrase again and again until the text is cut."""

from collections.abc import Hashable, Iterable, Sequence

Text = Sequence[Hashable]

LONGEST = 90  # tokens of a phrase, as in the published program
SHORTEST = 3  # a shorter phrase must be repeated more than MANY times
MANY = 50


def loop_rate(texts: Iterable[Text]) -> float | None:
    """The share of texts that end in a loop, as Holtzman et al. 2020 (arXiv 1904.09751, section 5.5) count it.

    Returns:
        The share, or None when there is no text.
    """
    found = [final_loop(text) is not None for text in texts]
    return sum(found) / len(found) if found else None


def final_loop(text: Text) -> tuple[int, int] | None:
    """(length of the phrase, copies) of the loop that the text ends in, or None.

    Of all phrases at the end of the text the one with the most copies counts (of equal ones the shortest). It is a loop
    where it has two copies or more and at least 3 tokens, or more than 50 copies.
    """
    copies = {length: _copies(text, length) for length in range(1, min(LONGEST, len(text)) + 1)}
    length = max(copies, key=lambda n: (copies[n], -n), default=0)
    if length and copies[length] > 1 and (length >= SHORTEST or copies[length] > MANY):
        return length, copies[length]
    return None


def _copies(text: Text, length: int) -> int:
    """How many times the last `length` tokens stand one after the other at the end of the text."""
    same = 0
    while same + length < len(text) and text[-1 - same] == text[-1 - same - length]:
        same += 1
    return 1 + same // length
