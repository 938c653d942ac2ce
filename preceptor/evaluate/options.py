"""Options of the evaluation."""

from dataclasses import dataclass
from typing import Literal

from preceptor.feedback.options import LabellingOptions


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """How the models are asked. One setting serves all of them, so that only the models differ."""

    prompts: int = 0
    """Prompts that every model answers, from the front of the file; 0 takes all."""
    temperature: float = 0.7
    """Sampling temperature of all models; 0 is greedy. At 1 a model can win by being sharper and nothing else, at 0
    the base model runs in circles; 0.7 is what Ziegler et al. (2019) and Stiennon et al. (2020) sampled with."""
    max_tokens: int = 48
    """Longest answer, in tokens."""
    shots: int = 2
    """Demonstrations in front of the question for the prompted base model."""
    rows: int = 64
    """Answers that are decoded at once."""


@dataclass(frozen=True, kw_only=True)
class LadderOptions(LabellingOptions):
    """How policies are asked, all alike, and who ranks their answers."""

    prompts: int = 0
    """Prompts that every policy answers, from the front of the file; 0 takes all."""
    temperature: float = 0.7
    """Sampling temperature of all policies; 0 is greedy."""
    max_tokens: int = 48
    """Longest answer, in tokens."""
    resamples: int = 500
    """Times that the prompts are drawn again for the intervals."""
    rows: int = 64
    """Answers that are decoded at once."""


@dataclass(frozen=True, kw_only=True)
class SuiteOptions:
    """How much of a suite is measured (`suites/`)."""

    limit: int = 0
    """Items of a task at most, drawn by the seed; 0 takes all."""
    seed: int = 0
    """Of the draw of items and of solved examples."""
    tasks: tuple[str, ...] = ()
    """Names of the tasks to measure; empty takes all."""


@dataclass(frozen=True, kw_only=True)
class WeighOptions:
    """The budget that a smaller model must keep (`evaluate/budget.py`; a figure without a limit is only measured), and
    how it is measured."""

    perplexity: float | None = 1.02
    """Most that the perplexity may be, as a multiple of the original's."""
    repetition: float | None = None
    """Most that may be added to seq-rep-4, the share of repeated 4-grams in an answer."""
    score: float | None = None
    """Least that the mean score of the suite's tasks must be, as a multiple of the original's."""
    win_rate: float | None = None
    """Least share of prompts on which the answer must be preferred to the original's, ties one half."""
    size: float | None = None
    """How many times smaller the weights on disk must be."""
    speed: float | None = None
    """How many times faster it must decode one answer at a time."""
    memory: float | None = None
    """How many times less memory it must take, over loading and decoding."""
    prefer: Literal["size", "speed"] = "size"
    """Which of the candidates that keep the budget is best: the smallest, or the fastest."""
    tokens: int = 64
    """Tokens that are decoded to measure speed."""
    rounds: int = 3
    """Times that speed and memory are measured, the models in turn; the median counts."""
    prompts: int = 0
    """Prompts that every model answers, from the front of the file; 0 takes all."""
    temperature: float = 0.7
    """Sampling temperature of the answers; 0 is greedy."""
    max_tokens: int = 48
    """Longest answer, in tokens."""
    rows: int = 64
    """Answers that are decoded at once."""
    limit: int = 0
    """Items of a task of the suite at most, drawn by the seed; 0 takes all."""
