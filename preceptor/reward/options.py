"""Options of the stages that make rewards: `comparisons`, `reward`, `encoder`, `ensemble`,
`program`, `judge` and `person`."""

from dataclasses import dataclass, field
from typing import Literal

from preceptor.feedback.options import LabellingOptions
from preceptor.learn.options import AdapterOptions


@dataclass(frozen=True, kw_only=True)
class ComparisonsOptions(LabellingOptions):
    """How many answers are sampled for the labelers to rank, how, and who ranks them."""

    k_min: int = 4
    """Fewest answers sampled for a prompt; how many it gets is drawn evenly from k_min to k_max."""
    k_max: int = 9
    """Most answers sampled for a prompt."""
    prompts: int = 0
    """Training prompts that are answered, the first of the file; 0 takes all."""
    heldout_prompts: int = 0
    """Held-out prompts that are answered, the first of the file; 0 takes all."""
    temperature: float = 1.0
    """Divides the logits. At 1 the reward model meets the answers that PPO starts from."""
    max_tokens: int = 48
    """An answer is cut after this many tokens."""
    earlier_share: float = 0.5
    """In rounds: share of a prompt's answers that earlier policies write, one at least; 0 asks none of them."""
    rows: int = 64
    """Answers that are written at once."""


@dataclass(frozen=True, kw_only=True)
class RewardOptions(AdapterOptions):
    """How the reward model learns from rankings. One pass, as in InstructGPT, appendix C.2."""

    objective: Literal["ranking", "ratings", "bradley_terry"] = "ranking"
    """`ranking` sets pairs apart (Ouyang et al.); the others predict numbers: ratings, or scores fitted to rankings."""
    ratings: dict[str, float] = field(default_factory=lambda: {"overall": 1.0})
    """For `ratings`: the axes of the answers' `scores` and their weights; what is predicted is the weighted mean."""
    prior: float = 1.0
    """For `bradley_terry`: precision of the normal prior on scores; without one the best answer is infinitely good."""
    likelihood: float = 0.0
    """Weight, per nat, of the answer's log-likelihood under the reward model itself; 0 leaves InstructGPT's score."""
    rank_by: Literal["ranking", "votes"] = "ranking"
    """`votes` ranks the answers anew by their `scores` votes and accepted (preference-model pretraining)."""
    rows: int = 8
    """Prompts in a batch, each with all its answers."""
    epochs: int = 1
    """Passes over the rankings; InstructGPT found that more than one overfits."""
    learning_rate: float = 1e-3
    """Peak learning rate of AdamW."""
    score_rows: int = 32
    """Answers that are scored at once when the model is measured."""


@dataclass(frozen=True, kw_only=True)
class EncoderOptions(AdapterOptions):
    """How an encoder with its own tokenizer learns to score answers."""

    package: str = ""
    """An installed package that holds the encoder in its folder `model`, in place of the input of that name."""
    objective: Literal["ratings", "ranking"] = "ratings"
    """`ratings` predicts a number on each axis; `ranking` has one output, which sets ranked answers apart."""
    ratings: dict[str, float] = field(default_factory=lambda: {"overall": 1.0})
    """For `ratings`: the axes of the answers' `scores` and their weights in the score, which is the weighted mean."""
    longest: int = 256
    """Tokens of prompt and answer together; a longer prompt loses its beginning."""
    rows: int = 8
    """Prompts in a batch, each with all its answers."""
    epochs: int = 3
    """Passes over the records."""
    learning_rate: float = 5e-5
    """Peak learning rate of AdamW, small because the encoder is pretrained."""
    warmup: float = 0.1
    """Share of all optimiser steps during which the learning rate rises linearly to its peak."""
    score_rows: int = 32
    """Answers that are scored at once when the model is measured."""


@dataclass(frozen=True, kw_only=True)
class EnsembleOptions:
    """How several rewards are made one."""

    combine: Literal["mean", "worst", "uncertainty"] = "mean"
    """The mean, the least, or the mean less what they disagree by (Coste et al. 2023)."""
    disagreement_weight: float = 0.5
    """For `uncertainty`: weight of the variance over members."""
    score_rows: int = 32
    """Answers that are scored at once when the ensemble is measured."""


@dataclass(frozen=True, kw_only=True)
class ProgramOptions:
    """A reward that is computed."""

    function: str
    """`module:name` of a function of a prompt and a response that returns a number."""


@dataclass(frozen=True, kw_only=True)
class KnownAnswersOptions:
    """Right answers, word by word."""


@dataclass(frozen=True, kw_only=True)
class JudgeOptions:
    """A language model that judges answers by a constitution."""

    form: Literal["pairwise", "scored"] = "pairwise"
    """`pairwise` compares the answers to a prompt, in both orders; `scored` rates each by itself from 1 to 7."""
    url: str = ""
    """Address of a server with OpenAI's chat API, such as http://localhost:8000/v1, in place of the input `model`."""
    served_model: str = ""
    """The model's name on that server."""
    key_variable: str = "OPENAI_API_KEY"
    """The variable of the environment that holds the server's key; the key itself is written nowhere."""
    max_tokens: int = 16
    """Tokens of a reply at most; more for a judge that reasons before its verdict."""
    tries: int = 3
    """Times that a question is asked until its reply holds a verdict."""
    rows: int = 32
    """Questions that are asked at once."""


@dataclass(frozen=True, kw_only=True)
class PersonOptions:
    """People at the labelling page, whose rankings are waited for."""

    store: str = ""
    """The store of labels, a path that ends in .sqlite or a postgresql:// URL; empty takes the run's feedback.sqlite.
    It is no input, because each ranking changes it, and would have the step redone."""
    overlap: int = 1
    """People who rank the answers to each prompt; their scores are averaged."""
    score_by: Literal["overall", "ranking"] = "overall"
    """The mark from 1 to 7 of each answer, or the share of the other answers to its prompt that it is ranked above."""
    every: float = 2.0
    """Seconds between two looks at the store."""
