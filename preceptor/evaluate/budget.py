"""A budget for a smaller model: what it may lose and must gain, measured against the original.

    size, speed, memory   how many times smaller, faster, leaner: at least
    score, win_rate       the mean of the tasks' scores over the original's, the share of prompts on which its answer is
                          preferred to the original's: at least
    perplexity            over the original's: at most
    repetition            seq-rep-4 of its answers minus the original's: at most
"""

from collections.abc import Mapping
from dataclasses import dataclass

AT_LEAST = ("size", "speed", "memory", "score", "win_rate")
AT_MOST = ("perplexity", "repetition")
FIGURES = (*AT_LEAST, *AT_MOST)
Figures = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Breach:
    """A figure that broke the budget."""

    figure: str
    measured: float
    limit: float


def against(original: Figures, candidate: Figures) -> dict[str, float]:
    """The figures of the budget for a candidate, as far as both sides were measured."""
    found = {"size": original["bytes"] / candidate["bytes"],
             "speed": candidate["tokens_per_second"] / original["tokens_per_second"],
             "memory": original["memory_mb"] / max(candidate["memory_mb"], 1e-9)}
    for name in ("perplexity", "score"):
        if name in candidate:
            found[name] = candidate[name] / original[name] if original[name] else float(candidate[name] == 0.0)
    if "repetition" in candidate:
        found["repetition"] = candidate["repetition"] - original["repetition"]
    return found | ({"win_rate": candidate["win_rate"]} if "win_rate" in candidate else {})


def breaches(measured: Figures, budget: Figures) -> list[Breach]:
    """What of the budget a candidate breaks; a figure that is not a number breaks every limit."""
    return [Breach(name, measured[name], limit) for name, limit in budget.items()
            if not (measured[name] >= limit if name in AT_LEAST else measured[name] <= limit)]


def undominated(candidates: Mapping[str, Figures], gain: str, loss: str) -> list[str]:
    """The candidates than which no other has at least as much of the gain for at most the loss, and one of them truly
    better; by gain."""
    def better(one: Figures, other: Figures) -> bool:
        return (one[gain] >= other[gain] and one[loss] <= other[loss]
                and (one[gain] > other[gain] or one[loss] < other[loss]))
    kept = [name for name, mine in candidates.items() if not any(better(one, mine) for one in candidates.values())]
    return sorted(kept, key=lambda name: candidates[name][gain])
