"""How large a vocabulary should be: what each size makes of held-out text, and what it costs the network."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from preceptor.tokenizer.options import TokenizerOptions
from preceptor.tokenizer.pieces import token_pieces
from preceptor.tokenizer.train import train_tokenizer

RARE = 10  # an entry seen less often than this in the sample has little to learn from
NEAR = 1.02  # costs this near to the least are called the same


@dataclass(frozen=True, slots=True)
class Coverage:
    """How a tokenizer writes texts."""

    bytes_per_token: float
    covered: float
    """Share of the texts' bytes in entries that hold whole characters: the rest is written byte by byte, or unknown."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One vocabulary size."""

    vocabulary: int
    held_out: Coverage
    other: Coverage | None
    """On text of another kind than the vocabulary was learned from."""
    embedding_share: float
    """Share of the network's parameters that are embeddings (tied)."""
    rare: float
    """Share of the entries that occur less than 10 times in the sample."""
    cost: float
    """Parameters that are multiplied for one byte of held-out text."""


def coverage(tokenizer: Any, texts: Sequence[str]) -> Coverage:
    """Measure a tokenizer on texts."""
    pieces = token_pieces(tokenizer)
    whole = [_holds_whole_characters(piece) for piece in pieces]
    total = sum(len(text.encode()) for text in texts)
    tokens, covered = 0, 0
    for text in texts:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        tokens += len(ids)
        covered += sum(len(pieces[token]) for token in ids if whole[token])
    return Coverage(total / max(tokens, 1), covered / max(total, 1))


def _holds_whole_characters(piece: bytes) -> bool:
    try:
        return bool(piece.decode())
    except UnicodeDecodeError:
        return False


def study(texts: Sequence[str], held_out: Sequence[str], other: Sequence[str], options: TokenizerOptions,
          sizes: Sequence[int], *, width: int, layers: int) -> Iterator[Trial]:
    """Learn a vocabulary of each size and measure it, for a network of this width and depth.

    A token passes 12·layers·width² parameters of the blocks (attention 4·width², feed-forward 8·width²; Kaplan et al.
    2020, table 1) and width·V of the output projection. Divided by the bytes that a token stands for, that is the cost
    of a byte: a larger vocabulary has fewer tokens, each dearer.
    """
    blocks = 12 * layers * width ** 2
    for size in sizes:
        tokenizer = train_tokenizer(texts, replace(options, vocabulary=size))
        entries = len(tokenizer)
        found = coverage(tokenizer, held_out)
        counts = Counter(token for text in texts for token in tokenizer(text, add_special_tokens=False)["input_ids"])
        yield Trial(entries, found, coverage(tokenizer, other) if other else None,
                    width * entries / (width * entries + blocks),
                    sum(counts[token] < RARE for token in range(entries)) / entries,
                    (blocks + width * entries) / found.bytes_per_token)


def recommended(trials: Sequence[Trial]) -> Trial:
    """The smallest vocabulary whose cost of a byte is within 2 % of the least."""
    least = min(trial.cost for trial in trials)
    return min((trial for trial in trials if trial.cost <= NEAR * least), key=lambda trial: trial.vocabulary)
