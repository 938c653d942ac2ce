"""Options of the stages `pictures` and `emoji`."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class PicturesOptions:
    """How pictures with texts are read."""

    size: int = 64
    """Width and height to which every picture is brought, in pixels."""
    fit: Literal["crop", "pad", "stretch"] = "crop"
    """What becomes of a picture that is not square: the middle is cut out, white is added, or it is stretched."""
    held_out: float = 0.05
    """Share of the pictures that go to the split `valid`, where the files name no splits; equal ones go together."""
    most_pixels: int = 50_000_000
    """A picture that says it has more is left out before it is decoded: it would fill the memory."""


@dataclass(frozen=True, kw_only=True)
class EmojiOptions:
    """Which emoji are for training, and which for zero-shot tests."""

    vendor: Literal["noto", "twemoji", "fluent", "openmoji"] = "fluent"
    """Whose drawings are left out of training."""
    concepts: float = 0.2
    """Share of the concepts that are left out of training in every vendor's drawings."""
    language: Literal["en", "zh", "both"] = "en"
    """Language of names and keywords."""
    keyword_texts: int = 3
    """Texts of two or three keywords, drawn at random, beside each picture's name."""
