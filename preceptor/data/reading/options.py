"""Options of reading raw sources."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class ReadingOptions:
    """How raw sources become documents."""

    extractor: Literal["careful", "fast"] = "careful"
    """How pages become text: `careful` is trafilatura, and the fast parser for pages on which it fails or takes too
    long; `fast` is the parser resiliparse alone, several times as fast and less exact."""
    seconds: float = 20.0
    """Seconds that one page, book or PDF may take; then the process that works on it is killed and it counts as a
    problem."""
    memory: int = 2000
    """MiB of address space of the process that extracts text; a page that needs more counts as a problem."""
    largest: int = 20_000_000
    """Bytes of the largest page, line, book or PDF that is read, after decompression; larger ones count as
    problems."""
    passage: int = 20_000
    """UTF-8 bytes at which plain text is cut into documents, at the next blank line."""
