"""Options of the tokenizer stage."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class TokenizerOptions:
    """How the vocabulary is learned."""

    vocabulary: int = 2048
    """Entries of the vocabulary: 256 bytes, 5 special tokens, and merges."""
    sample_bytes: int = 20_000_000
    """Text that the merges are learned from, at most; learning from more costs memory and changes little."""
