"""Texts side by side in a terminal, English and Chinese: a Chinese character is two columns wide."""

import textwrap
import unicodedata
from collections.abc import Mapping
from itertools import zip_longest

GAP = "  "
NARROWEST = 20


def side_by_side(texts: Mapping[str, str], width: int) -> str:
    """Titled texts in columns of equal width that fill `width`; one below the other where they would be too narrow."""
    column = (width - len(GAP) * (len(texts) - 1)) // len(texts)
    if column < NARROWEST:
        return "\n".join(f"{title}\n{textwrap.indent(text, GAP)}" for title, text in texts.items())
    lines = [[title, "-" * column, *wrapped(text, column)] for title, text in texts.items()]
    return "\n".join(GAP.join(cell + " " * (column - width_of(cell)) for cell in row).rstrip()
                     for row in zip_longest(*lines, fillvalue=""))


def wrapped(text: str, width: int) -> list[str]:
    """Lines of at most `width` columns, broken at spaces, around wide characters, and inside words that are longer."""
    lines = []
    for paragraph in text.expandtabs(4).splitlines() or [""]:
        line = ""
        for piece in _pieces(paragraph, width):
            if width_of(line + piece.rstrip()) > width:
                lines.append(line.rstrip())
                line = ""
            line += piece
        lines.append(line.rstrip())
    return lines


def _pieces(paragraph: str, width: int) -> list[str]:
    """What a line may not break: words with the space behind them (in parts that fit a line), and wide characters."""
    pieces = [""]
    last = " "
    for char in paragraph:
        begins = (last.isspace() and not char.isspace()) or width_of(char) == 2 or width_of(last) == 2
        if begins or len(pieces[-1]) == width:
            pieces.append("")
        pieces[-1] += char
        last = char
    return pieces


def width_of(text: str) -> int:
    """Columns that a terminal takes for a text."""
    return sum(0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
               for char in text)
