"""Decontamination: whether a text shares a run of words with an evaluation set.

Runs are of 13 words (Brown et al. 2020, arXiv 2005.14165, appendix C), in Chinese of 24 characters; case and
punctuation do not count. One shared run is enough, because a document that quotes a question may well answer it.
"""

from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any

from preceptor.data.cleaning.options import ContaminationOptions
from preceptor.data.cleaning.verdict import Drop
from preceptor.data.cleaning.words import HAN, has_letter, split_words
from preceptor.data.jsonl import read_rows
from preceptor.run.errors import UserError


class EvaluationIndex:
    """The runs of words of evaluation records, and in which record each is."""

    def __init__(self, options: ContaminationOptions) -> None:
        self.options = options
        self._records: dict[int, str] = {}
        for file in _files(options.against):
            for number, row in read_rows(file):
                name = f"{file.name.partition('.')[0]}:{row.get('id', number)}"
                for text in _texts(row):
                    for run in self._runs(text):
                        self._records.setdefault(run, name)

    def __len__(self) -> int:
        return len(self._records)

    def contaminated(self, text: str) -> Drop | None:
        """Whether a text shares a run; the score is how many, the neighbour the first record."""
        found = [self._records[run] for run in self._runs(text) if run in self._records]
        return Drop("contamination: evaluation set", len(found), 0, found[0]) if found else None

    def _runs(self, text: str) -> Iterator[int]:
        words = [word.lower() for word in split_words(text) if has_letter(word)]
        chinese = sum(bool(HAN.match(word)) for word in words) * 2 > len(words)
        length = self.options.characters if chinese else self.options.words
        for first in range(len(words) - length + 1):
            run = "\x1f".join(words[first:first + length])
            yield int.from_bytes(blake2b(run.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def _files(against: tuple[str, ...]) -> list[Path]:
    files = []
    for name in against:
        path = Path(name)
        found = sorted(path.rglob("*.jsonl*")) if path.is_dir() else [path]
        if not found or not found[0].is_file():
            raise UserError(f"'{name}' holds no evaluation records.", "Name a .jsonl file or a folder of them.")
        files += found
    return files


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
