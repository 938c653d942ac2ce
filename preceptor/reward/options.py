"""Options of the stages that make rewards: `comparisons`, `reward`, `ensemble` and `program`."""

from dataclasses import dataclass, field
from typing import Literal

from preceptor.learn.options import FitOptions


@dataclass(frozen=True, kw_only=True)
class ComparisonsOptions:
    """How many answers are sampled for the labelers to rank, and how."""

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
    rows: int = 64
    """Answers that are written at once."""


@dataclass(frozen=True, kw_only=True)
class RewardOptions(FitOptions):
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
