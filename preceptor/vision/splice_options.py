"""Options of the systems that put pictures among the words of a language model."""

from dataclasses import dataclass

from preceptor.vision.options import VisionOptions


@dataclass(frozen=True, kw_only=True)
class SpliceOptions(VisionOptions):
    """A language model that reads pictures; the tower's shape counts only where no other row gives the tower."""

    rows: int = 32
    """Conversations in a batch."""
    text_length: int = 128
    """Tokens of a conversation, those of its pictures included; a longer one is left out, and counted."""
    categories: tuple[str, ...] = ()
    """Kinds of conversations that are learned from, such as caption; none named takes all."""
    answer_tokens: int = 32
    """An answer or caption is cut after this many tokens."""
    augment: float = 0.0
    """As for other rows, but off: questions ask for colours and places, which it would change."""


@dataclass(frozen=True, kw_only=True)
class FrozenOptions(SpliceOptions):
    """The tower learns through a language model that does not."""

    train: str = "image, connector"
    """As for other rows."""
    vectors: int = 2
    """Vectors of a picture (2 in the paper)."""


@dataclass(frozen=True, kw_only=True)
class QueryOptions(SpliceOptions):
    """A Q-Former between a tower and a language model."""

    train: str = "fusion, connector"
    """As for other rows."""
    queries: int = 16
    """Learned queries, so many vectors a picture has (32 in the paper)."""
    query_width: int = 128
    """Width of the Q-Former."""
    query_layers: int = 4
    """Blocks of the Q-Former; every second one looks at the picture."""


@dataclass(frozen=True, kw_only=True)
class QueryPretrainingOptions(VisionOptions):
    """A Q-Former that learns to see before it speaks to a language model."""

    train: str = "fusion, text, heads, scale"
    """As for other rows."""
    queries: int = 16
    """Learned queries (32 in the paper); the second stage must have as many."""
    query_width: int = 128
    """Width of the Q-Former, the same in the second stage."""
    query_layers: int = 4
    """Blocks of the Q-Former, the same in the second stage."""
    vector: int = 64
    """Dimensions of the space that queries and texts share (256 in the authors' code)."""
    smoothing: float = 0.1
    """Share of each target of the contrastive loss that goes to all of the batch alike."""


@dataclass(frozen=True, kw_only=True)
class MiniGpt4Options(QueryOptions):
    """BLIP-2's tower and Q-Former, and one linear map that learns."""

    train: str = "connector"
    """As for other rows."""


@dataclass(frozen=True, kw_only=True)
class MiniGptV2Options(SpliceOptions):
    """Neighbouring patches put together, and a language model that learns a little."""

    train: str = "connector, language_model.lora"
    """As for other rows."""
    lora_rank: int = 8
    """Rank of what the language model learns (64 in the paper)."""
    lora_alpha: float = 16.0
    """Scale of what it learns, divided by the rank."""


@dataclass(frozen=True, kw_only=True)
class QwenVlOptions(SpliceOptions):
    """Learned queries look at the patches once; first the language model is frozen, then it learns as well."""

    train: str = "image, connector"
    """As for other rows."""
    vectors: int = 16
    """Vectors of a picture, a square number (256 in the paper)."""
