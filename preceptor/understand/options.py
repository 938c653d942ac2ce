"""Options of the stages `annotations`, `understand` and `compare`."""

from dataclasses import dataclass
from typing import Literal

from preceptor.learn.options import FitOptions


@dataclass(frozen=True, kw_only=True)
class AnnotationsOptions:
    """How labelled texts become the records that an encoder and a language model both learn from."""

    task: Literal["classify", "tag", "extract"]
    """What is read from a text: one label, the spans that are entities, or the values of fields."""
    text_field: str = "text"
    """Field of the rows that holds the text."""
    label_field: str = "label"
    """Field of the rows that holds the label."""
    held_out: float = 0.1
    """Share of the records that is held out for each of validation and test, where no file of its own is given."""
    most: int = 0
    """Records that are used of each file, drawn from the seed; 0 uses all."""


@dataclass(frozen=True, kw_only=True)
class UnderstandOptions(FitOptions):
    """How an encoder learns to label texts, or their units."""

    longest: int = 256
    """Tokens that the encoder reads at once. A longer text loses its end where it gets one label; for spans it is read
    in parts."""
    pooling: Literal["cls", "mean"] | None = None
    """What the label of a text is read from, of encoders that can do both: its first token, or all; empty is as the
    encoder has it."""
    dropout: float = 0.0
    """Share of each attention's and each feed-forward block's output that is set to 0 while training."""
    rows: int = 32
    """Texts in a batch."""
    epochs: int = 5
    """Passes over the records."""
    learning_rate: float = 5e-4
    """Peak learning rate of AdamW, for small networks; pretrained encoders of 100 M weights want 5e-5."""
    warmup: float = 0.1
    """Share of all optimiser steps during which the learning rate rises linearly to its peak."""


@dataclass(frozen=True, kw_only=True)
class CompareOptions:
    """How two models are measured on the same texts, and how requests are routed between them."""

    rows: int = 32
    """Texts that a model is given at once where its throughput, and so its cost, is measured."""
    timed: int = 64
    """Test texts on which time is measured, drawn from the seed."""
    repeats: int = 3
    """Times that throughput and memory are measured, the models in turn."""
    price: float = 1.0
    """What the machine costs an hour, in any currency."""
    tolerance: float = 0.01
    """How far, as a share of it, the router may stay below the better model's quality on the validation records."""
    max_tokens: int = 96
    """Tokens of a language model's answer, at most, where it writes spans."""
