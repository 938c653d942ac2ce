"""Chameleon: its network is transformers', its codes stand where they should, and it learns both orders of a pair."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from preceptor.data.batches import IGNORE
from preceptor.data.pictures.captions import DRAW, asked_record, caption_record, drawn_record
from preceptor.data.pictures.store import Pictures
from preceptor.data.records import Prompt
from preceptor.models.vision.checkpoints import as_transformers, take_transformers
from preceptor.models.vision.code_writer import with_codes, without
from preceptor.recipe.load import load_recipe
from preceptor.run.errors import UserError
from preceptor.tokenizer.chat import encode_answer
from preceptor.vision.mixed import Mixed
from tests.vision.by_heart import COLOURS, PLAIN
from tests.vision.conftest import Book
from tests.vision.mixed import SMALL, batch_of, colours_both_ways, learn, slow_log_likelihood, small
from tests.vision.rows import check_row


def pictures_of(system: Mixed, *shape: int) -> Tensor:
    return torch.randn(*shape, 3, system.size, system.size, generator=torch.Generator().manual_seed(1)).clamp(-1, 1)


def test_it_is_a_row(book: Book, tmp_path: Path, tokenizer_step: Path) -> None:
    system = check_row("chameleon", book, tmp_path, {"start": tokenizer_step}, train="language_model", **SMALL)
    pictures = Pictures(book.pictures).take([0, 1])
    assert len(system.caption(pictures)) == 2 and len(system.answer(pictures, ["Is there a hat?"] * 2)) == 2
    drawn = system.draw(["a red hat", "a book"], seed=1)
    assert drawn.shape == (2, 3, 32, 32) and torch.equal(drawn, system.draw(["a red hat", "a book"], seed=1))
    assert not torch.equal(drawn, system.draw(["a red hat", "a book"], seed=2))


@pytest.mark.parametrize("swin_norm", [False, True])
def test_logits_loss_and_gradients_are_those_of_transformers(book: Book, swin_norm: bool) -> None:
    system = small("chameleon", book, swin_norm=swin_norm)
    caption = caption_record("a", "p", "a red hat")
    records = [caption, drawn_record(caption), asked_record("b", "q", "How many hats are there?", "two")]
    batch = system.with_codes(batch_of(system, records, pictures_of(system, 3, 1)))
    system.train()
    states = system.language_model.base_model(
        input_ids=batch["tokens"], attention_mask=(batch["segments"] > 0).long()).last_hidden_state
    (total, count), (of_z, _) = (system.losses(batch_of(system, records, pictures_of(system, 3, 1)))[name]
                                 for name in ("tokens", "z"))
    theirs = as_transformers(system, "chameleon")
    is_code = batch["tokens"] >= system.words
    inputs = {"input_ids": batch["tokens"].masked_fill(is_code, system.words),
              "pixel_values": pictures_of(system, 3), "attention_mask": (batch["segments"] > 0).long()}
    seen = batch["segments"] > 0
    expected = theirs(**inputs).logits[seen][:, :system.words]
    found = system.language_model.get_output_embeddings()(states)[seen][:, :system.words]
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    theirs.model.vocabulary_mapping.__dict__["image_tokens"] = []  # it may write pictures
    counted = torch.nn.functional.pad(batch["targets"][:, :-1] != IGNORE, (1, 0))
    loss = theirs(**inputs, labels=batch["tokens"].masked_fill(~counted, IGNORE)).loss
    torch.testing.assert_close(total / count, loss, rtol=1e-6, atol=1e-6)
    loss.backward()
    (total / count).backward()
    wanted = dict(theirs.named_parameters())
    for name, weight in system.language_model.named_parameters():
        torch.testing.assert_close(weight.grad, wanted[name].grad, rtol=1e-4, atol=1e-4, msg=name)
    logits, _ = system.logits(batch)
    torch.testing.assert_close(of_z, (logits.exp().sum(1).log() ** 2).sum(), rtol=1e-5, atol=1e-4)


def test_a_checkpoint_goes_to_transformers_and_back_bit_for_bit(book: Book) -> None:
    first, second = small("chameleon", book), small("chameleon", book)
    with torch.no_grad():
        for weight in (*second.language_model.parameters(), *second.encoder.parameters()):
            weight.add_(1.0)
    theirs = as_transformers(first, "chameleon")
    take_transformers(second, theirs, "chameleon")
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name
    pictures = pictures_of(first, 3)
    assert torch.equal(theirs.get_image_tokens(pictures), first.encode(pictures) + first.words)


def test_codes_stand_in_the_places_of_their_picture_and_are_learned_where_it_is_an_answer() -> None:
    mark, codes = 9, torch.tensor([[0, 1], [2, 3], [1, 1]])
    tokens = torch.tensor([[9, 9, 9, 5, 9, 9, 9, 6], [4, 9, 9, 9, 6, 0, 0, 0]])
    targets = torch.tensor([[-100, -100, 5, 9, -100, -100, 6, -100], [9, -100, -100, 6, -100, -100, -100, -100]])
    found, aimed = with_codes(tokens, targets, mark, codes, 20)
    assert found.tolist() == [[9, 20, 21, 5, 9, 22, 23, 6], [4, 9, 21, 21, 6, 0, 0, 0]]
    assert aimed.tolist() == [[-100, -100, 5, 9, 22, 23, 6, -100], [9, 21, 21, 6, -100, -100, -100, -100]]
    none = torch.zeros(0, 2, dtype=torch.long)
    assert torch.equal(with_codes(tokens[:, 7:], targets[:, 7:], mark, none, 20)[0], tokens[:, 7:])


@pytest.mark.parametrize("counted, given", [("all", 3), ("answers", 0)])
def test_a_pair_is_told_both_ways_and_all_or_its_answer_counts(book: Book, counted: str, given: int) -> None:
    system = small("chameleon", book, counted=counted)
    caption = caption_record("a", "p", "a red hat")
    question = asked_record("b", "p", "What is red?", "a hat")
    told = system.told([caption, question], Pictures(book.pictures), 0)
    assert [one.id for one in told] == ["a", "a-drawn", "b"]
    assert told[1].messages[0]["content"] == DRAW["en"] + "a red hat"
    batch = system.with_codes(batch_of(system, told, pictures_of(system, 3, 1)))
    learned = (batch["targets"] >= system.words).sum(1).tolist()
    assert learned == ([4, 4, 4] if counted == "all" else [0, 4, 0])
    assert ((batch["targets"] == system.mark).sum(1) > 0).tolist() == [given > 0, True, given > 0]
    end = system.tokenizer.eos_token_id
    assert (batch["targets"] == end).sum(1).tolist() == [1, 1, 1]


def test_what_is_scored_is_the_likelihood_one_token_after_the_other(book: Book) -> None:
    system, pictures = small("chameleon", book), pictures_of(small("chameleon", book), 2)
    codes = (system.encode(pictures) + system.words).tolist()
    prompt = system.asked("Describe the picture.", "caption")
    (before,) = system.rows(system.encoded([prompt], [1]), [[system.mark, *codes[1]]])
    text = encode_answer(system.tokenizer, prompt, "a book")
    assert float(system.score(pictures, ["a red hat", "a book"])[1, 1]) == pytest.approx(
        slow_log_likelihood(system, before, text), abs=1e-3)
    assert float(system.picture_likelihoods(pictures, ["a red hat", "a book"])[1, 1]) == pytest.approx(
        slow_log_likelihood(system, system.drawing("a book"), codes[1]), abs=1e-3)
    assert system.drawing("a book")[-1] == system.mark


@torch.no_grad()
def test_answers_are_words_and_drawings_are_codes(book: Book) -> None:
    system = small("chameleon", book)
    pictures, prompt = pictures_of(system, 2), system.asked("What is it?")
    codes, written = system.encode(pictures) + system.words, []
    (before,) = system.rows(system.encoded([prompt], [1]), [[system.mark, *codes[1].tolist()]])
    while len(written) < 6 and system.tokenizer.eos_token_id not in written:
        logits = system.language_model(input_ids=torch.tensor([before + written])).logits[0, -1, :system.words]
        logits[system.mark] = -torch.inf
        written.append(int(logits.argmax()))
    said = system.tokenizer.decode(written).replace(system.tokenizer.eos_token, "").lstrip()
    assert system.answer(pictures, ["What is it?"] * 2)[1] == said
    plain = system.language_model(input_ids=torch.tensor([before])).logits
    with without(system.language_model, [3, 5]):
        shut = system.language_model(input_ids=torch.tensor([before])).logits
    assert (shut[..., [3, 5]] == -torch.inf).all() and torch.equal(shut[..., 6:], plain[..., 6:])
    assert torch.equal(system.language_model(input_ids=torch.tensor([before])).logits, plain)


def test_it_learns_four_colours_both_ways_and_sees_what_it_says(book: Book) -> None:
    system = small("chameleon", book)
    learn(system, colours_both_ways(system), 80)
    pixels = PLAIN.expand(4, 3, 16, 16).contiguous()
    assert system.caption(pixels) == COLOURS
    assert torch.equal(system.encode(system.draw(COLOURS)), system.encode(system.reconstruct(pixels)))
    for scores in (system.score(pixels, COLOURS), system.picture_likelihoods(pixels, COLOURS)):
        assert scores.argmax(1).tolist() == scores.argmax(0).tolist() == [0, 1, 2, 3]
        assert scores.roll(1, 0).diagonal().max() < scores.diagonal().min()  # shown another one's picture


def test_what_has_no_room_is_said(book: Book) -> None:
    with pytest.raises(UserError, match="A picture has 4 codes"):
        small("chameleon", book, text_length=4)
    system = small("chameleon", book, text_length=24)
    with pytest.raises(UserError, match="leaves no room"):
        system.draw(["a red hat " * 10])
    with pytest.raises(UserError, match="names 1 pictures, and 0 are given"):
        system.write([Prompt("", system.asked("What?").messages)], [pictures_of(system, 0)])


def test_the_recipe_resolves() -> None:
    steps = {step.name: step for step in load_recipe("chameleon").steps}
    assert steps["chameleon"].needs["start"] == "vq_vae" and steps["aligned"].needs["start"] == "chameleon"
    assert steps["aligned"].options.counted == "answers" != steps["chameleon"].options.counted
