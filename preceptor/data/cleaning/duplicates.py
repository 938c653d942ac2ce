"""What was there before: the same text, nearly the same text, the same sentences. One memory for all sources.

Only what is kept is remembered, so the memory of a run that was stopped can be built again from what it wrote.
"""

from hashlib import blake2b

from preceptor.data.cleaning.options import DuplicateOptions
from preceptor.data.cleaning.verdict import Change, Drop
from preceptor.data.cleaning.words import sentence_pieces
from preceptor.data.near_duplicates import NearDuplicateIndex, sketch


def key_of(text: str) -> str:
    """A key that texts share which differ in case and white space only."""
    return blake2b(" ".join(text.lower().split()).encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


class Memory:
    """The texts and runs of sentences kept so far."""

    def __init__(self, options: DuplicateOptions) -> None:
        self.options = options
        self._exact: dict[str, str] = {}
        self._near = NearDuplicateIndex(options.threshold)
        self._runs: set[int] = set()

    def duplicate(self, text: str, key: str) -> Drop | None:
        """Whether a text was there before, exactly or nearly; the neighbour is the text that stays."""
        if key in self._exact:
            return Drop("duplicate: exact", 1.0, 1.0, self._exact[key])
        found = self._near.find(sketch(text))
        return Drop("duplicate: near", found[1], self.options.threshold, found[0]) if found else None

    def without_said_before(self, text: str) -> tuple[str, list[Change]]:
        """The text without runs of `span` sentences that stand in an earlier document."""
        if not self.options.span:
            return text, []
        pieces = sentence_pieces(text)
        gone: set[int] = set()
        for first, run in self._runs_of(pieces):
            if run in self._runs:
                gone.update(range(first, first + self.options.span))
        if not gone:
            return text, []
        example = "".join(pieces[place] for place in sorted(gone)[:self.options.span]).strip()
        kept = "".join(piece for place, piece in enumerate(pieces) if place not in gone).strip()
        return kept, [Change("duplicate: sentences", len(gone), example[:120])]

    def remember(self, name: str, text: str, key: str) -> None:
        """Add a text that is kept, as it is kept; `key` is that of the text before sentences were taken out."""
        self._exact.setdefault(key, name)
        self._near.add(name, sketch(text))
        if self.options.span:
            self._runs.update(run for _, run in self._runs_of(sentence_pieces(text)))

    def _runs_of(self, pieces: list[str]) -> list[tuple[int, int]]:
        """(place, hash) of every run of sentences that is long enough."""
        bare = [" ".join(piece.lower().split()) for piece in pieces]
        runs = []
        for first in range(len(bare) - self.options.span + 1):
            run = "\x1f".join(bare[first:first + self.options.span])
            if len(run) >= self.options.least_span:
                digest = blake2b(run.encode("utf-8", "surrogatepass"), digest_size=8).digest()
                runs.append((first, int.from_bytes(digest, "little")))
        return runs
