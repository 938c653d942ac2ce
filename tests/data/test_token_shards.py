"""Mapped corpora: the same examples, pieces and batches as in memory, at any cursor; and mixtures."""

import random
from collections import Counter
from pathlib import Path

import pytest

from preceptor.data.batches import Example
from preceptor.data.mixture import epochs_of, mixed
from preceptor.data.packing import PackedBatches
from preceptor.data.records import Document
from preceptor.data.token_shards import Mapped, MappedPieces, write_token_shards
from preceptor.run.errors import UserError


def _encode(document: Document) -> Example:
    return Example.of_text(document.id, [0, *(ord(character) % 50_000 for character in document.text), 0])


def _documents(count: int) -> list[Document]:
    draw = random.Random(0)
    return [Document("".join(draw.choices("abc蜂花", k=draw.randint(0, 60))), f"d{n}\n\"{n}") for n in range(count)]


@pytest.mark.parametrize(("vocabulary", "bits"), [(50_000, 16), (70_000, 32)])
def test_mapped_examples_are_those_that_were_written(tmp_path: Path, vocabulary: int, bits: int) -> None:
    documents = _documents(50)
    content = write_token_shards(tmp_path, documents, _encode, vocabulary, "f", shard_tokens=300)
    assert content["bits"] == bits and len(content["shards"]) > 3
    corpus = Mapped(tmp_path, "f", check=True)
    examples = [_encode(document) for document in documents]
    assert list(corpus) == examples and len(corpus) == 50
    assert list(corpus.lengths()) == [len(example.tokens) for example in examples]
    for length in (1, 7, 20, 1000):
        assert list(MappedPieces(corpus, length)) == [piece for example in examples for piece in example.pieces(length)
                                                      if piece.count]


def test_batches_from_the_map_are_those_from_memory_and_go_on_from_any_cursor(tmp_path: Path) -> None:
    documents = _documents(60)
    write_token_shards(tmp_path, documents, _encode, 50_000, "f", shard_tokens=400)
    settings = {"rows": 3, "length": 32, "pad": 1, "seed": 5, "epochs": 2}
    memory = list(PackedBatches([_encode(document) for document in documents], **settings))
    mapped = PackedBatches(Mapped(tmp_path), **settings)
    assert mapped.total == len(memory)
    for number, expected in enumerate(memory):
        state = mapped.state()
        again = PackedBatches(Mapped(tmp_path), **settings)
        again.restore(state)
        for batch in (next(mapped), next(again) if number % 7 == 0 else expected):
            assert batch.documents == expected.documents and batch.counts == expected.counts
            assert all((batch[name] == expected[name]).all() for name in expected.tensors)
    with pytest.raises(StopIteration):
        next(mapped)


def test_damage_and_another_vocabulary_are_seen(tmp_path: Path) -> None:
    write_token_shards(tmp_path, _documents(5), _encode, 50_000, "f")
    with pytest.raises(UserError, match="another vocabulary"):
        Mapped(tmp_path, "g")
    path = tmp_path / "00000.tokens"
    content = bytearray(path.read_bytes())
    content[3] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match="damaged"):
        Mapped(tmp_path, check=True)
    path.write_bytes(content[:-2])
    with pytest.raises(UserError, match="damaged"):
        Mapped(tmp_path)
    with pytest.raises(UserError, match="no document"):
        write_token_shards(tmp_path / "none", [], _encode, 10, "f")


def test_a_mixture_has_the_shares_that_its_weights_say() -> None:
    sources = ["web"] * 700 + ["books"] * 200 + ["zh"] * 100
    epochs = epochs_of(Counter(sources), {"web": 0.4, "books": 0.3, "zh": 0.3}, 1000)
    assert epochs == pytest.approx({"web": 4 / 7, "books": 1.5, "zh": 3.0})
    order = mixed(sources, epochs, seed=3)
    counts = Counter(sources[place] for place in order)
    assert counts == {"web": 400, "books": 300, "zh": 300}
    seen = Counter(order)
    assert all(seen[place] in (1, 2) for place in range(700, 900))
    assert all(seen[place] == 3 for place in range(900, 1000))
    assert mixed(sources, epochs, seed=3) == order != mixed(sources, epochs, seed=4)


@pytest.mark.parametrize(("weights", "said"), [
    ({"web": 1.0}, "has no weight"), ({"web": 1, "zh": 1, "en": 1}, "no source 'en'"), ({"web": 0, "zh": 0}, "are 0"),
    ({"web": 1, "zh": 9}, "seen 9.0 times"), ({"web": -1, "zh": 1}, "below 0"),
])
def test_mixtures_that_cannot_be_are_refused(weights: dict[str, float], said: str) -> None:
    with pytest.raises(UserError, match=said):
        epochs_of({"web": 900, "zh": 100}, weights, 1000)
