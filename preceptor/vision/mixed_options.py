"""Options of the systems whose one vocabulary holds words and codes of pictures."""

from dataclasses import dataclass
from typing import Literal

from preceptor.vision.generative_options import ImageTokenizerOptions


@dataclass(frozen=True, kw_only=True)
class MixedOptions(ImageTokenizerOptions):
    """A language model over words and codes; the image tokenizer comes from `start` and stays as it is."""

    train: str = "language_model"
    """As for other rows."""
    learning_rate: float = 1e-3
    """Peak learning rate."""
    text_length: int = 128
    """Tokens of a conversation, those of its pictures included; a longer one is left out, and counted."""
    categories: tuple[str, ...] = ()
    """Kinds of conversations that are learned from, such as caption; none named takes all."""
    answer_tokens: int = 32
    """An answer or caption is cut after this many tokens."""
    top_k: int = 0
    """How many of the most likely codes may be drawn; 0 means all."""


@dataclass(frozen=True, kw_only=True)
class ChameleonOptions(MixedOptions):
    """One network for both, every token alike."""

    counted: Literal["all", "answers"] = "all"
    """Whether the loss counts all tokens, given pictures and questions too, or those of answers, as in fine-tuning."""
    swin_norm: bool = False
    """Norms behind attention and feed-forward part in place of before them (the paper's 34B)."""


@dataclass(frozen=True, kw_only=True)
class Cm3LeonOptions(MixedOptions):
    """Spans are cut out and follow at the end; pictures are drawn under guidance."""

    cut: float = 0.5
    """Share of documents of which a span is cut out."""
    whole: float = 0.5
    """Share of the spans that are a whole caption or picture; the others begin and end anywhere in one."""
    instructed: bool = False
    """Whether captions are requests and answers, as in the second step, or documents."""
    decoding: Literal["guided", "contrastive"] = "guided"
    """How pictures are drawn away from those of a masked text: by classifier-free guidance, or contrastively."""
    guidance: float = 3.0
    """How far, under guidance; 1 is the model itself."""
    rank: int = 5
    """Contrastive: codes are plausible by the measure of the code of this rank."""
    plausible: float = 0.5
    """Contrastive: share of that code's probability that a code must reach."""
