"""What a system answers about pictures, against the answers that are known, and beside itself blind.

    written    the answer as it is written, right when it is the very text of one that is known
    chosen     the likeliest of the answers that questions of its kind have, where these are few
    vqa        VQA accuracy, of questions that several people answered
    iou50      the box of a thing, right when it shares more than half of its area with the true one (IoU > 0.5)

Blind is the same with the pictures of others: what a system knows of the answers without looking.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from preceptor.data.pictures.captions import BOX, box_in, is_caption
from preceptor.data.pictures.store import Pictures
from preceptor.data.records import Conversation, content_text, image_urls
from preceptor.metrics.image_text import overlap
from preceptor.metrics.intervals import mean_over_prompts
from preceptor.metrics.vqa import vqa_accuracy
from preceptor.vision.examine import Figures, elsewhere
from preceptor.vision.system import System

CHOICES = 12  # answers among which one is chosen, at most


@dataclass(frozen=True, slots=True)
class Question:
    """A question about a picture, given by its number. `answers` has one for each record that asks it, equal ones
    included: one of each person, where several answered."""

    picture: int
    text: str
    category: str | None
    answers: tuple[str, ...]


def questions_of(system: System, pictures: Pictures, records: Sequence[Conversation]) -> list[Question]:
    """The questions among some records: one picture, one question, one answer, and no request for a description. A
    system that has learned no boxes is asked for none."""
    boxes = getattr(system, "gives_boxes", False)
    answers: dict[tuple[int, str, str | None], list[str]] = {}
    for record in records:
        urls = image_urls(record.messages)
        if len(record.messages) == 2 and len(urls) == 1 and not is_caption(record) and (
                boxes or record.category != BOX):
            asked = pictures.number[urls[0]], _question(record), record.category
            answers.setdefault(asked, []).append(record.messages[1]["content"].strip())
    return [Question(*asked, tuple(known)) for asked, known in answers.items()]


def answered(system: System, pictures: Pictures, questions: Sequence[Question], seed: int
             ) -> tuple[Figures, list[dict[str, Any]]]:
    """The measures, each seen and blind, as `{"questions": {written, chosen, vqa}, "ground": {iou50}}`, those that
    there is something for; and every question with what was written to it."""
    numbers = [question.picture for question in questions]
    different = list(dict.fromkeys(numbers))
    order = elsewhere(len(different), seed)
    instead = {number: different[place] for number, place in zip(different, order)}
    figures: Figures = {}
    rows = [{"picture": pictures.names[question.picture], "question": question.text, "kind": question.category,
             "answer": question.answers[0]} for question in questions]
    for way, looked_at in (("seen", numbers), ("blind", [instead[number] for number in numbers])):
        said = _written(system, pictures, questions, looked_at)
        chosen = _chosen(system, pictures, questions, looked_at)
        judged = _judged(questions, said, chosen)
        for name, right in judged.items():
            group = figures.setdefault("ground" if name == "iou50" else "questions", {})
            group.setdefault(name, {})[way] = _shares(right, questions)
        if way == "seen":
            right = judged.get("written", {}) | judged.get("iou50", {})
            rows = [row | {"written": text, "right": right[place]} for place, (row, text) in enumerate(zip(rows, said))]
    return figures, rows


def _judged(questions: Sequence[Question], said: Sequence[str], chosen: dict[int, str]) -> dict[str, dict[int, float]]:
    """Of each measure how right its questions are, by their number."""
    judged: dict[str, dict[int, float]] = {}
    for number, question in enumerate(questions):
        if question.category == BOX:
            shared = max(overlap(box_in(said[number]), box_in(answer)) for answer in question.answers)
            judged.setdefault("iou50", {})[number] = float(shared > 0.5)
            continue
        judged.setdefault("written", {})[number] = float(said[number].strip() in question.answers)
        if number in chosen:
            judged.setdefault("chosen", {})[number] = float(chosen[number] in question.answers)
        if len(question.answers) > 1:
            judged.setdefault("vqa", {})[number] = vqa_accuracy(said[number], question.answers)
    return judged


def _shares(right: dict[int, float], questions: Sequence[Question]) -> Figures:
    """The share that is right with its interval over pictures, and that of each kind of question."""
    kinds: dict[str, list[float]] = {}
    for number, value in right.items():
        kinds.setdefault(questions[number].category or "question", []).append(value)
    interval = mean_over_prompts(list(right.values()), [questions[number].picture for number in right])
    return interval.to_dict() | {"kinds": {kind: float(np.mean(values)) for kind, values in sorted(kinds.items())}}


def _written(system: System, pictures: Pictures, questions: Sequence[Question], numbers: Sequence[int]) -> list[str]:
    prompts = [system.asked(question.text, question.category) for question in questions]
    return system.write(prompts, list(pictures.take(numbers)[:, None]))


def _chosen(system: System, pictures: Pictures, questions: Sequence[Question], numbers: Sequence[int]
            ) -> dict[int, str]:
    """The likeliest answer to each question of a kind that has few different ones."""
    of_kind: dict[str, list[int]] = {}
    for place, question in enumerate(questions):
        of_kind.setdefault(question.category or "question", []).append(place)
    found: dict[int, str] = {}
    for places in of_kind.values():
        choices = list(dict.fromkeys(answer for place in places for answer in questions[place].answers))
        if not 1 < len(choices) <= CHOICES:
            continue
        prompts = [system.asked(questions[place].text, questions[place].category) for place in places]
        images = pictures.take([numbers[place] for place in places])
        best = system.log_likelihoods(images, prompts, choices).argmax(1)
        found |= {place: choices[number] for place, number in zip(places, best.tolist())}
    return found


def _question(record: Conversation) -> str:
    """What is asked, without its picture."""
    content = record.messages[0]["content"]
    return content_text([part for part in content if part.get("type") == "text"])
