"""CM3Leon: documents with spans cut out, pairs put beside them, guidance, and what it learns."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from preceptor.data.batches import IGNORE
from preceptor.data.jsonl import read_jsonl
from preceptor.data.pictures.captions import asked_record, caption_record, is_caption
from preceptor.data.pictures.store import Pictures
from preceptor.data.records import Conversation, image_urls
from preceptor.recipe.load import load_recipe
from preceptor.run.errors import UserError
from preceptor.tokenizer.chat import encode_text
from preceptor.vision.mixed import Mixed
from preceptor.vision.retrieval import Memory
from preceptor.vision.systems.cm3leon import guided_logits
from tests.vision.by_heart import COLOURS, PLAIN
from tests.vision.conftest import Book, run_stage
from tests.vision.mixed import SMALL, batch_of, colours_both_ways, learn, slow_log_likelihood, small
from tests.vision.rows import TINY, check_row


def pictures_of(system: Mixed, *shape: int) -> Tensor:
    return torch.randn(*shape, 3, system.size, system.size, generator=torch.Generator().manual_seed(1)).clamp(-1, 1)


@pytest.fixture(scope="module")
def retriever(book: Book, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLIP that hardly learned."""
    needs = {"pictures": book.pictures, "tokenizer": book.tokenizer}
    return run_stage("vision", tmp_path_factory.mktemp("clip") / "clip", needs, system="clip", vector=8,
                     **TINY | {"steps": 1})


def test_both_steps_are_rows(book: Book, tmp_path: Path, tokenizer_step: Path, retriever: Path) -> None:
    needs = {"start": tokenizer_step, "retriever": retriever}
    system = check_row("cm3leon", book, tmp_path / "first", needs, train="language_model", rank=3, **SMALL)
    pictures = Pictures(book.pictures).take([0, 1])
    assert len(system.caption(pictures)) == 2 and system.retriever is None
    texts = ["a red hat", "a book"]
    drawn = system.draw(texts, seed=1)
    assert drawn.shape == (2, 3, 32, 32) and torch.equal(drawn, system.draw(texts, seed=1))
    assert not torch.equal(drawn, system.draw(texts, seed=2))
    second = check_row("cm3leon", book, tmp_path / "second", {"start": tmp_path / "first/whole"},
                       train="language_model", instructed=True, decoding="contrastive", **SMALL)
    assert len(second.answer(pictures, ["Is there a hat?"] * 2)) == 2 and len(second.caption(pictures)) == 2
    assert second.draw(texts).shape == (2, 3, 32, 32)


def test_a_caption_is_a_document_and_a_question_a_conversation(book: Book) -> None:
    system = small("cm3leon", book, cut=0.0)
    own, other = caption_record("a", "p", "a hat"), caption_record("b", "q", "two books")
    both = Conversation("c", [*other.messages, *own.messages], category="caption")
    batch = system.with_codes(batch_of(system, [both, asked_record("d", "p", "What is red?", "a hat")],
                                       torch.cat([pictures_of(system, 1, 2), pictures_of(system, 1, 2)])))
    hat, books = (encode_text(system.tokenizer, text) for text in ("a hat", "two books"))
    codes = (system.encode(pictures_of(system, 2)) + system.words).tolist()
    document = [system.end, *books, system.mark, *codes[0], system.end, *hat, system.mark, *codes[1], system.end]
    assert batch["tokens"][0, :len(document)].tolist() == document
    assert batch["targets"][0, :len(document)].tolist() == [*document[1:], IGNORE]  # the pair beside it counts, too
    assert system.kinds(document) == [0, *[1] * len(books), 0, 2, 2, 2, 2, 0, *[1] * len(hat), 0, 2, 2, 2, 2, 0]
    assert (batch["targets"][1] != IGNORE).sum() == (batch["segments"][1] > 0).sum() - 1
    torch.manual_seed(0)
    left, cut = system.cut(batch), small("cm3leon", book, cut=1.0).cut(batch)
    assert all(torch.equal(left[name], batch[name]) for name in ("tokens", "targets", "positions", "segments"))
    assert (cut["tokens"] == system.cutting.mask).sum(1).tolist() == [1, 1]
    assert ((cut["segments"] > 0).sum(1) - (batch["segments"] > 0).sum(1)).tolist() == [3, 3]


def test_what_is_scored_is_what_was_cut_out_or_answered(book: Book) -> None:
    system = small("cm3leon", book)
    pictures = pictures_of(system, 2)
    (_, codes) = (system.encode(pictures) + system.words).tolist()
    before = [system.end, system.cutting.mask, system.mark, *codes, system.end, system.cutting.infill]
    text = [*encode_text(system.tokenizer, "a book"), system.end]
    assert float(system.score(pictures, ["a red hat", "a book"])[1, 1]) == pytest.approx(
        slow_log_likelihood(system, before, text), abs=1e-3)
    assert system.drawing("a book") == [system.end, *text[:-1], system.mark]
    assert system.unsaid(system.drawing("a book")) == [system.end, system.cutting.mask, system.mark]
    instructed = small("cm3leon", book, instructed=True)
    plain, masked = instructed.drawing("a book"), instructed.unsaid(instructed.drawing("a book"))
    assert masked.count(instructed.cutting.mask) == 1 and masked[-1] == plain[-1] == instructed.mark
    assert masked[0] == plain[0] and len(masked) < len(plain)
    assert not torch.allclose(instructed.score(pictures, ["a book"]), system.score(pictures, ["a book"]))


