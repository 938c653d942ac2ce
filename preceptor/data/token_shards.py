"""A tokenised corpus on the disk, mapped into memory: any document's tokens at once, and nothing held.

    FOLDER/corpus.json        documents, tokens, the vocabulary's fingerprint, and each shard's size and checksum
    FOLDER/00000.tokens       token ids, end to end: 16 bits each where the vocabulary allows it, else 32
    FOLDER/00000.ends         where each document ends, in tokens, 64 bits each
    FOLDER/00000.ids          the documents' ids, a line each

`Mapped` is a sequence of examples for `PackedBatches`, whose cursor is exact: a batch is a function of (seed, epoch,
number).
"""

import json
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from preceptor.data.batches import Example
from preceptor.data.records import Document
from preceptor.run.errors import UserError
from preceptor.run.files import hash_path, read_json, write_json, write_lines

SHARD_TOKENS = 1 << 26


def write_token_shards(folder: Path, documents: Iterable[Document], encode: Callable[[Document], Example],
                       vocabulary: int, fingerprint: str, shard_tokens: int = SHARD_TOKENS) -> dict[str, Any]:
    """Tokenise documents into a folder; returns what `corpus.json` says. `corpus.json` is written last."""
    kind = np.uint16 if vocabulary <= 1 << 16 else np.uint32
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "corpus.json").unlink(missing_ok=True)
    shards: list[dict[str, Any]] = []
    tokens: list[np.ndarray] = []
    ids: list[str] = []
    size = 0

    def close() -> None:
        nonlocal tokens, ids, size
        stem = folder / f"{len(shards):05}"
        np.concatenate(tokens).tofile(stem.with_suffix(".tokens"))
        np.cumsum([len(part) for part in tokens], dtype=np.int64).tofile(stem.with_suffix(".ends"))
        write_lines(stem.with_suffix(".ids"), (json.dumps(name, ensure_ascii=False) for name in ids))
        shards.append({"name": stem.name, "documents": len(ids), "tokens": size,
                       "sha256": hash_path(stem.with_suffix(".tokens"))})
        tokens, ids, size = [], [], 0

    for document in documents:
        example = encode(document)
        tokens.append(np.array(example.tokens, kind))
        ids.append(document.id)
        size += len(example.tokens)
        if size >= shard_tokens:
            close()
    if ids:
        close()
    if not shards:
        raise UserError("There is no document to tokenise.", "Give at least one.")
    content = {"documents": sum(shard["documents"] for shard in shards),
               "tokens": sum(shard["tokens"] for shard in shards), "vocabulary": vocabulary,
               "fingerprint": fingerprint, "bits": np.dtype(kind).itemsize * 8, "shards": shards}
    write_json(folder / "corpus.json", content)
    return content


class Mapped(Sequence[Example]):
    """The documents of token shards as examples, read from the map when they are asked for."""

    def __init__(self, folder: Path, fingerprint: str | None = None, check: bool = False) -> None:
        """Open a folder; `check` reads every byte against its checksum.

        Raises:
            UserError: it is no folder of token shards, is damaged, or belongs to another vocabulary.
        """
        self.content = read_json(folder / "corpus.json")
        if fingerprint is not None and fingerprint != self.content["fingerprint"]:
            raise UserError(f"'{folder}' was tokenised with another vocabulary.", "Tokenise it again with this one.")
        kind = np.dtype(f"u{self.content['bits'] // 8}")
        self._shards = []
        for shard in self.content["shards"]:
            stem = folder / shard["name"]
            path = stem.with_suffix(".tokens")
            if not path.exists() or path.stat().st_size != shard["tokens"] * kind.itemsize \
                    or (check and hash_path(path) != shard["sha256"]):
                raise UserError(f"'{path}' is damaged.", "Tokenise the corpus again.")
            ends = np.fromfile(stem.with_suffix(".ends"), np.int64)
            ids = [json.loads(line) for line in stem.with_suffix(".ids").read_text(encoding="utf-8").split("\n")[:-1]]
            self._shards.append((np.memmap(path, kind, "r"), ends, ids))
        self._firsts = [0, *accumulate(shard["documents"] for shard in self.content["shards"])]

    def __len__(self) -> int:
        return self.content["documents"]

    @property
    def tokens(self) -> int:
        """Tokens of all documents."""
        return self.content["tokens"]

    def __getitem__(self, place: int) -> Example:
        tokens, start, end, name = self._span(place)
        return Example.of_text(name, tokens[start:end].tolist())

    def lengths(self) -> Iterator[int]:
        """Tokens of each document, in order, without reading them."""
        for _, ends, _ in self._shards:
            yield from np.diff(ends, prepend=0).tolist()

    def piece(self, place: int, first: int, length: int) -> Example:
        """At most `length` positions of a document from `first` on, as `Example.pieces` would cut it."""
        tokens, start, end, name = self._span(place)
        span = tokens[start + first:min(end, start + first + length + 1)].tolist()
        return Example(name, span[:length], Example.of_text(name, span).targets[:length])

    def _span(self, place: int) -> tuple[np.ndarray, int, int, str]:
        shard = bisect_right(self._firsts, place) - 1
        if not 0 <= place < len(self):
            raise IndexError(place)
        tokens, ends, ids = self._shards[shard]
        mine = place - self._firsts[shard]
        return tokens, int(ends[mine - 1]) if mine else 0, int(ends[mine]), ids[mine]


class MappedPieces(Sequence[Example]):
    """A mapped corpus cut into pieces of at most `length` positions, none of them held."""

    def __init__(self, corpus: Mapped, length: int) -> None:
        self.corpus, self.length = corpus, length
        documents, firsts, lengths = [], [], []
        for place, count in enumerate(corpus.lengths()):
            for first in range(0, count, length):
                size = min(length, count - first)
                if first + size < count or size > 1:  # a last piece of one token has no target
                    documents.append(place)
                    firsts.append(first)
                    lengths.append(size)
        self._places = np.array([documents, firsts], np.int64)
        self.lengths = np.array(lengths, np.int64)

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, place: int) -> Example:
        document, first = self._places[:, place].tolist()
        return self.corpus.piece(document, first, self.length)
