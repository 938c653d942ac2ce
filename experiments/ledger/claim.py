"""What a claim is, what an experiment finds, and the rule from one to the verdict."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from preceptor.metrics.intervals import Interval, interval_over_seeds

CONFIRMED, REFUTED, SCALE, NOT_HERE, OPEN = (
    "confirmed", "refuted", "depends on scale", "not testable here", "not tested yet")


@dataclass(frozen=True, slots=True)
class Finding:
    """The effect, oriented so that above 0 is as claimed, with its 95 % interval.

    `seeds` counts the runs behind it; 0 where it is one set of real data, and the interval draws `unit`s. `values` are
    those of the seeds, `note` what a reader must know beside the figure.
    """

    effect: float
    low: float
    high: float
    seeds: int
    note: str = ""
    unit: str = "seeds"

    def to_dict(self) -> dict[str, Any]:
        """A JSON object."""
        return asdict(self)

    @property
    def verdict(self) -> str:
        """Confirmed where the interval is above 0, refuted where it is below; else no effect can be seen at this size,
        and whether there is one at another is not known."""
        return CONFIRMED if self.low > 0 else REFUTED if self.high < 0 else SCALE


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One claim of the sources. Without `test` it has a `reason` why, and the verdict not testable here or not tested
    yet."""

    number: int
    statement: str
    """As the sources make it."""
    source: str
    effect: str = ""
    """What the figure is."""
    test: Callable[[Sequence[int]], Finding] | None = None
    corrected: str = ""
    """The statement as it should be printed, where the usual one is wrong or loose."""
    core: bool = True
    """Whether it belongs to the subset that runs in under 20 minutes on two cores."""
    trains: bool = False
    """Whether the experiment trains language models, so that it takes a minute and not a second."""
    reason: str = ""
    testable: bool = False
    """Of a claim without a test: whether one can be written for this machine."""
    part: str = ""
    """Tells the parts of one claim apart: a, b."""

    @property
    def name(self) -> str:
        """The key in the results."""
        return f"{self.number}{self.part}"


def over_seeds(values: Sequence[float], note: str = "") -> Finding:
    """The mean over seeds with Student's interval."""
    found = interval_over_seeds(values)
    return Finding(found.mean, found.low, found.high, found.n, note)


def between(first: dict[str, float], second: dict[str, float], note: str = "") -> Finding:
    """The first mean less the second, each with Student's interval over the same number of seeds, the seeds' own values
    unknown: half the width is the root of the sum of squares. That is wide where seeds go up and down together."""
    reach = math.hypot(first["high"] - first["mean"], second["high"] - second["mean"])
    effect = first["mean"] - second["mean"]
    return Finding(effect, effect - reach, effect + reach, int(min(first["n"], second["n"])), note)


def over_data(found: Interval, unit: str, zero: float = 0.0, note: str = "") -> Finding:
    """An interval over the units of a set of real data; `zero` is the value that means no effect."""
    return Finding(found.mean - zero, found.low - zero, found.high - zero, 0, f"{note} n = {found.n} {unit}.".strip(),
                   unit)
