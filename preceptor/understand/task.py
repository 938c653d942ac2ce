"""What is asked of a text, and with which labels or types it is answered: task.json in a folder of annotations."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from preceptor.data.records import Annotated
from preceptor.run.errors import UserError
from preceptor.run.files import read_json, write_json
from preceptor.understand.units import Mark

FILE = "task.json"


@dataclass(frozen=True, slots=True)
class Task:
    """`name` is classify, tag or extract; `labels` are the labels of texts, or the types of spans."""

    name: str
    labels: tuple[str, ...]

    @property
    def classes(self) -> list[str]:
        """What an encoder chooses from: the labels, or the BIO tags of the types."""
        if self.name == "classify":
            return list(self.labels)
        return ["O", *(f"{mark}-{kind}" for kind in self.labels for mark in "BI")]

    def counts(self, record: Annotated, reading: "Reading") -> tuple[int, int, int]:
        """How much of what was read is right, how much was read, and how much was to be read.

        One label for a text; spans by type and both ends; fields by name and value, whatever their places.
        """
        if self.name == "classify":
            return int(reading.label == record.label), 1, 1
        gold = [tuple(span) for span in record.spans or []]
        if self.name == "extract":
            wanted, found = ({(kind, record.text[start:end]) for kind, start, end in marks}
                             for marks in (gold, reading.marks))
        else:
            wanted, found = set(gold), set(reading.marks)
        return len(wanted & found), len(found), len(wanted)

    def right(self, record: Annotated, reading: "Reading") -> bool:
        """Whether all of what was read is right, and nothing is missing."""
        right, found, wanted = self.counts(record, reading)
        return right == found == wanted

    def shown(self, text: str, reading: "Reading") -> dict[str, object]:
        """The reading as a JSON object for people: `label`, `spans` with their text, or `facts`."""
        if self.name == "classify":
            return {"label": reading.label}
        if self.name == "tag":
            return {"spans": [{"type": kind, "start": start, "end": end, "text": text[start:end]}
                              for kind, start, end in reading.marks]}
        facts: dict[str, list[str]] = {}
        for kind, start, end in reading.marks:
            facts.setdefault(kind, []).append(text[start:end])
        return {"facts": facts}


@dataclass(frozen=True, slots=True)
class Reading:
    """What a model read from a text, and the log-probability that it gave to exactly this."""

    log_probability: float
    label: str | None = None
    marks: Sequence[Mark] = ()


def read_task(folder: Path) -> Task:
    """The task of a folder of annotations.

    Raises:
        UserError: the folder is none.
    """
    if not (folder / FILE).is_file():
        raise UserError(f"'{folder}' holds no annotations: there is no {FILE} in it.",
                        "Give the folder of a step of stage annotations.")
    found = read_json(folder / FILE)
    return Task(found["task"], tuple(found["labels"]))


def write_task(folder: Path, task: Task) -> None:
    """Write task.json."""
    write_json(folder / FILE, {"task": task.name, "labels": list(task.labels)})
