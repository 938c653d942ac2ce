"""Text in both languages at once, and numbers as people read them.

A `Text` is a function of the language. The page holds every sentence in every language, side by side in spans, and
its style sheet shows one of them: so the page needs no network and no second file.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from preceptor.words.catalogue import LANGUAGES, known, say

Text = Callable[[str], str]
Figure = Mapping[str, float]  # an interval as results.json holds it: mean, low, high, n

SPACE, NARROW = "\u00a0", "\u202f"  # spaces at which a line is not broken
TAGS = {"en": "en", "zh": "zh-CN"}


def text(key: str, **values: Any) -> Text:
    """The sentence of a key; a value may itself be a `Text`."""
    def in_language(language: str) -> str:
        filled = {name: value(language) if callable(value) else value for name, value in values.items()}
        return say(key, language, **filled)
    return in_language


def named(group: str, name: str) -> Text:
    """What people call the `name` of a group (`model`, `category`); a name in no catalogue stands for itself."""
    key = f"{group}.{name}"
    return text(key) if known(key) else lambda language: name


def joined(separator: str, parts: Sequence[Text]) -> Text:
    """Texts with a separator between them."""
    return lambda language: separator.join(part(language) for part in parts)


def both(content: Text | str, **values: Any) -> Markup:
    """A `Text`, or the sentence of a key, as spans in all languages, escaped."""
    content = text(content, **values) if isinstance(content, str) else content
    span = Markup('<span class="{}" lang="{}">{}</span>')
    return Markup("").join(span.format(language, TAGS[language], content(language).replace(" %", f"{NARROW}%"))
                           for language in LANGUAGES)


def percent(share: float) -> str:
    """`68 %`; one decimal below 10 %, where it tells something."""
    decimals = 1 if 0.0005 <= abs(share) < 0.0995 else 0
    return _signed(f"{100 * share:.{decimals}f}{NARROW}%")


def percent_interval(figure: Figure) -> str:
    """`68 % [64, 72]`."""
    low, high = (percent(figure[end]).removesuffix(f"{NARROW}%") for end in ("low", "high"))
    return f"{percent(figure['mean'])}{SPACE}[{low},{SPACE}{high}]"


def number(value: float) -> str:
    """Three significant digits, without an exponent between a ten-thousandth and a million."""
    if value == 0 or 1e-4 <= abs(value) < 1e6:
        magnitude = int(f"{abs(value):.2e}".partition("e")[2])
        return f"{value:,}" if isinstance(value, int) else _signed(f"{value:,.{max(0, 2 - magnitude)}f}")
    return _signed(f"{value:.2e}")


def _signed(shown: str) -> str:
    return shown.replace("-", "−", 1) if shown.startswith("-") else shown


def interval(figure: Figure, decimals: int | None = None) -> str:
    """`4.21 [4.05, 4.37]`, unless told otherwise to the second digit of its width: what is behind that is noise."""
    width = figure["high"] - figure["low"]
    if decimals is None:
        decimals = max(0, 1 - math.floor(math.log10(width))) if width > 0 else 2
    mean, low, high = (_signed(f"{figure[part]:,.{decimals}f}") for part in ("mean", "low", "high"))
    return f"{mean}{SPACE}[{low},{SPACE}{high}]"
