"""What cleaning did, as figures: rates by rule and source, with examples. A pure function of the decisions."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from preceptor.data.cleaning.cleaner import Cleaner
from preceptor.data.cleaning.options import CleaningOptions
from preceptor.data.records import Document

EXAMPLES = 4
EXAMPLE = 300  # characters


@dataclass(slots=True)
class CleaningSummary:
    """Counts are of documents, but for `changes`, which counts places changed as well."""

    read: Counter[str] = field(default_factory=Counter)
    """Documents by source."""
    kept: Counter[str] = field(default_factory=Counter)
    """Kept documents by source."""
    bytes_read: int = 0
    dropped: dict[str, Counter[str]] = field(default_factory=dict)
    """By rule, then source."""
    changed: dict[str, Counter[str]] = field(default_factory=dict)
    """Documents that a rule changed, by rule, then source."""
    changes: Counter[str] = field(default_factory=Counter)
    """Places changed, by rule."""
    languages: Counter[str] = field(default_factory=Counter)
    """Kept documents by language and, of Chinese, script."""
    files: Counter[str] = field(default_factory=Counter)
    """Files by format."""
    problems: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """Some decisions of each rule."""

    def to_dict(self) -> dict[str, Any]:
        """The figures for programs."""
        return {"read": self.read.total(), "kept": self.kept.total(), "bytes_read": self.bytes_read,
                "read_by_source": dict(self.read), "kept_by_source": dict(self.kept),
                "dropped": {rule: dict(counts) for rule, counts in self.dropped.items()},
                "changed": {rule: dict(counts) for rule, counts in self.changed.items()},
                "changes": dict(self.changes), "languages": dict(self.languages), "files": dict(self.files),
                "problems": dict(self.problems)}


def summarise(rows: Iterable[dict[str, Any]]) -> CleaningSummary:
    """Count decisions; the rows are those of `run.decisions`."""
    found = CleaningSummary()
    for row in rows:
        if "file" in row:
            found.files[row["format"]] += 1
        elif "problem" in row:
            found.problems[row["problem"]] += 1
        elif "id" in row:
            _count(found, row)
    return found


def _count(found: CleaningSummary, row: dict[str, Any]) -> None:
    source = row["source"]
    found.read[source] += 1
    found.bytes_read += row["bytes"]
    for change in row.get("changes", ()):
        found.changed.setdefault(change["rule"], Counter())[source] += 1
        found.changes[change["rule"]] += change["count"]
        _example(found, change["rule"], row)
    if "dropped" in row:
        found.dropped.setdefault(row["dropped"]["rule"], Counter())[source] += 1
        _example(found, row["dropped"]["rule"], row)
    else:
        found.kept[source] += 1
        found.languages[" ".join(filter(None, (row.get("language"), row.get("script"))))] += 1


def _example(found: CleaningSummary, rule: str, row: dict[str, Any]) -> None:
    some = found.examples.setdefault(rule, [])
    if len(some) < EXAMPLES:
        some.append(row)


def replayed(documents: Sequence[Document], options: CleaningOptions) -> list[dict[str, Any]]:
    """What the rules would decide of a sample, as rows of decisions; nothing is written."""
    cleaner = Cleaner(options)
    return [cleaner.clean(document)[1].to_dict() for document in documents]
