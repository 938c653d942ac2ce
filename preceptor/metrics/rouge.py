"""ROUGE-1, -2 and -L of summaries (Lin 2004), with a tokenizer for each language named in a signature.

    ROUGE-n   F1 of the n-grams of summary and reference
    ROUGE-L   F1 of their longest common subsequence: R = LCS / |reference|, P = LCS / |summary|

ROUGE figures without their tokenizer cannot be compared: the usual program drops everything but a-z and 0-9, so that a
Chinese summary has no token at all.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence

from preceptor.metrics.classification import Scores, scores_of

KINDS = ("rouge1", "rouge2", "rougeL")
_LATIN = re.compile(r"[a-z0-9]+")
_HAN_OR_LATIN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]|[a-z0-9]+")

TOKENIZERS: dict[str, Callable[[str], list[str]]] = {
    "a-z0-9": lambda text: _LATIN.findall(text.lower()),
    "han-characters+a-z0-9": lambda text: _HAN_OR_LATIN.findall(text.lower()),
}
"""`a-z0-9` is that of Google's `rouge-score` without stemmer; the other cuts Chinese into characters, as LCSTS does."""


def tokenizer_for(language: str) -> str:
    """The name of the tokenizer of a language."""
    return "han-characters+a-z0-9" if language == "zh" else "a-z0-9"


def signature(tokenizer: str) -> str:
    """What a figure must name to be compared with another."""
    return f"rouge:1,2,L|f1|nrefs:best|stem:no|tok:{tokenizer}|preceptor"


def rouge(summary: str, reference: str, tokenizer: str) -> dict[str, Scores]:
    """The three scores of one summary against one reference."""
    said, wanted = TOKENIZERS[tokenizer](summary), TOKENIZERS[tokenizer](reference)
    found = {f"rouge{n}": _ngrams(said, wanted, n) for n in (1, 2)}
    return found | {"rougeL": scores_of(longest_common_subsequence(said, wanted), len(said), len(wanted))}


def best_rouge(summary: str, references: Sequence[str], tokenizer: str) -> dict[str, float]:
    """F1 of each kind against the reference that it is largest for."""
    found = [rouge(summary, reference, tokenizer) for reference in references]
    return {kind: max((one[kind].f1 for one in found), default=0.0) for kind in KINDS}


def longest_common_subsequence(one: Sequence[str], other: Sequence[str]) -> int:
    """The length of the longest sequence that is in both, in order, by dynamic programming in one row."""
    row = [0] * (len(other) + 1)
    for token in one:
        diagonal = 0
        for place, against in enumerate(other, start=1):
            above = row[place]
            row[place] = diagonal + 1 if token == against else max(above, row[place - 1])
            diagonal = above
    return row[-1]


def _ngrams(said: Sequence[str], wanted: Sequence[str], n: int) -> Scores:
    one, other = (Counter(tuple(tokens[start:start + n]) for start in range(len(tokens) - n + 1))
                  for tokens in (said, wanted))
    return scores_of((one & other).total(), one.total(), other.total())
