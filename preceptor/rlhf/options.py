"""Options of the algorithms that learn from answers which the policy writes as it learns.

The values of InstructGPT stand beside ours where they differ.
"""

from dataclasses import dataclass
from typing import Literal

from preceptor.learn.options import FitOptions


@dataclass(frozen=True, kw_only=True)
class PpoOptions(FitOptions):
    """How many answers are sampled, what they are paid, and how the policy and the value network learn from them."""

    algorithm: Literal["ppo"] = "ppo"
    """Proximal policy optimisation; with `ptx_coefficient` above 0 it is PPO-ptx."""

    iterations: int = 25
    """Times that the policy samples new answers and then learns from them (InstructGPT: 500)."""
    episodes: int = 64
    """Answers sampled in an iteration, the unit of whitening (InstructGPT: 512)."""
    minibatches: int = 4
    """Parts of the episodes, one optimiser step each (InstructGPT: 8)."""
    inner_epochs: int = 1
    """Times that each episode is learned from."""
    max_tokens: int = 48
    """Longest answer in tokens; one that has not ended by then is cut."""
    temperature: float = 1.0
    """Divides the logits, in sampling and in the update alike."""
    kl_coefficient: float = 0.02
    """Score that a nat of divergence from the reference costs (beta of InstructGPT's equation 2)."""
    missing_end_penalty: float = 1.0
    """Taken from the score of an answer that was cut before it ended."""
    discount: float = 1.0
    """Discount of a token step (gamma of GAE); 1 is none."""
    gae_lambda: float = 0.95
    """1 takes whole returns (much variance), 0 the value network's word (much bias)."""
    clip: float = 0.2
    """Half-width of the interval around 1 in which the ratio of new to old probability is rewarded."""
    value_clip: float = 0.2
    """Most that a value may move towards its return in one iteration, in units of the score."""
    value_coefficient: float = 0.1
    """Weight of the value loss; the networks share no weight, so that it matters to gradient clipping only."""
    value_learning_rate: float = 3e-4
    """Peak learning rate of the value network."""
    ptx_coefficient: float = 0.0
    """Weight of the mean token loss on pretraining text against the mean token loss of PPO; 0 is plain PPO."""
    ptx_rows: int = 8
    """Packed rows of pretraining text, as wide as the model's context, in each optimiser step."""
    learning_rate: float = 1e-4
    """Peak learning rate of the policy, for a million weights (InstructGPT: about 1e-5, for a thousand million)."""
    schedule: Literal["cosine", "linear", "constant"] = "constant"
    """Shape of the learning rate after the warm-up."""
    warmup: float = 0.1
    """Share of all optimiser steps during which the learning rates rise linearly to their peaks."""
    weight_decay: float = 0.0
    """Decoupled weight decay; what ties the policy to where it began is the divergence, not the origin."""
    precision: Literal["auto", "fp32", "bf16"] = "fp32"
    """Of the update. Answers are sampled in fp32, and bf16 would start the ratio off 1 by its rounding."""
    ema: float = 0.992
    """Decay, in each optimiser step, of the moving average of the weights that is saved beside them; 0 keeps none."""
    checkpoint_every: int = 20
    """Optimiser steps between checkpoints; the last two are kept until the step is done."""
    log_every: int = 1
    """Optimiser steps between lines in the metric log."""
