"""Options of the pretraining stage."""

from dataclasses import dataclass
from typing import Literal

from preceptor.learn.options import AdapterOptions, LanguageOptions
from preceptor.models.options import ArchitectureOptions


@dataclass(frozen=True, kw_only=True)
class PretrainOptions(ArchitectureOptions, LanguageOptions, AdapterOptions):
    """The network's shape, what it is trained to do, and how long it learns. Where the step goes on from a `model`, the
    shape is the model's."""

    rows: int = 16
    """Packed rows in a batch."""
    steps: int = 400
    """Optimiser steps; each sees rows x context tokens."""
    ramp: float = 0.0
    """Share of all optimiser steps during which a batch grows from one row to all of them (GPT-3: 4 %)."""
    dropout: float = 0.0
    """Share of each attention's and each feed-forward block's output that is set to 0 while training."""
    rescues: int = 0
    """Times that a spike of the loss or the gradient is cured by going back and cutting out its batches (3, say); 0
    watches nothing, and stops at a loss that is no number."""
    warmup: float = 0.05
    """Share of all optimiser steps during which the learning rate rises linearly to its peak."""
    learning_rate: float = 3e-3
    """Peak learning rate."""
    evaluate_every: int = 100
    """Optimiser steps between measurements on the validation documents."""
    hidden_share: float | None = None
    """Share of the tokens that is hidden, of masked encoders and encoder-decoders: 0.15, for infilling 0.3."""
    masking: Literal["static", "dynamic"] | None = None
    """Of masked encoders: whether a text shows the same holes in every pass (BERT) or other ones (all others)."""
    whole_words: bool = False
    """Of masked encoders: choose whole words, not tokens."""
    denoising: Literal["spans", "infilling"] | None = None
    """Of encoder-decoders: write the missing spans (T5), or the whole text from one with holes whose sentences are
    shuffled (all others)."""
    span: float = 3.0
    """Of encoder-decoders: mean tokens of a hidden span."""
    replay_share: float = 0.25
    """Share of each optimiser step's gradient that comes from the documents of the input `replay`, where there are any.
    """
    extend: Literal["interpolation", "ntk", "yarn", "base", "window", "as_is"] | None = None
    """How a model that the step goes on from comes to read a longer `context` (docs/long_context.md)."""
    expert_balance: float | None = None
    """Of mixtures of experts: weight of the loss by which the experts get equal loads; 0.01 where it is left out."""


@dataclass(frozen=True, kw_only=True)
class AdoptOptions:
    """Where a model that others pretrained comes from, when it is not in a folder."""

    hub: str = ""
    """Name of a causal model on the Hugging Face hub, such as openai-community/gpt2; empty where the step's input
    `model` names a folder."""
