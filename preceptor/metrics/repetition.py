"""How much texts repeat themselves, by shares of repeated n-grams.

A text is a list of tokens, of any hashable kind. `text_tokens` cuts a string into words, and Chinese and Japanese
into characters: split at spaces, a whole Chinese text would be one word without any n-gram.

Texts shorter than n have no n-gram and are left out of that n; `repetition` counts them. What cannot be measured is
None, never 0, which would be praise.
"""

import math
import re
from collections.abc import Hashable, Iterable, Sequence

# Ideographs, kana, and their punctuation and full-width forms stand alone; Hangul is written with spaces.
_ALONE = "\u3000-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff"
_TOKEN = re.compile(rf"[{_ALONE}]|[^\s{_ALONE}]+")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=[。！？…；])|\n+")

Text = Sequence[Hashable]


def text_tokens(text: str) -> list[str]:
    """Words, as `str.split` gives them; every Chinese or Japanese character is a token of its own."""
    return [token for token in _TOKEN.findall(text) if not token.isspace()]


def rep_n(texts: Iterable[Text], n: int) -> float | None:
    """1 - (distinct n-grams of each text, summed) / (all n-grams), from 0 to 1: long texts weigh more.

    Su et al. 2022 (arXiv 2202.06417), there as a percentage. Distinct means distinct within one text: the same phrase
    in two answers is no repetition here. Their code drops the last n-gram of every text; the formula does not.

    Returns:
        The share, or None when no text has n tokens.
    """
    counts = [_counts(text, n) for text in texts]
    total = sum(total for total, _ in counts)
    return 1 - sum(distinct for _, distinct in counts) / total if total else None


def seq_rep_n(texts: Iterable[Text], n: int = 4) -> float | None:
    """The mean over texts of 1 - distinct n-grams / n-grams: every text weighs the same.

    Welleck et al. 2020 (arXiv 1908.04319), there with n = 4.

    Returns:
        The mean over the texts that have n tokens, or None when none has.
    """
    shares = [1 - distinct / total for total, distinct in (_counts(text, n) for text in texts) if total]
    return math.fsum(shares) / len(shares) if shares else None


def diversity(texts: Iterable[Text]) -> float | None:
    """(1 - rep_2)(1 - rep_3)(1 - rep_4), from 0 (one loop) to 1 (no n-gram twice in a text). Su et al. 2022.

    Returns:
        The product, or None when no text has 4 tokens.
    """
    texts = list(texts)
    shares = [rep_n(texts, n) for n in (2, 3, 4)]
    return None if None in shares else math.prod(1 - share for share in shares)


def published_diversity(texts: Iterable[str]) -> dict[str, float]:
    """The figures of Su et al. 2022 as their program prints them: `rep_2`, `rep_3`, `rep_4` and `diversity`, in
    percent.

    It cuts texts at white space whatever the language, stops before the last n-gram of each text, and rounds each
    rep-n to two decimals before it multiplies. Only for comparison with published figures.

    Raises:
        ZeroDivisionError: no text has more than 4 words (Chinese texts have none).
    """
    words = [text.split()[:-1] for text in texts]
    figures = {}
    for n in (2, 3, 4):
        counts = [_counts(text, n) for text in words]
        share = 1 - sum(distinct for _, distinct in counts) / sum(total for total, _ in counts)
        figures[f"rep_{n}"] = round(100 * share, 2)
    return {**figures, "diversity": 100 * math.prod(1 - share / 100 for share in figures.values())}


def repeated_sentences(texts: Iterable[str]) -> float | None:
    """The share of sentences that stood before in their own text, over all texts; white space and case do not count.

    Returns:
        The share, or None when no text has two sentences.
    """
    split = [sentences for text in texts if len(sentences := text_sentences(text)) > 1]
    total = sum(map(len, split))
    return 1 - sum(len(set(sentences)) for sentences in split) / total if total else None


def text_sentences(text: str) -> list[str]:
    """The sentences and lines of an English or Chinese text, in lower case, without white space at their ends."""
    return [sentence for part in _SENTENCE_END.split(text) if (sentence := " ".join(part.lower().split()))]


def repetition(texts: Iterable[Text]) -> dict[str, float]:
    """Every measure of this file over the answers of one model.

    Returns:
        `rep_2`, `rep_3`, `rep_4`, `seq_rep_4`, `diversity` where they can be measured, the number of `texts`, and
        `too_short`, how many of them have fewer than 4 tokens and so take no part in the figures for n = 4.
    """
    texts = list(texts)
    shares = {f"rep_{n}": rep_n(texts, n) for n in (2, 3, 4)}
    shares |= {"seq_rep_4": seq_rep_n(texts), "diversity": diversity(texts)}
    measured = {name: share for name, share in shares.items() if share is not None}
    return measured | {"texts": len(texts), "too_short": sum(len(text) < 4 for text in texts)}


def _counts(text: Text, n: int) -> tuple[int, int]:
    """The n-grams of one text: how many, and how many distinct."""
    grams = [tuple(text[start:start + n]) for start in range(len(text) - n + 1)]
    return len(grams), len(set(grams))
