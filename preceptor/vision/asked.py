"""What a system answers about pictures, against the answers that are known, and beside itself blind.

    written    the answer as it is written, right when it is the very text
    chosen     the likeliest of the answers that questions of its kind have, where these are few
    grounded   the box of a thing, right when it shares more than half of its area with the true one (IoU > 0.5)

Blind is the same with the pictures of others: what a system knows of the answers without looking.
"""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from preceptor.data.pictures.captions import is_caption
from preceptor.data.pictures.store import Pictures
from preceptor.data.records import Conversation, content_text, image_urls
from preceptor.metrics.image_text import overlap
from preceptor.metrics.intervals import mean_over_prompts
from preceptor.vision.examine import Figures, elsewhere
from preceptor.vision.system import System

CHOICES = 12  # answers among which one is chosen, at most
BOX = "box"   # the category of questions whose answer is a box


def asked_about(records: Sequence[Conversation]) -> list[Conversation]:
    """The questions among some records: one picture, one question, one answer, and no request for a description."""
    return [record for record in records if len(record.messages) == 2 and len(image_urls(record.messages)) == 1
            and not is_caption(record)]


def answered(system: System, pictures: Pictures, records: Sequence[Conversation], seed: int
             ) -> tuple[Figures, list[dict[str, Any]]]:
    """The measures, each seen and blind, and every question with what was written to it."""
    numbers = [pictures.number[image_urls(record.messages)[0]] for record in records]
    different = list(dict.fromkeys(numbers))
    order = elsewhere(len(different), seed)
    instead = {number: different[place] for number, place in zip(different, order)}
    figures: Figures = {}
    rows: list[dict[str, Any]] = []
    for way, looked_at in (("seen", numbers), ("blind", [instead[number] for number in numbers])):
        said = _written(system, pictures, records, looked_at)
        chosen = _chosen(system, pictures, records, looked_at)
        for name, right in _judged(records, said, chosen).items():
            figures.setdefault(name, {})[way] = _shares(right, records, numbers)
        if way == "seen":
            rows = [{"picture": pictures.names[number], "question": _question(record), "kind": record.category,
                     "answer": record.messages[1]["content"], "written": text}
                    for record, number, text in zip(records, numbers, said)]
    return figures, rows


def _judged(records: Sequence[Conversation], said: Sequence[str], chosen: dict[int, str]
            ) -> dict[str, dict[int, float]]:
    """Of each measure which of its questions are right, by their number."""
    judged: dict[str, dict[int, float]] = {}
    for number, record in enumerate(records):
        true = record.messages[1]["content"].strip()
        if record.category == BOX:
            judged.setdefault("grounded", {})[number] = float(overlap(box_in(said[number]), box_in(true)) > 0.5)
            continue
        judged.setdefault("written", {})[number] = float(said[number].strip() == true)
        if number in chosen:
            judged.setdefault("chosen", {})[number] = float(chosen[number] == true)
    return judged


def _shares(right: dict[int, float], records: Sequence[Conversation], pictures: Sequence[int]) -> Figures:
    """The share that is right with its interval over pictures, and that of each kind of question."""
    kinds: dict[str, list[float]] = {}
    for number, value in right.items():
        kinds.setdefault(records[number].category or "question", []).append(value)
    interval = mean_over_prompts(list(right.values()), [pictures[number] for number in right])
    return interval.to_dict() | {"kinds": {kind: float(np.mean(values)) for kind, values in sorted(kinds.items())}}


def _written(system: System, pictures: Pictures, records: Sequence[Conversation], numbers: Sequence[int]) -> list[str]:
    prompts = [system.asked(_question(record), record.category) for record in records]
    return system.write(prompts, list(pictures.take(numbers)[:, None]))


def _chosen(system: System, pictures: Pictures, records: Sequence[Conversation], numbers: Sequence[int]
            ) -> dict[int, str]:
    """The likeliest answer to each question of a kind that has few different ones."""
    of_kind: dict[str, list[int]] = {}
    for place, record in enumerate(records):
        of_kind.setdefault(record.category or "question", []).append(place)
    found: dict[int, str] = {}
    for places in of_kind.values():
        choices = list(dict.fromkeys(records[place].messages[1]["content"].strip() for place in places))
        if not 1 < len(choices) <= CHOICES:
            continue
        prompts = [system.asked(_question(records[place]), records[place].category) for place in places]
        images = pictures.take([numbers[place] for place in places])
        best = system.log_likelihoods(images, prompts, choices).argmax(1)
        found |= {place: choices[number] for place, number in zip(places, best.tolist())}
    return found


def _question(record: Conversation) -> str:
    """What is asked, without its picture."""
    content = record.messages[0]["content"]
    return content_text([part for part in content if part.get("type") == "text"])


def box_in(text: str) -> np.ndarray | None:
    """The first four whole numbers of a text as a box: left, top, right, bottom; None where there are fewer."""
    found = re.findall(r"\d+", text)[:4]
    return np.array([float(number) for number in found]) if len(found) == 4 else None
