"""Pictures that a vocabulary has entries for: an album, kept in a model's folder beside its tokenizer.

Where the chat template leaves the mark `IMAGE`, a prompt gets the entries of its picture, `each` in a row, numbered
from `first`, which is behind the embeddings of the model. So a prompt with pictures is a row of numbers like any other,
and nothing that samples, scores or learns needs to know (models/vision/album.py says what the model reads there).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from preceptor.run.errors import UserError
from preceptor.run.files import read_json, write_json

FILE = "album.json"


@dataclass(frozen=True, slots=True)
class Album:
    """Picture n has the entries first + n * each, ..., first + (n + 1) * each - 1; `places` gives n for its name in the
    records."""

    places: Mapping[str, int]
    first: int
    each: int

    def entries(self, name: str) -> range:
        """The entries of a picture.

        Raises:
            UserError: the album does not have it.
        """
        if name not in self.places:
            raise UserError(f"The model's album has no picture '{name}'.",
                            "Name one that it has, or make the album of a split that holds it.")
        start = self.first + self.places[name] * self.each
        return range(start, start + self.each)

    def placed(self, tokens: Sequence[int], mark: int, names: Iterator[str]) -> list[int]:
        """The tokens with the entries of the next picture in the place of each mark."""
        found: list[int] = []
        for token in tokens:
            found += self.entries(next(names)) if token == mark else [token]
        return found

    def save(self, folder: Path) -> None:
        """Write album.json."""
        write_json(folder / FILE, {"names": list(self.places), "first": self.first, "each": self.each})


def read_album(folder: Path | str) -> Album | None:
    """The album of a model's folder, if it has one."""
    path = Path(folder) / FILE
    if not path.is_file():
        return None
    kept = read_json(path)
    return Album({name: place for place, name in enumerate(kept["names"])}, kept["first"], kept["each"])
