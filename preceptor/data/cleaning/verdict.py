"""What a rule says of a document."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Drop:
    """A document goes: the rule, its score, the limit that the score crossed, and for duplicates the neighbour."""

    rule: str
    score: float
    limit: float
    neighbour: str | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """A rule changed the text: how many times, and one example of what was there and what is there now."""

    rule: str
    count: int
    before: str = ""
    after: str = ""


@dataclass(slots=True)
class Decision:
    """All that cleaning decided of one document. `drop` is absent where it is kept."""

    id: str
    source: str
    language: str | None = None
    script: str | None = None
    key: str = ""
    drop: Drop | None = None
    changes: list[Change] = field(default_factory=list)
    excerpt: str = ""
    bytes: int = 0

    def to_dict(self) -> dict[str, Any]:
        """The JSON object; what is absent is left out."""
        row: dict[str, Any] = {"id": self.id, "source": self.source, "bytes": self.bytes, "key": self.key}
        row |= {name: value for name in ("language", "script") if (value := getattr(self, name))}
        if self.drop:
            row["dropped"] = {"rule": self.drop.rule, "score": round(self.drop.score, 4), "limit": self.drop.limit}
            if self.drop.neighbour:
                row["dropped"]["neighbour"] = self.drop.neighbour
        if self.changes:
            row["changes"] = [{"rule": change.rule, "count": change.count, "before": change.before,
                               "after": change.after} for change in self.changes]
        if self.drop or self.changes:
            row["excerpt"] = self.excerpt
        return row


def first_over(checks: list[tuple[str, float, float]]) -> Drop | None:
    """The first (rule, score, most) whose score is more than it may be."""
    return next((Drop(rule, score, most) for rule, score, most in checks if score > most), None)


def first_under(checks: list[tuple[str, float, float]]) -> Drop | None:
    """The first (rule, score, least) whose score is less than it must be."""
    return next((Drop(rule, score, least) for rule, score, least in checks if score < least), None)
