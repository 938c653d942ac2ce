"""Options of the pretraining stage."""

from dataclasses import dataclass

from preceptor.learn.options import LanguageOptions


@dataclass(frozen=True, kw_only=True)
class PretrainOptions(LanguageOptions):
    """The network's shape, and how long it learns."""

    width: int = 128
    """Width of the residual stream."""
    layers: int = 4
    """Transformer blocks."""
    heads: int = 4
    """Attention heads; they divide the width."""
    feed_forward: int = 352
    """Width inside the SwiGLU feed-forward blocks."""
    context: int = 256
    """Tokens in a packed row, and the longest text that the model is built for."""
    rows: int = 16
    """Packed rows in a batch."""
    steps: int = 400
    """Optimiser steps; each sees rows x context tokens."""
    warmup: float = 0.05
    """Share of all optimiser steps during which the learning rate rises linearly to its peak."""
    learning_rate: float = 3e-3
    """Peak learning rate of AdamW."""
    evaluate_every: int = 100
    """Optimiser steps between measurements on the validation documents."""


@dataclass(frozen=True, kw_only=True)
class AdoptOptions:
    """Where a model that others pretrained comes from, when it is not in a folder."""

    hub: str = ""
    """Name of a causal model on the Hugging Face hub, such as openai-community/gpt2; empty where the step's input
    `model` names a folder."""
