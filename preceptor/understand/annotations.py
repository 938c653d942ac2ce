"""The annotations stage: a user's labelled texts as records, split, and in the forms that both kinds of models read.

    train.jsonl, validation.jsonl, test.jsonl   records (`Annotated`) that the encoder learns and both are measured on
    demonstrations.train.jsonl, ...valid.jsonl  the same records as conversations, which the language model learns
    corpus.jsonl, corpus_valid.jsonl            their texts, and those of the input `text`, for vocabulary and bases
    task.json                                   the task and its labels
"""

import random
from collections import Counter

from preceptor.data.jsonl import write_jsonl
from preceptor.data.near_duplicates import near_duplicates
from preceptor.data.records import Annotated, Document
from preceptor.data.sources import read_documents, read_records
from preceptor.data.splits import hold_out, linked
from preceptor.run.errors import UserError
from preceptor.run.step import Step
from preceptor.understand.lines import conversation_of, lost_places
from preceptor.understand.rows import RowReader
from preceptor.understand.task import Task, write_task
from preceptor.understand.units import units, widened

HELD = ("test", "validation")
PASSAGE = 8000  # bytes at which a plain text file of the input `text` is cut


def run(step: Step) -> None:
    """Read `records` (and `validation`, `test`, `text`), write the files above."""
    noted: Counter[str] = Counter()
    draw = random.Random(step.seed)
    sides = _split(step, noted, draw)
    for side, records in sides.items():
        if step.options.task != "classify" and not any(record.spans for record in records):
            raise UserError(f"None of the {len(records)} {side} records has a span.", "Give more records with spans.")
    task = _task(step, sides["train"])
    for side, records in sides.items():
        write_jsonl(step.folder / f"{side}.jsonl", records)
    for side, name in (("train", "train"), ("validation", "valid")):
        write_jsonl(step.folder / f"demonstrations.{name}.jsonl",
                    [conversation_of(record, task.name) for record in sides[side]])
    texts = {side: [Document(one.text, one.id, one.source, one.language) for one in sides[side]]
             for side in ("train", "validation")}
    further = read_documents(step.input("text"), PASSAGE, noted) if "text" in step.inputs else []
    documents = [*texts["train"], *further]
    draw.shuffle(documents)
    write_jsonl(step.folder / "corpus.jsonl", documents)
    write_jsonl(step.folder / "corpus_valid.jsonl", texts["validation"])
    write_task(step.folder, task)
    step.plan(task=task.name, labels=len(task.labels), **{side: len(records) for side, records in sides.items()})
    _note_limits(task, sides, noted)
    for what, count in noted.items():
        step.say(f"{count:,} {what}")
    step.log.write(0, noted=dict(noted))


def _split(step: Step, noted: Counter[str], draw: random.Random) -> dict[str, list[Annotated]]:
    """Records by side: files of the user's own as they are, else groups of near-duplicates drawn from `records`."""
    reader = RowReader(step.options, noted)

    def read(name: str) -> list[Annotated]:
        found = read_records(step.input(name), reader, noted)
        draw.shuffle(found)
        return found[:step.options.most or None]

    given = {side: read(side) for side in HELD if side in step.inputs}
    records = read("records")
    every = [*records, *(record for side in given.values() for record in side)]
    groups = linked(len(every), near_duplicates([record.text for record in every]))
    taken = set(groups[len(records):])
    alike = sum(group in taken for group in groups[:len(records)])
    if alike:
        noted["records left out of training: too like the held-out ones"] += alike
    sides = dict(given)
    for side in HELD:
        if side not in given:
            free = [place for place in range(len(records)) if groups[place] not in taken]
            held = hold_out([groups[place] for place in free], [records[place].label or "" for place in free],
                            step.options.held_out, draw)
            sides[side] = [records[place] for place in free if groups[place] in held]
            taken |= held
    sides["train"] = [record for record, group in zip(records, groups) if group not in taken]
    if not sides["train"]:
        raise UserError("No records are left to train on: all resemble the held-out ones.",
                        "Give more different records, or other held-out files.")
    return {side: sides[side] for side in ("train", "validation", "test")}


def _task(step: Step, records: list[Annotated]) -> Task:
    """The labels or types of the training records, in order of their names.

    Raises:
        UserError: there are too few to choose from, or one cannot be written as the beginning of a line.
    """
    name = step.options.task
    if name == "classify":
        labels = sorted({record.label for record in records})
        if len(labels) < 2:
            raise UserError(f"All training records are labelled '{labels[0]}'.", "Give records of two labels or more.")
        return Task(name, tuple(labels))
    types = sorted({span[0] for record in records for span in record.spans})
    for kind in types:
        if ": " in kind or "\n" in kind or not kind.strip():
            raise UserError(f"The type '{kind}' cannot begin a line of an answer.", "Give it a plain name.")
    return Task(name, tuple(types))


def _note_limits(task: Task, sides: dict[str, list[Annotated]], noted: Counter[str]) -> None:
    """Count what no model of ours could get right, or be taught exactly."""
    if task.name == "classify":
        noted["test records with a label that no training record has"] += sum(
            record.label not in task.labels for record in sides["test"])
    else:
        for record in (*sides["train"], *sides["test"]):
            marks = [tuple(span) for span in record.spans]
            noted["spans that begin or end inside a word: taught as whole words"] += len(
                set(marks) - set(widened(units(record.text), marks)))
        if task.name == "tag":  # the value of a field is the same wherever it stands
            noted["test spans whose place an answer of lines cannot say"] += lost_places(sides["test"], task.labels)
    for what in [what for what, count in noted.items() if not count]:
        del noted[what]