def test_what_stands_beside_a_text_is_read_before_its_picture_is_drawn(book: Book) -> None:
    system, texts = small("cm3leon", book), ["a red hat", "a book"]
    pictures, told = pictures_of(system, 2), ["a blue hat", "two books"]
    drawn = system.draw(texts, seed=1)
    assert not torch.equal(system.draw(texts, seed=1, beside=(pictures, told)), drawn)
    torch.testing.assert_close(system.draw(texts[1:], seed=2)[0], drawn[1], rtol=0, atol=1e-3)
    with pytest.raises(UserError, match="leaves no room"):
        system.draw(["a red hat"], beside=(pictures[:1], ["a hat " * 80]))


def test_guidance_leaves_what_is_shut_and_goes_away_from_what_is_drawn_anyway() -> None:
    with_text = torch.tensor([[1.0, 2.0, -torch.inf]])
    found = guided_logits(with_text, torch.tensor([[0.5, 3.0, -torch.inf]]), 3.0)
    assert found.tolist() == [[2.0, 0.0, -torch.inf]]
    assert torch.equal(guided_logits(with_text, with_text, 3.0), with_text)


def test_the_nearest_other_pair_is_put_in_front_and_never_its_own(book: Book, retriever: Path) -> None:
    pictures = Pictures(book.pictures)
    records = list(read_jsonl(book.pictures / "conversations.train.jsonl", Conversation))
    memory = Memory(retriever, pictures, records)
    assert memory.records == [record for record in records if is_caption(record)] and len(memory.records) >= 24
    both = (memory.tower.embed(pictures.take(memory.numbers)) + memory.tower.embed_texts(memory.texts))
    vectors = both / both.norm(dim=1, keepdim=True)
    queries = memory.tower.embed_texts(["a red hat", memory.texts[3]])
    found = memory.nearest(queries, [-1, memory.numbers[3]], ["a red hat", memory.texts[3]])
    for query, other, number, text in zip(queries, found, [-1, memory.numbers[3]], ["a red hat", memory.texts[3]]):
        allowed = [n for n in range(len(vectors)) if memory.numbers[n] != number and memory.texts[n] != text]
        assert other == max(allowed, key=lambda n: float(vectors[n] @ query))
    told = memory.beside(seed=0)
    assert [record.id for record in told] == [record.id for record in memory.records]
    for record, own in zip(told, memory.records):
        shown, said = image_urls(record.messages), [message["content"] for message in record.messages[1::2]]
        assert record.messages[2:] == own.messages and shown[0] != shown[1] and said[0] != said[1]
    again, others = memory.beside(seed=0), memory.beside(seed=1)
    assert again == told != others  # other words are dropped, and other coins tossed


def test_what_cannot_be_found_is_said(book: Book, tokenizer_step: Path, retriever: Path) -> None:
    pictures = Pictures(book.pictures)
    with pytest.raises(UserError, match="vq_vae in .* has no vectors"):
        Memory(tokenizer_step, pictures, [])
    with pytest.raises(UserError, match="no two different ones"):
        Memory(retriever, pictures, [caption_record("a", pictures.names[0], "a hat")])
    heldout = [caption_record(str(n), pictures.names[n], f"hat {n}") for n in pictures.of_split("test")]
    with pytest.raises(UserError, match="no two different ones"):
        Memory(retriever, pictures, heldout)


def test_it_learns_four_colours_by_filling_in_and_draws_them_under_guidance(book: Book) -> None:
    system = small("cm3leon", book)
    records = [caption_record(name, name, name) for name in COLOURS] * 4
    pixels = PLAIN.expand(4, 3, 16, 16).contiguous()
    torch.manual_seed(0)
    learn(system, batch_of(system, records, pixels.repeat(4, 1, 1, 1)[:, None]), 80)
    assert system.caption(pixels) == COLOURS
    assert torch.equal(system.encode(system.draw(COLOURS)), system.encode(system.reconstruct(pixels)))
    scores = system.score(pixels, COLOURS)
    assert scores.argmax(1).tolist() == [0, 1, 2, 3]
    assert scores.roll(1, 0).diagonal().max() < scores.diagonal().min()  # shown another one's picture
    far, near = (system.code_likelihoods(pixels, prompt) for prompt in
                 (system.unsaid(system.drawing("red")), system.drawing("red")))
    assert near[0] > far[0] and near[1] < far[1]


def test_instructed_it_learns_them_as_requests(book: Book) -> None:
    system = small("cm3leon", book, instructed=True, cut=0.2)
    torch.manual_seed(0)
    learn(system, colours_both_ways(system), 150, rate=0.006)
    pixels = PLAIN.expand(4, 3, 16, 16).contiguous()
    assert system.caption(pixels) == COLOURS
    for scores in (system.score(pixels, COLOURS), system.picture_likelihoods(pixels, COLOURS)):
        assert scores.argmax(1).tolist() == [0, 1, 2, 3]
        assert scores.roll(1, 0).diagonal().max() < scores.diagonal().min()  # shown another one's picture


def test_the_recipe_is_two_steps() -> None:
    steps = {step.name: step for step in load_recipe("cm3leon").steps}
    first, second = steps["cm3leon"], steps["instructed"]
    assert first.needs["retriever"] == "clip" and "retriever" not in second.needs
    assert second.needs["start"] == "cm3leon" and second.options.instructed and not first.options.instructed
