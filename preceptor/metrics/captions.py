"""Measures of captions as the field's own code computes them, without Java: BLEU, ROUGE-L and CIDEr-D.

Every caption comes with several references. Texts are cut by `words`, a short form of the Penn Treebank's rules; texts
that are cut already give the figures of pycocoevalcap. METEOR and SPICE need Java and are left out.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence

from preceptor.metrics.rouge import longest_common_subsequence

Words = Sequence[str]
Grams = Counter[tuple[str, ...]]
Weighing = Callable[[Words, int], dict[tuple[str, ...], float]]

N = 4               # n-grams up to this length
SIGMA = 6.0         # of CIDEr-D's penalty on other lengths, in bigrams
BETA = 1.2          # of ROUGE-L: how much more recall weighs than precision
_TINY, _SMALL = 1e-15, 1e-9     # what keeps the field's BLEU from dividing by nothing

_LETTERS = r"(?:(?![㐀-䶿一-鿿])\w)+"
_WORD = re.compile(rf"[㐀-䶿一-鿿]|{_LETTERS}(?:[-/]{_LETTERS})*|[^\w\s]")
_CLITIC = re.compile(r"(?i)(n't|'s|'m|'d|'ll|'re|'ve)\b")
_DROPPED = frozenset("'' ' `` ` ( ) { } [ ] . ? ! , : - -- ... ; \" 。 ， 、 ？ ！ ； ：".split())


def words(text: str) -> list[str]:
    """A caption in lower case as words without punctuation; Chinese characters stand alone, n't and 's as well."""
    parts: list[str] = []
    for part in _CLITIC.split(text.lower()):
        parts += [part] if _CLITIC.fullmatch(part) else _WORD.findall(part)
    return [part for part in parts if part not in _DROPPED]


def bleu(captions: Sequence[Words], references: Sequence[Sequence[Words]]) -> list[float]:
    """Corpus BLEU-1 to BLEU-4 (Papineni et al. 2002), each caption against the nearest length of its references.

        BLEU-n = exp(min(0, 1 - r/c)) (prod_{k<=n} p_k)^(1/n),   p_k the clipped precision of k-grams of the corpus
    """
    right, said, length, wanted = [0] * N, [0] * N, 0, 0
    for caption, several in zip(captions, references, strict=True):
        length += len(caption)
        wanted += min((abs(len(one) - len(caption)), len(one)) for one in several)[1]
        for n in range(1, N + 1):
            most: Grams = Counter()
            for one in several:
                most |= grams(one, n)
            own = grams(caption, n)
            right[n - 1] += (own & most).total()
            said[n - 1] += own.total()
    ratio = (length + _TINY) / (wanted + _SMALL)
    short, product, scores = math.exp(min(0.0, 1 - 1 / ratio)), 1.0, []
    for n in range(N):
        product *= (right[n] + _TINY) / (said[n] + _SMALL)
        scores.append(product ** (1 / (n + 1)) * short)
    return scores


def rouge_l(caption: Words, references: Sequence[Words]) -> float:
    """ROUGE-L (Lin 2004) with the best precision and the best recall over references, F of beta 1.2."""
    common = [longest_common_subsequence(caption, one) for one in references]
    precision = max(found / len(caption) for found in common) if caption else 0.0
    recall = max((found / len(one) for found, one in zip(common, references) if one), default=0.0)
    if not precision or not recall:
        return 0.0
    return (1 + BETA ** 2) * precision * recall / (recall + BETA ** 2 * precision)


def cider_d(captions: Sequence[Words], references: Sequence[Sequence[Words]]) -> list[float]:
    """CIDEr-D of each caption (Vedantam et al. 2015, arXiv 1411.5726, section 6): its mean is the corpus' figure.

        10/N sum_n mean_refs exp(-(l_c - l_r)^2 / 2 sigma^2) sum_g min(c_g, r_g) r_g / (|c| |r|)

    c and r are term frequencies times log(pictures / pictures whose references have the n-gram). As in the field's
    code, lengths are counted in bigrams, and how rare an n-gram is comes from the very references that are compared
    with, so that figures of other sets of pictures cannot be compared.
    """
    seen: Grams = Counter()
    for several in references:
        seen.update({gram for one in several for n in range(1, N + 1) for gram in grams(one, n)})
    pictures = math.log(len(references)) if references else 0.0

    def weighed(text: Words, n: int) -> dict[tuple[str, ...], float]:
        return {gram: count * (pictures - math.log(max(1, seen[gram]))) for gram, count in grams(text, n).items()}

    return [_cider(caption, several, weighed) for caption, several in zip(captions, references, strict=True)]


def _cider(caption: Words, references: Sequence[Words], weighed: Weighing) -> float:
    total = 0.0
    for n in range(1, N + 1):
        own = weighed(caption, n)
        for one in references:
            other = weighed(one, n)
            lengths = math.sqrt(sum(v * v for v in own.values())) * math.sqrt(sum(v * v for v in other.values()))
            dot = sum(min(value, other[gram]) * other[gram] for gram, value in own.items() if gram in other)
            delta = max(len(caption) - 1, 0) - max(len(one) - 1, 0)
            total += dot / (lengths or 1.0) * math.exp(-delta ** 2 / (2 * SIGMA ** 2))
    return 10 * total / (N * len(references))


def grams(text: Words, n: int) -> Grams:
    """The n-grams of a text with their counts."""
    return Counter(tuple(text[start:start + n]) for start in range(len(text) - n + 1))
