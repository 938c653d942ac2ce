"""Options of the algorithms that learn from answers which the policy writes as it learns.

The values of InstructGPT stand beside ours where they differ. What an algorithm fixes is no option
of it: `clip` in a step that has no ratio to clip is an error.
"""

from dataclasses import dataclass
from typing import Literal

from preceptor.learn.options import AdapterOptions

Estimator = Literal["none", "k1", "k2", "k3", "exact"]


@dataclass(frozen=True, kw_only=True)
class OnlineOptions(AdapterOptions):
    """How many answers are sampled, what they are paid, and what holds the policy near where it began."""

    iterations: int = 25
    """Times that the policy samples new answers and then learns from them (InstructGPT: 500)."""
    episodes: int = 64
    """Answers sampled in an iteration, the unit of whitening (InstructGPT: 512)."""
    max_tokens: int = 48
    """Longest answer in tokens; one that has not ended by then is cut."""
    temperature: float = 1.0
    """Divides the logits, in sampling and in the update alike."""
    kl_coefficient: float = 0.02
    """Score that a nat of divergence from the reference costs (beta of InstructGPT's equation 2)."""
    kl_reward: Estimator = "k1"
    """The divergence taken from the reward of each token; k1 alone gives the whole gradient (docs/rlhf.md)."""
    kl_loss: Estimator = "none"
    """The divergence added to the loss of each token; k2 and exact give its gradient within a token, k1 only noise."""
    kl_target: float = 0.0
    """Nats an answer towards which `kl_coefficient` is adapted after each iteration; 0 leaves it as it is."""
    kl_horizon: int = 10_000
    """Episodes in which an adapted coefficient can change by a fifth."""
    entropy_coefficient: float = 0.0
    """Score for a nat of entropy of a token, added to the loss; 0 gives none (and saves computing it)."""
    score_scale: Literal["raw", "running", "reference"] = "raw"
    """Mean 0 and deviation 1 over all scores so far (running), or over those of the first iteration (reference)."""
    score_clip: float = 0.0
    """Scores are cut to at most this distance from 0, after scaling; 0 cuts none."""
    missing_end_penalty: float = 1.0
    """Taken from the score of an answer that was cut before it ended."""
    length_penalty: float = 0.0
    """Taken from the score for each token of the answer."""
    repetition_penalty: float = 0.0
    """Taken from the score times the share of the answer's 3-grams that it has said before."""
    overlong_tokens: int = 0
    """Last tokens before `max_tokens` over which a penalty grows from 0 to 1 (DAPO); 0 gives none."""
    ptx_coefficient: float = 0.0
    """Weight of the mean token loss on pretraining text against the mean token loss of the policy; 0 mixes none in."""
    ptx_rows: int = 8
    """Packed rows of pretraining text, as wide as the model's context, in each optimiser step."""
    frozen_layers: int = 0
    """Lowest blocks, with the embeddings, that no network learns and all share; read once an iteration."""
    learning_rate: float = 1e-4
    """Peak learning rate of the policy, for a million weights (InstructGPT: about 1e-5, for a thousand million)."""
    schedule: Literal["cosine", "linear", "constant"] = "constant"
    """Shape of the learning rate after the warm-up."""
    warmup: float = 0.1
    """Share of all optimiser steps during which the learning rates rise linearly to their peaks."""
    weight_decay: float = 0.0
    """Decoupled weight decay; what ties the policy to where it began is the divergence, not the origin."""
    precision: Literal["auto", "fp32", "bf16"] = "fp32"
    """Of the update. Answers are sampled in fp32; bf16 reads them once more, so that the ratio still begins at 1."""
    ema: float = 0.992
    """Decay, in each optimiser step, of the moving average of the weights that is saved beside them; 0 keeps none."""
    checkpoint_every: int = 20
    """Optimiser steps between checkpoints; the last two are kept until the step is done."""
    log_every: int = 1
    """Optimiser steps between lines in the metric log."""

    # What an algorithm may fix. Without a type these are no fields; as class variables they would hide, where two
    # classes are joined, the fields of the same names.
    minibatches = 1
    inner_epochs = 1
    answers_per_prompt = 1
    averaging = "token"
    kl_stop = 0.0
    value_warmup = 0
    resampling_rounds = 0


