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
    """The runs of words of evaluation records, and in which record each is.

    Raises:
        UserError: `against` names no records, or none of their texts is as long as a run.
    """

    def __init__(self, options: ContaminationOptions) -> None:
        self.options = options
        self._records: dict[int, str] = {}
        self._lengths: set[int] = set()  # of the runs that are in the index
        for file in evaluation_files(options):
            for number, row in read_rows(file):
                name = f"{file.name.partition('.')[0]}:{row.get('id', number)}"
                for text in _texts(row):
                    self._add(text, name)
        if not self._records:
            raise UserError(f"No text in {', '.join(options.against)} has {options.words} words, or "
                            f"{options.characters} Chinese characters: nothing could be found.",
                            "Set contamination.words and contamination.characters to less, or on=false.")

    def __len__(self) -> int:
        return len(self._records)

    def _add(self, text: str, name: str) -> None:
        words = _words(text)
        chinese = sum(bool(HAN.match(word)) for word in words) * 2 > len(words)
        length = self.options.characters if chinese else self.options.words
        for run in _runs(words, length):
            self._records.setdefault(run, name)
            self._lengths.add(length)

    def contaminated(self, text: str) -> Drop | None:
        """Whether a text shares a run; the score is how many, the neighbour the first record. Runs of both lengths are
        looked for, for a page in one language may quote a question in another."""
        words = _words(text)
        found = [self._records[run] for length in sorted(self._lengths) for run in _runs(words, length)
                 if run in self._records]
        return Drop("contamination: evaluation set", len(found), 0, found[0]) if found else None


def _words(text: str) -> list[str]:
    return [word.lower() for word in split_words(text) if has_letter(word)]


def _runs(words: list[str], length: int) -> Iterator[int]:
    """Hashes of the runs of so many words."""
    for first in range(len(words) - length + 1):
        run = "\x1f".join(words[first:first + length])
        yield int.from_bytes(blake2b(run.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def evaluation_files(options: ContaminationOptions) -> list[Path]:
    """The files of records that `against` names, where it is on.

    Raises:
        UserError: a name leads to none.
    """
    files = []
    for name in options.against if options.on else ():
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
