"""What a language model is to write about a text: its label, or a line for each span.

    PER: Nora              type, colon, and the span as it stands in the text; in the order of the text
    LOC: Paris             a text without spans is answered by one dash

Lines say what a span is and not where: reading them back, each is the first such piece of the text behind the span
before it. Where the text has the same words earlier and they are no span, the place is lost (`lost_places`).
"""

from collections.abc import Iterable, Sequence

from preceptor.data.records import Annotated, Conversation
from preceptor.understand.units import Mark, Piece, units, widened

NONE = "-"


def answer_of(record: Annotated, task: str) -> str:
    """The answer that a model should write: the label for the task `classify`, else lines."""
    if task == "classify":
        return record.label or ""
    marks = widened(units(record.text), [tuple(span) for span in record.spans or []])
    return "\n".join(f"{kind}: {record.text[start:end]}" for kind, start, end in marks) or NONE


def conversation_of(record: Annotated, task: str) -> Conversation:
    """The record as a demonstration: the text is what the user says, the answer what the assistant does."""
    return Conversation(record.id, [{"role": "user", "content": record.text},
                                    {"role": "assistant", "content": answer_of(record, task)}], source=record.source)


def marks_in(answer: str, text: str, pieces: Sequence[Piece], types: Iterable[str]) -> list[Mark]:
    """The spans that an answer names, placed in the text; lines that name none, such as one cut off, are left out."""
    starts, ends, known = {first for first, _ in pieces}, {behind for _, behind in pieces}, set(types)
    found: list[Mark] = []
    bound = 0
    for line in answer.split("\n"):
        kind, colon, words = line.partition(": ")
        place = _first(text, words, bound, starts, ends) if colon and words and kind in known else -1
        if place >= 0:
            bound = place + len(words)
            found.append((kind, place, bound))
    return found


def _first(text: str, words: str, bound: int, starts: set[int], ends: set[int]) -> int:
    """The first place from `bound` on where these words stand as whole units, or -1."""
    place = text.find(words, bound)
    while place >= 0 and not (place in starts and place + len(words) in ends):
        place = text.find(words, place + 1)
    return place


def lost_places(records: Sequence[Annotated], types: Iterable[str]) -> int:
    """How many spans would be placed elsewhere though every line was right: what lines cannot say."""
    known, lost = list(types), 0
    for record in records:
        pieces = units(record.text)
        marks = widened(pieces, [tuple(span) for span in record.spans or []])
        lost += len(set(marks) - set(marks_in(answer_of(record, "tag"), record.text, pieces, known)))
    return lost
