"""Gopher's rules (Rae et al. 2021, arXiv 2112.11446, appendix A.1.1; repetition: table A1)."""

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

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


def repetitive(text: str, words: Sequence[str], language: str, options: RepetitionOptions) -> Drop | None:
    """Whether lines, paragraphs or runs of words make up too much of a text by being said again.

    Shares are of the characters of the whole text. Runs said before are counted without overlap, from left to right.
    Chinese words are characters here, and about two of them make a word: its runs are twice as long.
    """
    size = max(1, len(text))
    paragraphs, lines = PARAGRAPHS.split(text.strip()), LINES.split(text)
    repeated, characters = _said_before(paragraphs)
    drop = first_over([("repetition: paragraphs", repeated / len(paragraphs), options.paragraphs),
                       ("repetition: paragraph characters", characters / size, options.paragraph_characters)])
    repeated, characters = _said_before(lines)
    drop = drop or first_over([("repetition: lines", repeated / len(lines), options.lines),
                               ("repetition: line characters", characters / size, options.line_characters)])
    if drop:
        return drop
    scale = 2 if language == "zh" else 1
    runs = _Runs(words)
    for length, most in enumerate(options.top, start=2):
        if runs.most_of_one(length * scale) > most * size:
            drop = drop or first_over([(f"repetition: top {length}-gram",
                                        _most_frequent(words, length * scale) / size, most)])
    for length, most in enumerate(options.repeated, start=5):
        if drop is None and runs.most_said_before(length * scale) > most * size:
            drop = first_over([(f"repetition: repeated {length}-grams",
                                _runs_before(words, length * scale) / size, most)])
    return drop


class _Runs:
    """Upper bounds on what runs of words can add up to, by array: most texts are far below the limits, and the exact
    counts, word by word, take most of the time of cleaning."""

    def __init__(self, words: Sequence[str]) -> None:
        numbers: dict[str, int] = {}
        self.ids = np.array([numbers.setdefault(word, len(numbers)) for word in words], np.uint64)
        self.starts = np.concatenate([[0], np.cumsum([len(word) for word in words], dtype=np.int64)])

    def _hashes(self, length: int) -> np.ndarray:
        count = max(0, len(self.ids) - length + 1)
        hashes = np.zeros(count, np.uint64)
        for offset in range(length if count else 0):
            hashes = hashes * np.uint64(0x9E3779B97F4A7C15) + self.ids[offset:offset + count] + np.uint64(1)
        return hashes

    def most_of_one(self, length: int) -> int:
        """Characters in all occurrences of a run, spaces included, for the run with the most."""
        hashes = self._hashes(length)
        if not len(hashes):
            return 0
        _, first, counts = np.unique(hashes, return_index=True, return_counts=True)
        return int(((self.starts[first + length] - self.starts[first] + length - 1) * counts).max())

    def most_said_before(self, length: int) -> int:
        """Characters in runs that are not the first of their kind, overlapping ones counted twice."""
        hashes = self._hashes(length)
        _, first = np.unique(hashes, return_index=True)
        later = np.ones(len(hashes), bool)
        later[first] = False
        places = np.flatnonzero(later)
        return int((self.starts[places + length] - self.starts[places]).sum())


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
