"""Options of the systems that both read and write pictures: as codes in their vocabulary, or through a painter."""

from dataclasses import dataclass
from typing import Literal

from preceptor.vision.generative_options import ImageTokenizerOptions
from preceptor.vision.splice_options import MiniGpt4Options


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


@dataclass(frozen=True, kw_only=True)
class MiniGpt5Options(MiniGpt4Options):
    """A MiniGPT-4 whose language model tells a painter what to paint; both steps have the same shape."""

    train: str = "vokens, mapper"
    """As for other rows; the second step adds `language_model.lora`."""
    lora_rank: int = 8
    """Rank of what the language model learns."""
    lora_alpha: float = 16.0
    """Scale of what it learns, divided by the rank."""
    vokens: int = 8
    """Vokens of a picture."""
    words: int = 32
    """Words of the painter's condition, as many as its texts may have (77 in the paper)."""
    mapper_layers: int = 2
    """Blocks of the mapper's encoder, and of its decoder (4 in the paper)."""
    painter_width: int = 128
    """Width of the painter, as of the step that it comes from."""
    painter_layers: int = 4
    """Blocks of the painter, as there."""
    painter_heads: int = 4
    """Attention heads of the painter, as there, and of the mapper."""
    painter_patch: int = 4
    """Width and height of the painter's patches, as there."""
    noise_steps: int = 1000
    """Levels of noise, as there."""
    schedule: Literal["linear", "cosine"] = "cosine"
    """How the levels grow, as there."""
    unconditional: float = 0.1
    """Share of pictures that are painted from vokens of nothing in training: for guidance."""
    trials: int = 16
    """Noises with which `score` tries every picture and text; the same ones for all."""
    draw_steps: int = 20
    """Steps from noise to a picture."""
    guidance: float = 3.0
    """How far pictures follow the text beyond what the model says; 1 is the model itself."""