@dataclass(frozen=True, kw_only=True)
class ReuseOptions(OnlineOptions):
    """How answers are learned from more than once: by a ratio of new to old probability, clipped near 1."""

    minibatches: int = 4
    """Parts of the episodes, one optimiser step each (InstructGPT: 8)."""
    inner_epochs: int = 1
    """Times that each episode is learned from."""
    clip: float = 0.2
    """Half-width of the interval around 1 in which the ratio of new to old probability is rewarded."""
    kl_stop: float = 0.0
    """Nats a token between the policy that sampled and the one now that end an iteration's updates; 0: none do."""


@dataclass(frozen=True, kw_only=True)
class CriticOptions(OnlineOptions):
    """How a value network learns what to expect, and advantages follow from it."""

    discount: float = 1.0
    """Discount of a token step (gamma of GAE); 1 is none."""
    gae_lambda: float = 0.95
    """1 takes whole returns (much variance), 0 the value network's word (much bias)."""
    whiten_rewards: bool = False
    """Whether rewards are scaled to deviation 1 over the iteration, their mean kept (Ziegler et al. 2019)."""
    value_coefficient: float = 0.1
    """Weight of the value loss; the networks share no weight, so that it matters to gradient clipping only."""
    value_learning_rate: float = 3e-4
    """Peak learning rate of the value network."""
    value_warmup: int = 0
    """Iterations at the start in which only the value network learns from rewards (pretraining text goes on)."""

    value_clip = float("inf")


@dataclass(frozen=True, kw_only=True)
class PpoOptions(ReuseOptions, CriticOptions):
    """Proximal policy optimisation, as InstructGPT has it."""

    algorithm: Literal["ppo"] = "ppo"
    """Proximal policy optimisation; with `ptx_coefficient` above 0 it is PPO-ptx."""
    value_clip: float = 0.2
    """Most that a value may move towards its return in one iteration, in units of the score."""


@dataclass(frozen=True, kw_only=True)
class NlpoOptions(PpoOptions):
    """PPO whose policy may only say what an older copy of itself finds likely."""

    algorithm: Literal["nlpo"] = "nlpo"
    """Natural-language policy optimisation (Ramamurthy et al. 2023)."""
    mask_top_p: float = 0.9
    """Only the fewest tokens whose probabilities under the mask policy reach this sum can be said."""
    mask_every: int = 10
    """Iterations after which the mask policy becomes a copy of the policy again."""


@dataclass(frozen=True, kw_only=True)
class A2cOptions(CriticOptions):
    """Advantage actor-critic: one optimiser step for each sample of answers, so that no ratio is needed."""

    algorithm: Literal["a2c"] = "a2c"
    """Advantage actor-critic (Mnih et al. 2016)."""
    iterations: int = 100
    """Times that the policy samples new answers and then takes its one optimiser step."""


@dataclass(frozen=True, kw_only=True)
class RlooOptions(ReuseOptions):
    """The whole answer is one action, and the other answers to its prompt are its baseline."""

    algorithm: Literal["rloo"] = "rloo"
    """REINFORCE with a leave-one-out baseline (Ahmadian et al. 2024)."""
    answers_per_prompt: int = 4
    """Answers to each prompt of an iteration; the episodes are a multiple of it."""

    averaging = "constant"


@dataclass(frozen=True, kw_only=True)
class GrpoOptions(ReuseOptions):
    """Group-relative policy optimisation; docs/rlhf.md says which options make it Dr. GRPO and DAPO."""

    algorithm: Literal["grpo"] = "grpo"
    """Group-relative policy optimisation (Shao et al. 2024)."""
    answers_per_prompt: int = 8
    """Answers to each prompt of an iteration; the episodes are a multiple of it."""
    divide_by_deviation: bool = True
    """Whether advantages are divided by the deviation of the group's rewards (Dr. GRPO and its reasons: not)."""
    averaging: Literal["token", "answer", "constant"] = "answer"
    """Mean over answers of their tokens' mean (GRPO), over all tokens (DAPO), or of sums / max_tokens (Dr. GRPO)."""
    clip_high: float = 0.2
    """Upper half-width of the interval around 1, `clip` being the lower (DAPO: 0.28)."""
    resampling_rounds: int = 0
    """Times that groups whose scores are all equal are exchanged for other prompts' (DAPO): they teach nothing."""
    kl_coefficient: float = 0.04
    """Score that a nat of divergence from the reference costs (DAPO and Dr. GRPO: 0)."""
    kl_reward: Estimator = "none"
    """The divergence taken from the reward of each answer."""
    kl_loss: Estimator = "k3"
    """The divergence added to the loss of each token: k3 as published, although k2 has the right gradient."""
