"""Taking out what says the same again: near-duplicate sentences within a text, near-duplicate texts among texts.

What counts as the same is the Jaccard similarity of character 8-grams (`data/near_duplicates.py`, in time linear in
the texts), or the cosine of embeddings where the caller brings an encoder.
"""

import re
from collections.abc import Callable, Sequence

import numpy as np

from preceptor.data.near_duplicates import near_duplicates

ALIKE = 0.7
SHORTEST = 12  # letters of a sentence that must not come again; "Yes." may
_SENTENCE = re.compile(r".+?(?:[.!?]+(?=\s|$)|[。！？…；]+|\n|$)\s*", re.DOTALL)

Embed = Callable[[Sequence[str]], np.ndarray]
"""Texts to vectors (N, D), of any length."""


def alike_pairs(texts: Sequence[str], threshold: float = ALIKE, embed: Embed | None = None) -> list[tuple[int, int]]:
    """Pairs (earlier, later) of texts that say the same: enough of them to link every text to its first like.

    Args:
        embed: compares by the cosine of these vectors, all pairs, instead of by n-grams.
    """
    if embed is None:
        return near_duplicates(texts, threshold)
    if not texts:
        return []
    vectors = np.asarray(embed(texts), dtype=np.float64)
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
    later, earlier = np.nonzero(np.tril(unit @ unit.T >= threshold, -1))
    return list(zip(earlier.tolist(), later.tolist()))


def distinct(texts: Sequence[str], threshold: float = ALIKE, embed: Embed | None = None) -> list[int]:
    """The indices of the texts that are not like any earlier one, ascending. The first of like texts stays."""
    later = {second for _, second in alike_pairs(texts, threshold, embed)}
    return [index for index in range(len(texts)) if index not in later]


def without_repeated_sentences(text: str, threshold: float = ALIKE, embed: Embed | None = None) -> tuple[str, int]:
    """The text without the sentences that are like an earlier one, and how many those were.

    Sentences end at `.!?` before white space, at Chinese full stops and at line ends; what stays is unchanged to the
    byte, its white space included. Sentences of fewer than 12 letters stay.
    """
    sentences = _SENTENCE.findall(text)
    long = [index for index, sentence in enumerate(sentences) if sum(map(str.isalnum, sentence)) >= SHORTEST]
    kept = {long[place] for place in distinct([sentences[index] for index in long], threshold, embed)}
    gone = set(long) - kept
    return "".join(sentence for index, sentence in enumerate(sentences) if index not in gone), len(gone)
