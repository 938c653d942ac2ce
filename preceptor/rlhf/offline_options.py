"""Options of the algorithms that learn from answers which are there already, or are written once before training."""

from dataclasses import dataclass
from typing import Literal

from preceptor.learn.options import AdapterOptions


@dataclass(frozen=True, kw_only=True)
class RankingOptions(AdapterOptions):
    """What all algorithms share that learn from rankings. One pass, as for a reward model: more overfit."""

    rows: int = 8
    """Prompts in a batch, each with all its ranked answers."""
    epochs: int = 1
    """Passes over the rankings."""
    learning_rate: float = 1e-4
    """Peak learning rate of AdamW, for a million weights (5e-7 to 5e-6 in the papers, for thousands of millions)."""
    warmup: float = 0.1
    """Share of all optimiser steps during which the learning rate rises linearly to its peak."""
    weight_decay: float = 0.0
    """Decoupled weight decay; what ties the policy to where it began is the loss, not the origin."""
    precision: Literal["auto", "fp32", "bf16"] = "fp32"
    """Of training and of the reference alike. A sum over an answer's tokens in bf16 is off by its rounding."""


@dataclass(frozen=True, kw_only=True)
class DpoOptions(RankingOptions):
    """Direct preference optimisation (Rafailov et al. 2023)."""

    algorithm: Literal["dpo"] = "dpo"
    """Direct preference optimisation; with `label_smoothing` above 0 it is cDPO."""
    beta: float = 0.1
    """The price of divergence from the reference: its optimum is the reference times exp(reward / beta)."""
    label_smoothing: float = 0.0
    """Chance, below 1/2, that a label is the wrong way round (cDPO)."""


@dataclass(frozen=True, kw_only=True)
class IpoOptions(RankingOptions):
    """Identity preference optimisation (Azar et al. 2023)."""

    algorithm: Literal["ipo"] = "ipo"
    """Identity preference optimisation: the log ratio of a pair is drawn to 1/(2 tau), and not beyond."""
    tau: float = 0.1
    """The price of divergence from the reference."""


@dataclass(frozen=True, kw_only=True)
class KtoOptions(RankingOptions):
    """Kahneman-Tversky optimisation (Ethayarajh et al. 2024)."""

    algorithm: Literal["kto"] = "kto"
    """Kahneman-Tversky optimisation: single answers, good or bad, in the place of pairs."""
    beta: float = 0.1
    """How soon gains stop counting; small is far from the reference."""
    good_weight: float = 1.0
    """Weight of a good answer (lambda_D)."""
    bad_weight: float = 1.0
    """Weight of a bad answer (lambda_U)."""


@dataclass(frozen=True, kw_only=True)
class OrpoOptions(RankingOptions):
    """Odds ratio preference optimisation (Hong et al. 2024)."""

    algorithm: Literal["orpo"] = "orpo"
    """Odds ratio preference optimisation: the likelihood of chosen answers plus their odds; no reference."""
    odds_weight: float = 0.1
    """Weight of the odds against the likelihood (lambda)."""


@dataclass(frozen=True, kw_only=True)
class SimpoOptions(RankingOptions):
    """Simple preference optimisation (Meng et al. 2024)."""

    algorithm: Literal["simpo"] = "simpo"
    """Simple preference optimisation: mean log-probability of tokens as the reward; no reference."""
    beta: float = 2.0
    """Scale of the mean log-probability."""
    margin: float = 1.0
    """By how much the chosen answer's scaled mean should lead (gamma)."""


@dataclass(frozen=True, kw_only=True)
class IlqlOptions(RankingOptions):
    """Implicit language Q-learning (Snell et al. 2022)."""

    algorithm: Literal["ilql"] = "ilql"
    """Implicit language Q-learning: values of tokens, learned from the answers that are there."""
    beta: float = 1.0
    """How far the written model trusts Q against the likelihood of the data; Q's own errors are trusted as far."""
    expectile: float = 0.7
    """1/2 is the value of the answers as they are, near 1 that of the best of them (tau)."""
    discount: float = 1.0
    """Discount of a token step; 1 is none."""
    conservative_weight: float = 0.1
    """Weight of the term that lowers Q of tokens which no answer has (alpha)."""
    target_rate: float = 0.05
    """How far, in each optimiser step, the slow copy of Q moves towards Q."""
    epochs: int = 4
    """Passes over the rankings: values travel back from the last token a step at a time."""
    heads_learning_rate: float = 1e-2
    """Peak learning rate of the heads of Q and V, which start from nothing."""


@dataclass(frozen=True, kw_only=True)
class SelectionOptions(AdapterOptions):
    """What the algorithms share that write answers once, choose among them by reward, and learn from the choice."""

    answers: int = 8
    """Answers written to each prompt (n)."""
    temperature: float = 1.0
    """Divides the logits in sampling."""
    max_tokens: int = 48
    """Longest answer in tokens; one that has not ended by then is cut."""
    missing_end_penalty: float = 1.0
    """Taken from the score of an answer that was cut before it ended."""
    decode_rows: int = 64
    """Answers written at once."""
    rows: int = 8
    """Packed rows in a batch of training."""
    epochs: int = 2
    """Passes over the chosen answers."""
    learning_rate: float = 3e-4
    """Peak learning rate of AdamW, for a million weights."""


@dataclass(frozen=True, kw_only=True)
class BestOfNOptions(SelectionOptions):
    """Best of n, distilled (rejection-sampling fine-tuning in Llama 2's sense)."""

    algorithm: Literal["best_of_n"] = "best_of_n"
    """The best of the answers to each prompt is learned from."""


@dataclass(frozen=True, kw_only=True)
class RejectionOptions(SelectionOptions):
    """Statistical rejection sampling (Liu et al. 2023), then fine-tuning on what was accepted."""

    algorithm: Literal["rejection_sampling"] = "rejection_sampling"
    """Each answer is accepted with probability exp((score - best score to the prompt) / beta)."""
    beta: float = 0.5
    """The price of divergence from the policy that wrote them, in units of the score."""
