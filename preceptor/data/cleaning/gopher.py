"""Gopher's rules (Rae et al. 2021, arXiv 2112.11446, appendix A.1.1; repetition: table A1)."""

import re
from collections import Counter
from collections.abc import Sequence

from preceptor.data.cleaning.options import GopherOptions, RepetitionOptions
from preceptor.data.cleaning.verdict import Drop, first_over, first_under
from preceptor.data.cleaning.words import has_letter

STOP_WORDS = {"the", "be", "to", "of", "and", "that", "have", "with"}
PARAGRAPHS, LINES = re.compile(r"\n{2,}"), re.compile(r"\n+")


def poor_quality(text: str, words: Sequence[str], language: str, options: GopherOptions) -> Drop | None:
    """Whether a text's words, symbols and lines are not those of prose. `words` is `counted_words(text)`."""
    lines = text.splitlines() or [""]
    count = max(1, len(words))
    shapes = [
        ("gopher: hashes", text.count("#") / count, options.most_symbols),
        ("gopher: ellipses", (text.count("...") + text.count("…")) / count, options.most_symbols),
        ("gopher: bullet lines", sum(line.lstrip().startswith(("•", "-")) for line in lines) / len(lines),
         options.most_bullets),
        ("gopher: ellipsis lines", sum(line.rstrip().endswith(("...", "…")) for line in lines) / len(lines),
         options.most_ellipses),
    ]
    if language == "zh":  # the other limits are of words with spaces between them
        return first_over(shapes)
    real = [word for word in words if has_letter(word)]
    mean = sum(map(len, real)) / max(1, len(real))
    alphabetic = sum(any(map(str.isalpha, word)) for word in words) / count
    stop_words = len(STOP_WORDS.intersection(words)) if language == "en" else options.least_stop_words
    return (first_under([("gopher: too few words", len(real), options.least_words)])
            or first_over([("gopher: too many words", len(real), options.most_words)])
            or first_under([("gopher: short words", mean, options.least_mean_word)])
            or first_over([("gopher: long words", mean, options.most_mean_word), *shapes])
            or first_under([("gopher: words without letters", alphabetic, options.least_alphabetic),
                            ("gopher: stop words", stop_words, options.least_stop_words)]))


def repetitive(text: str, words: Sequence[str], options: RepetitionOptions) -> Drop | None:
    """Whether lines, paragraphs or runs of words make up too much of a text by being said again.

    Shares are of the characters of the whole text. Runs said before are counted without overlap, from left to right.
    """
    size = max(1, len(text))
    paragraphs, lines = PARAGRAPHS.split(text.strip()), LINES.split(text)
    repeated, characters = _said_before(paragraphs)
    drop = first_over([("repetition: paragraphs", repeated / len(paragraphs), options.paragraphs),
                       ("repetition: paragraph characters", characters / size, options.paragraph_characters)])
    repeated, characters = _said_before(lines)
    drop = drop or first_over([("repetition: lines", repeated / len(lines), options.lines),
                               ("repetition: line characters", characters / size, options.line_characters)])
    for length, most in options.top.items():
        if drop is None and len(words) >= length:
            drop = first_over([(f"repetition: top {length}-gram", _most_frequent(words, length) / size, most)])
    for length, most in options.repeated.items():
        if drop is None:
            drop = first_over([(f"repetition: repeated {length}-grams", _runs_before(words, length) / size, most)])
    return drop


def _said_before(parts: Sequence[str]) -> tuple[int, int]:
    """How many parts equal an earlier one, and their characters."""
    seen: set[str] = set()
    count = characters = 0
    for part in parts:
        if part in seen:
            count += 1
            characters += len(part)
        seen.add(part)
    return count, characters


def _most_frequent(words: Sequence[str], length: int) -> int:
    """Characters, spaces included, in all occurrences of the most frequent run of `length` words; the first of equals.
    """
    counts = Counter(zip(*(words[offset:] for offset in range(length))))
    run, count = counts.most_common(1)[0]
    return len(" ".join(run)) * count


def _runs_before(words: Sequence[str], length: int) -> int:
    """Characters in runs of `length` words that were said before, from left to right without overlap."""
    seen: set[str] = set()
    characters = place = 0
    while place <= len(words) - length:
        run = "".join(words[place:place + length])
        if run in seen:
            characters += len(run)
            place += length
        else:
            seen.add(run)
            place += 1
    return characters
