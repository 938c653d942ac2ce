"""How good readings are, with 95 % intervals that draw texts.

Quality is one formula for the three tasks: with r right, f read and w wanted, summed over texts,

    quality = 2 r / (f + w)

the micro-averaged F1 of spans (tag) and of fields with their values (extract); with one label for each text (classify)
it is the accuracy.
"""

from collections.abc import Sequence

from preceptor.data.records import Annotated
from preceptor.metrics.classification import Scores, by_class, macro, scores_of
from preceptor.metrics.intervals import Interval, bootstrap_ratio, bootstrap_ratio_difference, mean_over_prompts
from preceptor.understand.task import Reading, Task

Halves = tuple[list[float], list[float]]


def halves(task: Task, records: Sequence[Annotated], readings: Sequence[Reading]) -> Halves:
    """2 r and f + w of each text."""
    counts = [task.counts(*pair) for pair in zip(records, readings, strict=True)]
    return [2.0 * right for right, _, _ in counts], [float(found + wanted) for _, found, wanted in counts]


def ratio(counts: Halves) -> float:
    """The quality that halves of texts make; 0 where nothing was read and nothing was to be read."""
    top, bottom = map(sum, counts)
    return top / bottom if bottom else 0.0


def quality(task: Task, records: Sequence[Annotated], readings: Sequence[Reading]) -> Interval:
    """The quality of readings; Wilson's interval for an accuracy, else the bootstrap over texts.

    Raises:
        UserError: nothing was read and nothing was to be read.
    """
    top, bottom = halves(task, records, readings)
    if task.name == "classify":
        return mean_over_prompts([value / 2 for value in top])
    return bootstrap_ratio(top, bottom)


def difference(first: Halves, second: Halves) -> Interval:
    """The quality of the first less that of the second, on the same texts."""
    return bootstrap_ratio_difference(first, second)


def details(task: Task, records: Sequence[Annotated], readings: Sequence[Reading]) -> dict[str, object]:
    """The share of texts that are right as a whole, the macro average, and the scores of each label or type."""
    whole = mean_over_prompts([float(task.right(*pair)) for pair in zip(records, readings, strict=True)])
    classes = _classes(task, records, readings)
    return {"all_right": whole.to_dict(), "macro": macro(classes.values()).to_dict(),
            "by_label": {name: scores.to_dict() for name, scores in classes.items()}}


def _classes(task: Task, records: Sequence[Annotated], readings: Sequence[Reading]) -> dict[str, Scores]:
    if task.name == "classify":
        return {str(label): scores for label, scores in by_class(
            [record.label for record in records], [reading.label for reading in readings]).items()}
    found = {}
    for kind in task.labels:
        counts = [Task(task.name, (kind,)).counts(_only(record, kind), Reading(
            0.0, marks=[mark for mark in reading.marks if mark[0] == kind]))
            for record, reading in zip(records, readings, strict=True)]
        found[kind] = scores_of(*(sum(part) for part in zip(*counts)))
    return found


def _only(record: Annotated, kind: str) -> Annotated:
    return Annotated(record.text, record.id, spans=[span for span in record.spans or [] if span[0] == kind])
