"""What people look at in the report: some pictures of every kind with what the system made of them, and its worst.

    gallery.json    shelves `{kind, split, language, typical, worst}`; a card is a row of the stage's other files, its
                    `picture` and, of what was painted, `painted` named by their files
    gallery/        these pictures as PNG
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from preceptor.data.pictures.decode import need_pillow
from preceptor.data.pictures.store import Pictures, as_bytes
from preceptor.run.files import write_json

EACH = 6  # cards of a shelf, typical ones and worst ones

Card = dict[str, Any]


class Gallery:
    """Shelves are filled one after the other, then written."""

    def __init__(self, folder: Path, pictures: Pictures) -> None:
        need_pillow()
        self.folder, self.pictures = folder, pictures
        self.shelves: list[dict[str, Any]] = []

    def add(self, kind: str, split: str, language: str, cards: Sequence[Card], quality: Sequence[float],
            perfect: float) -> None:
        """A shelf of cards, each with the name of its `picture`: some evenly spread over all, and those of least
        quality that are not perfect."""
        worst = sorted((place for place, value in enumerate(quality) if value < perfect), key=quality.__getitem__)
        self._shelf({"kind": kind, "split": split, "language": language}, spread(cards, EACH),
                    [cards[place] for place in worst[:EACH]])

    def add_painted(self, kind: str, split: str, cards: Sequence[Card], painted: Tensor, language: str = "") -> None:
        """A shelf of cards and what the system painted for each, (cards, 3, H, W) in [-1, 1]."""
        names = [f"gallery/{kind}-{split}-{language}{number}.png" for number in range(len(cards))]
        for name, pixels in zip(names, as_bytes(painted.cpu()), strict=True):
            self._write(name, pixels.numpy())
        about = {"kind": kind, "split": split} | ({"language": language} if language else {})
        self._shelf(about, [card | {"painted": name} for card, name in zip(cards, names)], [])

    def _shelf(self, about: dict[str, str], typical: Sequence[Card], worst: Sequence[Card]) -> None:
        shown = {"typical": [self._with_picture(card) for card in typical],
                 "worst": [self._with_picture(card) for card in worst]}
        self.shelves.append({**about, **shown})

    def write(self) -> None:
        """The list of shelves; the pictures are there already."""
        write_json(self.folder / "gallery.json", self.shelves)

    def _with_picture(self, card: Card) -> Card:
        """The card with the file of its picture in the place of the name, where it has one."""
        if "picture" not in card:
            return card
        number = self.pictures.number[card["picture"]]
        self._write(f"gallery/{number}.png", self.pictures.pixels[number])
        return card | {"picture": f"gallery/{number}.png"}

    def _write(self, name: str, pixels_HW3: Any) -> None:
        from PIL import Image
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels_HW3).save(path)


def spread(cards: Sequence[Any], count: int) -> list[Any]:
    """At most `count` of them, evenly spread."""
    return list(cards[::max(1, len(cards) // count)][:count])
