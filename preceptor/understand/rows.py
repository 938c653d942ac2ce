"""Rows of a user's own JSONL files as `Annotated` records.

    classify          {text, label}            the fields' names are options; a label is text or a whole number
    tag and extract   {text, spans}            [[type, start, end], ...], our own form
                      {tokens, tags}           words of a corpus with BIO tags
                      {text, slots}            [{slot, start, end}, ...], as SNIPS has them
                      {text, facts}            {name: value or list of values}, values as they stand in the text
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from preceptor.data.records import Annotated
from preceptor.metrics.entities import spans as tagged_spans
from preceptor.run.errors import UserError
from preceptor.understand.options import AnnotationsOptions
from preceptor.understand.units import Mark, joined, units

Row = dict[str, Any]
LABELS = ("id", "source", "language", "lang")
BREAKS = str.maketrans("\r\n\t", "   ")  # lines of an answer end at line breaks, which no span may hold


class RowReader:
    """Reads rows for one task; `noted` counts, in words, what could not be kept."""

    def __init__(self, options: AnnotationsOptions, noted: Counter[str]) -> None:
        self.options, self.noted = options, noted

    def __call__(self, row: Row, id: str, source: str) -> tuple[Annotated, set[str]]:
        """The record, and the names of the fields that were ignored.

        Raises:
            UserError: the row has no form of the task, or its content is not what the form says.
        """
        about = {"id": str(row.get("id", id)), "source": str(row.get("source") or source)}
        language = row.get("language") or row.get("lang")
        about |= {"language": str(language)} if language else {}
        if self.options.task == "classify":
            text, label = row.get(self.options.text_field), row.get(self.options.label_field)
            used = {self.options.text_field, self.options.label_field}
            if isinstance(label, bool) or not isinstance(label, (str, int)) or not str(label).strip():
                raise UserError(f"The row has no label in its field '{self.options.label_field}'.",
                                "Name the field with label_field; a label is text or a whole number.")
            record = Annotated(_text(text), label=str(label).strip(), **about)
        else:
            text, marks, used = self._marks(row)
            record = Annotated(text, spans=[list(mark) for mark in marks], **about)
        return record, row.keys() - used - set(LABELS)

    def _marks(self, row: Row) -> tuple[str, list[Mark], set[str]]:
        if {"tokens", "tags"} <= row.keys():
            text, marks = from_tags(row["tokens"], row["tags"])
            return text, marks, {"tokens", "tags"}
        field = self.options.text_field
        text = _text(row.get(field)).translate(BREAKS)
        if "spans" in row:
            return text, self._ordered([_three(span) for span in _list(row["spans"])]), {field, "spans"}
        if "slots" in row:
            found = [(one.get("slot"), one.get("start"), one.get("end")) for one in _list(row["slots"])]
            return text, self._ordered([_three(span) for span in found]), {field, "slots"}
        if "facts" in row:
            return text, self._ordered(self._located(text, row["facts"])), {field, "facts"}
        raise UserError(f"No spans can be read from the fields {', '.join(sorted(row))}.",
                        "Give 'tokens' and 'tags', or a text with 'spans', 'slots' or 'facts' (docs/nlu.md).")

    def _located(self, text: str, facts: Any) -> list[Mark]:
        """Each value where it stands first in the text, at units if it can be and apart from the values before it."""
        if not isinstance(facts, dict):
            raise UserError("'facts' must be an object of names and values.", 'Write {"city": "Paris"}.')
        pieces, found = units(text), []
        starts, ends = {first for first, _ in pieces}, {behind for _, behind in pieces}
        for name, values in facts.items():
            for value in values if isinstance(values, list) else [values]:
                words = _text(value).translate(BREAKS).strip()
                places = [place for place in range(len(text)) if text.startswith(words, place)
                          and not any(place < end and start < place + len(words) for _, start, end in found)]
                whole = [place for place in places if place in starts and place + len(words) in ends]
                if places:
                    place = (whole or places)[0]
                    found.append((name, place, place + len(words)))
                else:
                    self.noted["values left out: they do not stand in their text, or only inside another"] += 1
        return found

    def _ordered(self, marks: Sequence[Mark]) -> list[Mark]:
        """In the order of the text; of spans that overlap the one that begins first, of these the longest, is kept."""
        kept: list[Mark] = []
        for mark in sorted(marks, key=lambda one: (one[1], -one[2])):
            if kept and mark[1] < kept[-1][2]:
                self.noted["spans left out: they overlap another"] += 1
            else:
                kept.append(mark)
        return kept


def from_tags(words: Any, tags: Any) -> tuple[str, list[Mark]]:
    """The text of a corpus's words, and the spans that its BIO tags mean, in characters.

    Raises:
        UserError: they are not two lists of text of one length.
    """
    if len(_list(words)) != len(_list(tags)) or not all(isinstance(part, str) for part in (*words, *tags)):
        raise UserError("'tokens' and 'tags' must be lists of text of one length.",
                        'Write "tokens": ["Nora", "sings"], "tags": ["B-PER", "O"].')
    words = [word.translate(BREAKS) for word in words]
    text, places = joined(words)
    marks = [(kind, places[first][0], places[last][1]) for kind, first, last in tagged_spans(tags)]
    return _text(text), [mark for mark in marks if text[mark[1]:mark[2]].strip()]


def _text(value: Any) -> str:
    if isinstance(value, str) and value.strip():
        return value
    raise UserError("The row has no text.", "Write the text, or remove the line; text_field names its field.")


def _list(value: Any) -> list[Any]:
    if isinstance(value, list):
        return value
    raise UserError("Spans, slots, tokens and tags must be lists.", "Mend the line.")


def _three(span: Any) -> Mark:
    if isinstance(span, (list, tuple)) and [type(part) for part in span] == [str, int, int]:
        return tuple(span)
    raise UserError("A span must be its type, first character and the one behind its last.",
                    'Write ["PER", 0, 4], or {"slot": "PER", "start": 0, "end": 4}.')
