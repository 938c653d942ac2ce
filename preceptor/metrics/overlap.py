"""An answer against reference answers: exact match and the F1 of SQuAD, in English, and in Chinese by characters.

English (Rajpurkar et al. 2016, arXiv 1606.05250, and their official script): lower case, without punctuation, articles
and doubled spaces; tokens are words. Chinese (CMRC 2018, arXiv 1810.07366): lower case, without punctuation of both
languages; tokens are Chinese characters and runs of Latin letters or digits. Where their official script takes the
longest common substring, this is the bag of tokens of SQuAD, so that one formula serves both languages.
"""

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Sequence

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_PIECES = re.compile(rf"{_HAN.pattern}|[^\W_{_HAN.pattern[1:-1]}]+")
_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")


def normalised(text: str) -> str:
    """A text as SQuAD compares it; a Chinese one without any white space."""
    lowered = text.lower()
    if _HAN.search(lowered):
        return "".join(char for char in lowered if unicodedata.category(char)[0] not in "PSZC")
    plain = "".join(char for char in lowered if char not in string.punctuation)
    return " ".join(_ARTICLES.sub(" ", plain).split())


def answer_tokens(text: str) -> list[str]:
    """The tokens whose overlap F1 counts."""
    plain = normalised(text)
    return _PIECES.findall(plain) if _HAN.search(plain) else plain.split()


def exact_match(answer: str, references: Sequence[str]) -> float:
    """1 where the answer equals a reference after normalisation, else 0."""
    return float(any(normalised(answer) == normalised(reference) for reference in references))


def token_f1(answer: str, references: Sequence[str]) -> float:
    """The largest F1 of the answer's tokens with those of a reference; 1 where both have none."""
    return max((_f1(answer_tokens(answer), answer_tokens(reference)) for reference in references), default=0.0)


def contains(answer: str, references: Sequence[str]) -> float:
    """1 where a reference stands in the answer as a run of its tokens, else 0: for answers in whole sentences."""
    said = answer_tokens(answer)

    def stands(wanted: list[str]) -> bool:
        return bool(wanted) and any(said[start:start + len(wanted)] == wanted for start in range(len(said)))
    return float(any(stands(answer_tokens(reference)) for reference in references))


def last_number(text: str) -> float | None:
    """The last number in a text, thousands separators taken out, or None: where a worked answer says its result."""
    found = _NUMBER.findall(text)
    return float(found[-1].replace(",", "")) if found else None


def number_match(answer: str, references: Sequence[str]) -> float:
    """1 where the last number of the answer is that of a reference, else 0."""
    said = last_number(answer)
    return float(said is not None and any(said == last_number(reference) for reference in references))


def _f1(answer: Sequence[str], reference: Sequence[str]) -> float:
    if not answer or not reference:
        return float(list(answer) == list(reference))
    common = (Counter(answer) & Counter(reference)).total()
    return 2 * common / (len(answer) + len(reference))
