"""The options of the training loop, shared by every stage that trains."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class FitOptions:
    """How the loop optimises."""

    optimiser: Literal["adamw", "adam", "lamb", "lars", "muon", "sgd"] = "adamw"
    """The update rule; `muon` is for matrices, and embeddings, norms and biases then learn by AdamW."""
    learning_rate: float = 1e-3
    """Peak learning rate. Muon takes that of AdamW; LARS and SGD want a larger one (0.1 to 10)."""
    schedule: Literal["cosine", "linear", "polynomial", "wsd", "constant"] = "cosine"
    """Shape of the learning rate after the warm-up; `wsd` is warm-up, stable, decay."""
    warmup: float = 0.0
    """Share of all optimiser steps during which the learning rate rises linearly to its peak."""
    cooldown: float = 0.2
    """Share of all optimiser steps, the last ones, in which `wsd` lowers the learning rate."""
    power: float = 2.0
    """Exponent of the polynomial schedule; 1 is linear."""
    final_fraction: float = 0.1
    """Learning rate at the last step, as a share of the peak (of every schedule but constant)."""
    weight_decay: float = 0.1
    """On matrices only, never on norms, biases and embeddings: decoupled in AdamW and Muon, part of the gradient in
    Adam and SGD, of the direction whose length LAMB and LARS set."""
    beta1: float = 0.9
    """Decay of the running mean of gradients (Adam, AdamW, LAMB)."""
    beta2: float = 0.95
    """Decay of the running mean of squared gradients (Adam, AdamW, LAMB)."""
    momentum: float = 0.9
    """Decay of the velocity (SGD, LARS, Muon)."""
    trust: float = 0.001
    """Length of a step of LARS as a share of the length of the weights, at a learning rate of 1."""
    epsilon: float = 1e-8
    """Added to the root of the second moment (outside the root, as PyTorch does)."""
    clip_norm: float = 1.0
    """Gradients are scaled down to this global norm; 0 turns clipping off."""
    micro_batches: int = 1
    """Pieces into which a batch is split to save memory; changes nothing but rounding."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """bf16 and fp16 run matrix products so under autocast, weights stay fp32, and the loss is scaled for fp16; auto
    takes bf16 where it is faster."""
    gradient_checkpointing: bool = False
    """Whether blocks keep only their inputs and are computed again in the backward pass: less memory, more time."""
    shard: Literal["none", "blocks", "offload"] = "none"
    """Under torchrun: copy the weights to every process, shard the blocks between them, or shard them and keep the
    shards in CPU memory."""
    ema: float = 0.0
    """Decay of an exponential moving average of the weights, kept beside them; 0 keeps none."""
    checkpoint_every: int = 200
    """Optimiser steps between checkpoints."""
    keep_last: int = 2
    """Checkpoints that are kept, the newest ones, until the step is done."""
    keep_every: int = 0
    """Every so many optimiser steps the checkpoint stays for good, in the step's kept/; 0 keeps none so."""
    keep_best: str = ""
    """Measure, such as validation_loss, at whose lowest value so far a checkpoint stays for good, as kept/best."""
    log_every: int = 10
    """Optimiser steps between lines in the metric log."""
    track: str = ""
    """Where metrics go beside the log: tensorboard, wandb, or a function of your own as package.module:function."""


@dataclass(frozen=True, kw_only=True)
class AdapterOptions(FitOptions):
    """Whether all weights learn, or a few in or before frozen ones (docs/adapters.md; needs `peft`)."""

    adapter: Literal["none", "lora", "prompt", "p_tuning"] = "none"
    """`lora` learns a low-rank change of every linear map in the blocks, `prompt` vectors that stand before every text,
    `p_tuning` a small network that makes such vectors; all else is frozen."""
    lora_rank: int = 8
    """Rank of the change; it wants some ten times the learning rate that all weights want."""
    lora_alpha: float = 16.0
    """The change is scaled by this over the rank, so that the learning rate need not follow the rank."""
    prompt_tokens: int = 16
    """Vectors of a soft prompt, which take as many places of the context; they want a learning rate of 0.01 to 0.3."""
    base_bits: Literal[32, 8] = 32
    """8 holds the frozen linear maps in 8 bits, as QLoRA does in 4 (needs `torchao`)."""


@dataclass(frozen=True, kw_only=True)
class LanguageOptions(FitOptions):
    """What is learned from text beside or in place of its likelihood; 0 adds nothing."""

    label_smoothing: float = 0.0
    """Share of each target that goes to all tokens alike (0.1 in the paper)."""
    distillation: float = 0.0
    """Share of the loss that is the distance from the step's input `teacher`; the rest is the likelihood."""
    distillation_temperature: float = 1.0
    """Divides the logits of the model and of its teacher where they are compared."""
    keep_zeros: bool = False
    """Whether weights that are 0 in the model that the step goes on from stay 0, as a pruned model's should."""
    loss: str = ""
    """A loss of your own in place of all others, as package.module:function (docs/training.md)."""

    unlikelihood: float = 0.0
    """Weight of token unlikelihood: earlier tokens of the text become less likely (1 in the paper)."""
    unlikelihood_sequence: float = 0.0
    """Weight of sequence unlikelihood: 4-grams that the model itself repeats when it goes on become less likely (1)."""
    simctg_margin: float = 0.0
    """Margin of SimCTG's contrastive loss, which contrastive search wants (0.5 in the paper)."""
    ditto: float = 0.0
    """Weight of DITTO: each copy of a repeated sentence is to be half as likely as the one before (1)."""
