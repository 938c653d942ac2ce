"""Options of the tokenizer stage."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class TokenizerOptions:
    """How the vocabulary is learned."""

    vocabulary: int = 2048
    """Entries of the vocabulary, at most: special tokens, the alphabet (256 bytes, or characters), and what is learned.
    """
    algorithm: Literal["bpe", "wordpiece", "unigram"] = "bpe"
    """Merges of the most frequent pair, merges of the pair that gains most likelihood, or a pruned unigram model."""
    alphabet: Literal["bytes", "fallback", "characters"] = "bytes"
    """What entries are made of: bytes; characters, with a byte for each byte of a character that has no entry; or
    characters, with one unknown token for all others (of wordpiece, which has no bytes)."""
    han: Literal["runs", "apart", "single"] = "runs"
    """Chinese before the vocabulary is learned: letters like others, a run apart from other letters, or each character
    a word (BERT)."""
    sample_bytes: int = 20_000_000
    """Text that the vocabulary is learned from, at most; learning from more costs memory and changes little."""
