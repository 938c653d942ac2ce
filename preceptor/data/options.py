"""Options of the import stage."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ImportOptions:
    """How a user's own files become the records that every stage reads."""

    held_out: float = 0.05
    """Share of the records (by groups of near-duplicates and of one user) that no training sees; a kind of record
    with a validation file of its own holds out that file instead."""
    longest: int = 4000
    """UTF-8 bytes of the longest single message or answer that is taken; a demonstration or comparison with a longer
    one is left out and counted. A token is about 4 bytes: choose what the model's context can hold."""
    passage: int = 8000
    """UTF-8 bytes at which a plain text file is cut into documents, at the next blank line: a book held out whole, or
    not at all, would measure nothing."""
