"""What a reader of one format yields: raw pieces that may still need extraction, and problems in their place."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Kind = Literal["text", "html", "wikitext", "pdf", "epub"]


@dataclass(frozen=True, slots=True)
class Raw:
    """One piece of a file: a page, a line, a book. `content` is text already, or bytes for the extractor.

    `charset` is what the server said of the bytes; `id` and `source` stand where the file names its own.
    """

    kind: Kind
    content: str | bytes
    id: str | None = None
    source: str | None = None
    language: str | None = None
    license: str | None = None
    charset: str | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """A piece that could not be read, and why in a phrase that counts with others like it; `detail` is this one's."""

    what: str
    detail: str = ""


Piece = Raw | Problem
Reader = Callable[[Path, int], Iterator[Piece]]
"""Reads a file piece by piece in bounded memory; the number is the size in bytes of the largest piece."""
