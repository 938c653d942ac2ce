"""Who ranks the answers that a step asks about."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class LabellingOptions:
    """Who ranks: simulated labelers, something that scores, or people, for whom the run stops and waits."""

    labelers: Literal["panel", "judge", "people"] = "panel"
    """The village's `panel`, a `judge` (a reward that the step needs under this name), or `people` in the store."""
    store: str = ""
    """For `people`: the store's file or URL; empty is feedback.sqlite in the run folder."""
    overlap: int = 1
    """For `people`: how many of them rank each prompt."""
    enough: float = 1.0
    """For `people`: the share of the rankings asked for with which the run goes on."""
    round: int = 0
    """Number of the round that the rankings belong to; 0 is none."""
