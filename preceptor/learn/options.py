"""The options of the training loop, shared by every stage that trains."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class FitOptions:
    """How the loop optimises."""

    learning_rate: float = 1e-3
    """Peak learning rate of AdamW."""
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    """Shape of the learning rate after the warm-up."""
    warmup: float = 0.0
    """Share of all optimiser steps during which the learning rate rises linearly to its peak."""
    final_fraction: float = 0.1
    """Learning rate at the last step, as a share of the peak (cosine and linear)."""
    weight_decay: float = 0.1
    """Decoupled weight decay, on matrices only: never on norms, biases and embeddings."""
    beta1: float = 0.9
    """Decay of AdamW's running mean of gradients."""
    beta2: float = 0.95
    """Decay of AdamW's running mean of squared gradients."""
    epsilon: float = 1e-8
    """Added to the root of the second moment (outside the root, as PyTorch does)."""
    clip_norm: float = 1.0
    """Gradients are scaled down to this global norm; 0 turns clipping off."""
    micro_batches: int = 1
    """Pieces into which a batch is split to save memory; changes nothing but rounding."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """bf16 runs matrix products in bfloat16 under autocast, weights stay fp32; auto takes it where it is faster."""
    gradient_checkpointing: bool = False
    """Whether blocks keep only their inputs and are computed again in the backward pass: less memory, more time."""
    ema: float = 0.0
    """Decay of an exponential moving average of the weights, kept beside them; 0 keeps none."""
    checkpoint_every: int = 200
    """Optimiser steps between checkpoints; the last two are kept until the step is done."""
    log_every: int = 10
    """Optimiser steps between lines in the metric log."""


@dataclass(frozen=True, kw_only=True)
class AdapterOptions(FitOptions):
    """Whether all weights learn, or a few beside frozen ones, which are merged into them when the model is saved."""

    adapter: Literal["none", "lora"] = "none"
    """`lora` freezes the model and learns a low-rank change of every linear map in its blocks (needs `peft`)."""
    lora_rank: int = 8
    """Rank of the change; it wants some ten times the learning rate that all weights want."""
    lora_alpha: float = 16.0
    """The change is scaled by this over the rank, so that the learning rate need not follow the rank."""


@dataclass(frozen=True, kw_only=True)
class LanguageOptions(FitOptions):
    """What is added to the likelihood of text so that the model repeats itself less; 0 adds nothing."""

    unlikelihood: float = 0.0
    """Weight of token unlikelihood: earlier tokens of the text become less likely (1 in the paper)."""
    unlikelihood_sequence: float = 0.0
    """Weight of sequence unlikelihood: 4-grams that the model itself repeats when it goes on become less likely (1)."""
    simctg_margin: float = 0.0
    """Margin of SimCTG's contrastive loss, which contrastive search wants (0.5 in the paper)."""
    ditto: float = 0.0
    """Weight of DITTO: each copy of a repeated sentence is to be half as likely as the one before (1)."""
