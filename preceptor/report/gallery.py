"""What systems saw, for people to look at: pictures with their nearest texts, captions and answers, pictures that were
painted, and the worst failures; and a table of what was measured, seen and blind.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from preceptor.report.blocks import Section, Table
from preceptor.report.text import Text, both, interval, joined, named, number, text
from preceptor.run.files import read_json

GOOD, BAD = "good", "bad"  # how a line of a card is marked: true, untrue
COUNTED = ("used", "perplexity")  # figures that have no blind control

Line = tuple[str, str]  # text, mark


@dataclass(frozen=True, slots=True)
class Card:
    """A picture or two as data of the page; what stands under it, each line with its mark; what is known to be true."""

    pictures: Sequence[str]
    lines: Sequence[Line]
    said: Text | None = None


@dataclass(frozen=True, slots=True)
class Shelf:
    """Cards of one kind, of one step and split."""

    title: Text
    typical: Sequence[Card]
    worst: Sequence[Card]


def gallery(folders: dict[str, Path]) -> list[Shelf]:
    """The shelves of all steps that looked at pictures.

    Args:
        folders: of those steps, by their names.
    """
    found = []
    for name, folder in folders.items():
        for shelf in read_json(folder / "gallery.json"):
            title = text("gallery.title", kind=text(f"gallery.{shelf['kind']}"), step=name,
                         where=_where(shelf["split"], shelf.get("language", "")))
            typical, worst = ([_card(folder, shelf["kind"], card) for card in shelf[which]]
                              for which in ("typical", "worst"))
            found.append(Shelf(title, typical, worst))
    return found


def _card(folder: Path, kind: str, card: dict[str, Any]) -> Card:
    pictures = [_data(folder / card[name]) for name in ("picture", "painted") if name in card]
    if kind == "nearest":
        lines = [(said, GOOD if said in card["true"] else "") for said, _ in card["texts"]]
        place = text("gallery.place", place=number(card["place"]), true=card["true"][0])
        return Card(pictures, lines, place if card["place"] > 1 else None)
    if kind == "captions":
        right = card["written"] in card["captions"]
        return Card(pictures, [(card["written"], GOOD if right else BAD)],
                    None if right else text("gallery.known", true=card["captions"][0]))
    if kind == "answers":
        right = card["right"] == 1
        return Card(pictures, [(card["question"], ""), (card["written"], GOOD if right else BAD)],
                    None if right else text("gallery.known", true=card["answer"]))
    return Card(pictures, [(card["text"], "")] if "text" in card else [])


def _data(path: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()


def measured(scores: dict[str, dict[str, Any]]) -> Section | None:
    """A table for each step that looked at pictures: every measure of every split, seen and blind.

    Args:
        scores: scores.json by the step's name; none gives no section.
    """
    if not scores:
        return None
    rows: list[list[Markup | str]] = []
    for step, splits in scores.items():
        for split, found in splits.items():
            for name, measures in found.items():
                about = {name: measures} if name in ("word_order", "reconstruction") else measures
                where = _where(split, "" if about is not measures else name)
                rows += [[both(named("measured", one)), step, both(where), *figures]
                         for group in about.values() for one, *figures in _figures(group)]
    head = [both(f"gallery.{name}") for name in ("measure", "step", "pictures", "seen", "blind")]
    return Section("seen", [], [Table(head, rows)])


def _figures(group: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Of a group of measures the name, the figure, and the blind one where there is one."""
    found = [(name, number(group[name]), "") for name in COUNTED if name in group]
    if "seen" in group:
        return found + [(name, _shown(figure), _shown(group["blind"][name])) for name, figure in group["seen"].items()]
    return found + [(name, _shown(measure["seen"]), _shown(measure["blind"])) for name, measure in group.items()
                    if isinstance(measure, dict)]


def _shown(figure: Any) -> str:
    return interval(figure) if isinstance(figure, dict) else number(figure)


def _where(split: str, language: str) -> Text:
    of_language = [named("language", language)] if language else []
    return joined(" ", [lambda _: split, *of_language])
