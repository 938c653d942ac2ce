"""Options of the evaluation."""

from dataclasses import dataclass

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
