"""Options of the stage `vision`: what all systems share, and of each family what is its own."""

from dataclasses import dataclass
from typing import Literal

from preceptor.learn.options import FitOptions


@dataclass(frozen=True, kw_only=True)
class VisionOptions(FitOptions):
    """How a system that sees is built and trained."""

    system: str = "clip"
    """Which system it is: a file of preceptor/vision/systems."""
    train: str = "*"
    """The parts that learn, by a pattern such as `connector, language_model.lora`; all others are frozen."""
    rows: int = 128
    """Pictures with a text in a batch."""
    steps: int = 1000
    """Optimiser steps."""
    augment: float = 1.0
    """How far pictures are moved, turned, resized and recoloured at random; 0 leaves them as they are."""
    text_length: int = 32
    """Tokens of a text, start and end included; a longer one is cut, and counted."""
    width: int = 128
    """Width of the blocks."""
    layers: int = 4
    """Blocks of each tower."""
    heads: int = 4
    """Attention heads of a block."""
    patch: int = 4
    """Width and height of a patch in pixels."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "fp32"
    """As for other stages; small networks of pictures are no faster in bf16 on the CPU."""
    weight_decay: float = 0.05
    """On matrices only."""
    warmup: float = 0.05
    """Share of all optimiser steps during which the learning rate rises."""


@dataclass(frozen=True, kw_only=True)
class SeeOptions:
    """What a trained system is measured on."""

    splits: tuple[str, ...] = ("valid", "test", "heldout", "vendor", "concept")
    """Splits of the pictures; those that are not there are passed over."""
    templates: tuple[str, ...] = ("{}",)
    """Texts into which the name of a class is put; a class is the mean of them."""
    limit: int = 0
    """Pictures of each split at most, the first ones; 0 takes all."""


@dataclass(frozen=True, kw_only=True)
class AlbumOptions:
    """Which pictures a language model knows as words from then on, and what is asked about them."""

    splits: tuple[str, ...] = ("train", "valid", "test")
    """Splits of the pictures; those that are not there are passed over."""
    categories: tuple[str, ...] = ()
    """Kinds of conversations that are written out, such as colour; none named takes all."""


@dataclass(frozen=True, kw_only=True)
class ClipOptions(VisionOptions):
    """Two towers and a dot product: CLIP and its kin."""

    vector: int = 128
    """Dimensions of the space that pictures and texts share."""


@dataclass(frozen=True, kw_only=True)
class SiglipOptions(VisionOptions):
    """Two towers and a sigmoid for every pair."""

    chunk: int = 0
    """Pictures whose logits with all texts are held at once while the loss is computed; 0 takes all."""


@dataclass(frozen=True, kw_only=True)
class LlipOptions(VisionOptions):
    """A picture of several vectors, which every text mixes for itself."""

    mixture: int = 16
    """Mixture tokens of a picture (32 to 64 in the paper)."""
    mixture_heads: int = 8
    """Heads by which a text asks them."""
    temperature: float = 5.0
    """Divides the logits of that attention."""
