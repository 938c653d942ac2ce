"""From the rows of a file to what is asked: templates filled, rows joined, solved examples in front."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from preceptor.data.jsonl import read_rows
from preceptor.evaluate.suites.description import Task, expression, template
from preceptor.run.errors import UserError

BETWEEN = "\n\n"  # solved examples


@dataclass(frozen=True, slots=True)
class Item:
    """One question. `shots` are solved examples, the nearest to the question last; `row` what templates see."""

    id: str
    prompt: str
    options: tuple[str, ...]
    gold: Any
    group: str
    cluster: str
    row: dict[str, Any]
    shots: tuple[str, ...] = ()

    def asked(self, shots: int | None = None) -> str:
        """The prompt after its solved examples, or after the last `shots` of them."""
        shown = self.shots if shots is None else self.shots[len(self.shots) - shots:]
        return BETWEEN.join([*shown, self.prompt])


@dataclass(frozen=True, slots=True)
class Arm:
    """A way in which a task is asked: its kind of prompt and the number of solved examples, and the items so asked."""

    kind: str
    shots: int
    items: list[Item]

    @property
    def name(self) -> str:
        """How the table calls it; empty where the task has one way only."""
        return ", ".join(part for part in (self.kind, f"{self.shots}-shot" if self.shots else "") if part)


def arms(task: Task, folder: Path, limit: int, seed: int) -> list[Arm]:
    """Every kind of prompt with every number of examples, on the same items.

    Args:
        folder: where the task's files lie.
        limit: items at most, drawn by the seed; 0 takes all, in the order of the file.

    Raises:
        UserError: a file cannot be read or has no row that counts, or a row lacks what a template names.
    """
    rows = read_task_rows(task, folder / task.file)
    pool = read_task_rows(task, folder / task.shots_file) if task.shots_file else rows
    chosen = list(range(len(rows)))
    if limit and limit < len(rows):
        chosen = sorted(random.Random(f"items/{seed}/{task.name}").sample(chosen, limit))
    found = []
    for kind, source in (task.prompts or {"": ""}).items():
        for shots in task.shots:
            items = [_item(task, rows[number], source) for number in chosen]
            if shots:
                items = [_with_shots(task, item, rows[number], pool, source, shots, seed)
                         for item, number in zip(items, chosen, strict=True)]
            found.append(Arm("" if kind == "basic" and len(task.prompts) == 1 else kind, shots, items))
    return found


def read_task_rows(task: Task, path: Path) -> list[dict[str, Any]]:
    """The rows of a file that count, those that belong together joined."""
    rows = [row for number, row in _numbered(path) if value(task.where, {"id": f"line {number}", **row}, task.name)]
    if task.join:
        groups: dict[str, list[dict[str, Any]]] = {}
        for row in rows:
            groups.setdefault(str(value(task.join, row, task.name)), []).append(row)
        rows = [{**group[0], "rows": group} for group in groups.values()]
    if not rows:
        raise UserError(f"'{path}' has no row for the task '{task.name}'.", "Check the file and the task's `where`.")
    return rows


def _numbered(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, row in read_rows(path):
        yield number, row if "id" in row else {"id": f"line {number}", **row}


def value(source: str, row: dict[str, Any], name: str) -> Any:
    """An expression's value for a row."""
    return _evaluated(expression(source), row, name, source)


def filled(source: str, row: dict[str, Any], name: str) -> str:
    """A template filled from a row."""
    return _evaluated(template(source), row, name, source)


def _evaluated(function: Any, row: dict[str, Any], name: str, source: str) -> Any:
    from jinja2 import TemplateError, Undefined
    try:
        found = function(**row)
    except (TemplateError, TypeError, ValueError, KeyError) as error:
        raise UserError(f"'{source}' of '{name}' fails at the row '{row.get('id')}': {error}.",
                        "Mend the suite, or the row.") from None
    if isinstance(found, Undefined):
        raise UserError(f"'{source}' of '{name}' has no value at the row '{row.get('id')}'.",
                        f"The row has: {', '.join(map(str, row))}.")
    return found


def _item(task: Task, row: dict[str, Any], source: str) -> Item:
    options = value(task.options, row, task.name) if task.options else ()
    gold = value(task.gold, row, task.name) if task.gold else None
    item = Item(id=str(row["id"]), prompt=filled(source, row, task.name), options=tuple(map(str, options)), gold=gold,
                group=str(value(task.by, row, task.name)) if task.by else "",
                cluster=str(value(task.cluster, row, task.name)) if task.cluster else str(row["id"]), row=row)
    if task.scorer == "choice" and not right_options(item):
        raise UserError(f"No option of '{item.id}' in '{task.name}' is right: gold is {gold!r}.",
                        "Give `gold` as the index of an option, or as a list of 0 and 1, one for each.")
    return item


def right_options(item: Item) -> set[int]:
    """The indices of the right options: gold is one index, or a list of 0 and 1."""
    if isinstance(item.gold, list):
        return {number for number, label in enumerate(item.gold) if label} if len(item.gold) == len(item.options) \
            else set()
    try:
        return {int(item.gold)} & set(range(len(item.options)))
    except (TypeError, ValueError):
        return set()


def references(item: Item) -> list[str]:
    """The reference answers, as a list of texts."""
    found = item.gold if isinstance(item.gold, (list, tuple)) else [item.gold]
    return [str(one) for one in found if one is not None]


def _with_shots(task: Task, item: Item, row: dict[str, Any], pool: Sequence[dict[str, Any]], source: str,
                shots: int, seed: int) -> Item:
    """The item with examples drawn by the seed and its id; fewer where the pool has no more."""
    draw = random.Random(f"shots/{seed}/{task.name}/{item.id}")
    order = draw.sample(range(len(pool)), len(pool)) if len(pool) <= 512 else draw.sample(range(len(pool)), 512)
    solved: list[str] = []
    for number in order:
        other = pool[number]
        if len(solved) == shots:
            break
        if str(other["id"]) == item.id or not _suits(task, row, other):
            continue
        example = _item(task, other, source)
        answers = [example.options[index] for index in sorted(right_options(example))] if task.scorer == "choice" \
            else references(example)
        if answers:
            solved.append(f"{example.prompt}{task.delimiter}{answers[0]}")
    return replace(item, shots=tuple(solved))


def _suits(task: Task, row: dict[str, Any], other: dict[str, Any]) -> bool:
    def same(source: str) -> bool:
        return value(source, row, task.name) == value(source, other, task.name)
    return (not task.shots_same or same(task.shots_same)) and not (task.shots_apart and same(task.shots_apart))
