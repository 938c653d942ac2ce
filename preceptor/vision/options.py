"""Options of the stage `vision`: what all systems share, and of each family what is its own."""

from dataclasses import dataclass

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
    precision: str = "fp32"
    """As for other stages; small networks of pictures are no faster in bf16 on the CPU."""
    weight_decay: float = 0.05
    """On matrices only."""
    warmup: float = 0.05
    """Share of all optimiser steps during which the learning rate rises."""


@dataclass(frozen=True, kw_only=True)
class ClipOptions(VisionOptions):
    """Two towers and a dot product: CLIP and its kin."""

    vector: int = 128
    """Dimensions of the space that pictures and texts share."""
