"""Units: the smallest pieces of a text that a span may begin or end at, and spans as one BIO tag for each of them.

A unit is a Han or full-width character, a run of other letters, a run of other digits, or any other character that is
no white space.
Sub-word tokens are made inside units and never across them, so that no vocabulary can blur where a span begins or ends.
Words and tags that a corpus gives are pieces of these, or unions of them, whatever breaker made them.
"""

import re
from collections.abc import Sequence

from preceptor.metrics.entities import spans as tagged_spans

Piece = tuple[int, int]
"""First character, and the one behind the last."""
Mark = tuple[str, int, int]
"""Type, first character, and the one behind the last."""

WIDE = "\u3000-\u303f\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff00-\uffef\U00020000-\U0003134f"
"""Han characters, Chinese marks, and full-width forms: what stands without spaces around it."""
UNIT = re.compile(rf"(?=\S)[{WIDE}]|(?:(?![{WIDE}])[^\W\d_])+|(?:(?![{WIDE}])\d)+|\S")


def units(text: str) -> list[Piece]:
    """The units of a text, in order."""
    return [match.span() for match in UNIT.finditer(text)]


def joined(words: Sequence[str]) -> tuple[str, list[Piece]]:
    """A text of the words that a corpus gives, and where each of them is.

    Words are joined without a space where one of two neighbours ends or begins with a Han or full-width character, as
    Chinese is written, and with one elsewhere.
    """
    text, places = "", []
    for word in words:
        if text and word and not (_wide(text[-1]) or _wide(word[0])):
            text += " "
        places.append((len(text), len(text) + len(word)))
        text += word
    return text, places


def _wide(character: str) -> bool:
    return bool(re.match(rf"[{WIDE}]", character))


def tags_of(pieces: Sequence[Piece], marks: Sequence[Mark]) -> list[str]:
    """The BIO tag of each unit; spans must begin and end with units (`widened`)."""
    tags = ["O"] * len(pieces)
    for kind, start, end in marks:
        for place, (first, behind) in enumerate(pieces):
            if start <= first and behind <= end:
                tags[place] = f"{'B' if first == start else 'I'}-{kind}"
    return tags


def marks_of(pieces: Sequence[Piece], tags: Sequence[str]) -> list[Mark]:
    """The spans that a row of BIO tags means, in characters; inconsistent tags are read as seqeval reads them."""
    return [(kind, pieces[first][0], pieces[last][1]) for kind, first, last in tagged_spans(tags)]


def widened(pieces: Sequence[Piece], marks: Sequence[Mark]) -> list[Mark]:
    """The spans, each made as large as the units that it touches; one that would then overlap another is left out."""
    found: list[Mark] = []
    for kind, start, end in marks:
        touched = [piece for piece in pieces if piece[0] < end and start < piece[1]]
        if touched and (not found or found[-1][2] <= touched[0][0]):
            found.append((kind, touched[0][0], touched[-1][1]))
    return found
