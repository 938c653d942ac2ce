"""MiniGPT-5: vokens stand where a picture is due, its losses are those by hand, and a frozen painter paints by them."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from preceptor.data.batches import IGNORE, Batch, collate
from preceptor.data.pictures.captions import asked_record, caption_record, drawn_record, retold_record
from preceptor.data.pictures.store import Pictures
from preceptor.data.records import IMAGE, Conversation, Prompt
from preceptor.models.adapters import add_lora, beside_adapter
from preceptor.models.causal import load_causal
from preceptor.models.trainable import train_only, weights_hash
from preceptor.recipe.load import load_recipe
from preceptor.run.errors import UserError
from preceptor.tokenizer.chat import encode_prompt, load_tokenizer
from preceptor.vision.generative_options import DiffusionOptions
from preceptor.vision.keep import load_system, save_system, system_class
from preceptor.vision.system import System
from preceptor.vision.systems.diffusion import Diffusion
from preceptor.vision.systems.minigpt5 import MiniGpt5
from tests.vision.by_heart import COLOURS, PLAIN, descend
from tests.vision.conftest import Book, run_stage
from tests.vision.rows import TINY, check_row
from tests.vision.test_splice import language_model

QUERIES = {"queries": 4, "query_width": 16, "query_layers": 2, "text_length": 96, "answer_tokens": 6}
PAINTER = {"painter_width": 16, "painter_layers": 1, "painter_heads": 2, "painter_patch": 8, "words": 12,
           "lora_rank": 2, "vokens": 3, "mapper_layers": 1, "trials": 2, "draw_steps": 2}


@pytest.fixture(scope="module")
def language(book: Book, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return language_model(book, tmp_path_factory.mktemp("language") / "model")


def small(book: Book, language: Path, painter: Path | None = None, size: int = 32, **options: Any) -> MiniGpt5:
    """A row with fresh weights of which the painter's last layer is no longer zero."""
    tokenizer = load_tokenizer(book.tokenizer / "model")
    tokenizer.add_tokens([IMAGE], special_tokens=True)
    torch.manual_seed(0)
    kind = system_class("minigpt5")
    shape = {key: TINY[key] for key in ("width", "layers", "heads", "patch")}
    sources = {"language_model": language} | ({"painter": painter} if painter else {})
    return kind(kind.options_class(system="minigpt5", **shape | QUERIES | PAINTER | options), tokenizer, size, sources)


def batch_of(system: System, records: list[Conversation], pixels: Tensor) -> Batch:
    batch = collate([[system.conversation(record)] for record in records], system.tokenizer.pad_token_id)
    return Batch(batch.tensors | {"pixels": pixels}, [1] * len(records), batch.documents)


def test_both_steps_are_rows(book: Book, language: Path, tmp_path: Path) -> None:
    needs = {"pictures": book.pictures, "tokenizer": book.tokenizer}
    painter = run_stage("vision", tmp_path / "painter", needs, system="diffusion", **TINY | {"text_length": 16})
    eyes = run_stage("vision", tmp_path / "blip2", {"pictures": book.pictures, "language_model": language},
                     system="blip2", **TINY | QUERIES | {"steps": 1})
    first = check_row("minigpt5", book, tmp_path / "first", {"start": eyes, "painter": painter},
                      train="vokens, mapper", **QUERIES | PAINTER)
    before = load_system(eyes)
    for part in ("image", "fusion", "connector"):
        for name, value in getattr(before, part).state_dict().items():
            assert torch.equal(value, getattr(first, part).state_dict()[name]), f"{part}.{name}"
    for name, value in load_system(painter).painter.state_dict().items():
        assert torch.equal(value, first.painter.state_dict()[name])
    second = check_row("minigpt5", book, tmp_path / "second", {"start": tmp_path / "first/whole"},
                       train="vokens, mapper, language_model.lora", **QUERIES | PAINTER)
    pictures, texts = Pictures(book.pictures).take([0, 1]), ["a red hat", "a book"]
    assert len(second.caption(pictures)) == 2 and len(second.answer(pictures, ["Is there a hat?"] * 2)) == 2
    assert second.draw(texts).shape == (2, 3, 32, 32)
    torch.testing.assert_close(second.score(pictures, texts),
                               second.errors(pictures, [""]) - second.errors(pictures, texts))


def test_a_picture_is_vectors_where_it_is_shown_and_vokens_where_it_answers(book: Book, language: Path) -> None:
    system = small(book, language)
    caption = caption_record("a", "p", "a red hat")
    shown, drawn, both = (system.conversation(one) for one in (caption, drawn_record(caption), retold_record(caption)))
    vokens, end = [system.first_voken + number for number in range(3)], system.tokenizer.eos_token_id
    assert shown.tokens.count(system.mark) == 4 and not set(vokens) & set(shown.tokens)
    assert drawn.tokens.count(system.mark) == 0 and drawn.tokens[-4:] == [*vokens, end]
    assert drawn.targets[-5:] == [*vokens, end, IGNORE] and drawn.count == 5  # a space before them counts, too
    assert both.tokens.count(system.mark) == 4 and both.tokens[-4:] == [*vokens, end]
    assert [one.id for one in system.told([caption], Pictures(book.pictures), 0)] == ["a", "a-drawn", "a-retold"]


@torch.no_grad()
def test_losses_are_those_of_embeddings_by_hand(book: Book, language: Path) -> None:
    system = small(book, language, unconditional=0.0)
    caption, pixels = caption_record("a", "p", "a red hat"), torch.randn(3, 2, 3, 32, 32).clamp(-1, 1)
    records = [retold_record(caption), asked_record("b", "q", "What is red?", "a hat"), drawn_record(caption)]
    batch = batch_of(system, records, pixels)
    found = system.drawn(batch)
    assert torch.equal(found.shown, torch.stack([pixels[0, 0], pixels[1, 0]])) and found.rows_K.tolist() == [0, 2]
    assert torch.equal(found.answers_KCHW, torch.stack([pixels[0, 1], pixels[2, 0]]))
    table, vectors = system.language_model.get_input_embeddings(), iter(system.prefix(found.shown))
    head = torch.cat([system.language_model.get_output_embeddings().weight, system.vokens.predicted])
    nats, count, conditions = 0.0, 0, []
    for record in records:
        example = system.conversation(record)
        parts, tokens = [], list(example.tokens)
        while tokens:
            if tokens[0] == system.mark:
                parts.append(next(vectors))
                tokens = tokens[4:]
            elif tokens[0] >= system.first_voken:
                conditions.append(len(torch.cat(parts)) - 1)
                parts.append(system.vokens.read)
                tokens = tokens[3:]
            else:
                parts.append(table(torch.tensor(tokens[:1])))
                tokens = tokens[1:]
        states = system.language_model.base_model(inputs_embeds=torch.cat(parts)[None]).last_hidden_state[0]
        for place, target in enumerate(example.targets):
            if target != IGNORE:
                entry = target if target < system.first_voken else system.vocabulary + target - system.first_voken
                nats -= float((states[place] @ head.T).log_softmax(0)[entry])
                count += 1
        if any(token >= system.first_voken for token in example.tokens):
            conditions[-1] = system.mapper(states[conditions[-1]:conditions[-1] + 3][None])
    torch.manual_seed(3)
    sums = system.losses(batch)
    assert sums["text"][1] == count and float(sums["text"][0]) == pytest.approx(nats, rel=1e-5)
    mapped = torch.cat(conditions)
    torch.manual_seed(3)
    torch.rand(2)  # which are left out
    noise = system.noise_sum(found.answers_KCHW, (mapped[:, :-1], mapped[:, -1], torch.ones(2, 12, dtype=torch.bool)))
    torch.testing.assert_close(sums["noise"][0], noise)
    assert sums["noise"][1] == 2 and "aligned" not in sums
    torch.testing.assert_close(system.conditions(["a red hat"])[0], mapped[1:, :-1], rtol=1e-4, atol=1e-5)
    nothing = system.mapper(torch.zeros(1, 3, system.width))
    torch.testing.assert_close(system.conditions(["", "a book"])[1][:1], nothing[:, -1])


def test_a_request_ends_where_its_vokens_begin(book: Book, language: Path) -> None:
    system = small(book, language)
    drawn = system.conversation(drawn_record(caption_record("a", "p", "a book")))
    assert system.drawing("a book")[:-1] == drawn.tokens[:drawn.tokens.index(system.first_voken)]
    prompt = encode_prompt(system.tokenizer, Prompt("", [{"role": "user", "content": "Draw: a book"}]))
    assert system.drawing("a book")[:len(prompt)] == prompt
    assert system.drawing("<|image|>").count(system.mark) == 1  # a text that spells the mark is letters


@torch.no_grad()
def test_an_answer_goes_on_with_a_picture_where_vokens_are_likeliest(book: Book, language: Path) -> None:
    system = small(book, language).eval()
    for weight in system.painter.parameters():
        weight.add_(0.1 * torch.randn_like(weight))
    pictures, questions = torch.randn(2, 1, 3, 32, 32).clamp(-1, 1), ["What is it?", "Draw it."]
    prompts = [system.asked(question) for question in questions]
    plain = system.write(prompts, list(pictures))
    assert system.reply(prompts, list(pictures)) == [(text, None) for text in plain]  # no voken is likely so far
    head = system.language_model.get_output_embeddings().weight
    with system.shown(pictures[:, 0]) as entries:
        rows = system.rows(system.encoded(prompts, [1, 1]), entries)
        before = system.language_model.base_model(input_ids=torch.tensor([rows[1]])).last_hidden_state[0, -1]
        first = int((before @ head.T).argmax())
        behind = system.language_model.base_model(input_ids=torch.tensor([[*rows[1], first]])).last_hidden_state[0, -1]
        # From now on the first voken is the likeliest behind the first word, and no likelier than ever before it.
        system.vokens.predicted[0] = 100 * (behind - (behind @ before) / (before @ before) * before)
        expected = system.mapper(system.behind([[*rows[1], first]]))
        seen = system.language_model.base_model(input_ids=torch.tensor([[*rows[1], first, *range(
            system.vocabulary, system.vocabulary + 3)]])).last_hidden_state[:, -4:-1]
    torch.testing.assert_close(expected, system.mapper(seen), rtol=1e-4, atol=1e-4)
    (_, _), (text, drawn) = system.reply(prompts, list(pictures), seed=5)
    assert text == system.tokenizer.decode([first]).lstrip() and drawn.shape == (3, 32, 32)
    (_, alone), = system.reply(prompts[1:], list(pictures[1:]), seed=5)
    everywhere = torch.ones(1, 12, dtype=torch.bool)
    torch.testing.assert_close(alone, system.painted((expected[:, :-1], expected[:, -1], everywhere), 1, 5)[0],
                               rtol=1e-3, atol=1e-3)


def painter_of(book: Book, folder: Path, size: int) -> Path:
    """The folder of a diffusion with fresh weights."""
    tokenizer = load_tokenizer(book.tokenizer / "model")
    torch.manual_seed(0)
    options = DiffusionOptions(system="diffusion", width=16, layers=1, heads=2, patch=8, text_length=12)
    save_system(Diffusion(options, tokenizer, size, {}), folder / "model")
    return folder


class KnownPainter(nn.Module):
    """Paints a plain picture of the colour that the first three numbers of the whole condition say."""

    def __init__(self, kept_S: Tensor) -> None:
        super().__init__()
        self.kept_S = kept_S

    def forward(self, noisy_BCHW: Tensor, level_B: Tensor, words: Tensor, whole_BD: Tensor, seen: Tensor) -> Tensor:
        kept_B111 = self.kept_S[(level_B * len(self.kept_S)).round().long()][:, None, None, None]
        clean_BC11 = whole_BD[:, :3, None, None].tanh()
        return (noisy_BCHW - kept_B111.sqrt() * clean_BC11) / (1 - kept_B111).clamp(min=0.2).sqrt()


def learned(system: System, batch: Batch, steps: int) -> None:
    train_only(system.train(), "vokens, mapper")
    descend(system, batch, steps)


def test_vokens_tell_a_painter_what_to_paint_through_a_frozen_language_model(book: Book, language: Path) -> None:
    system = small(book, language, size=16, trials=8, draw_steps=8)
    system.painter = KnownPainter(system.kept_S)
    records = [drawn_record(caption_record(name, name, name)) for name in COLOURS] * 4
    pixels = PLAIN.expand(4, 3, 16, 16).contiguous()
    frozen = weights_hash(system.language_model)
    torch.manual_seed(0)
    learned(system, batch_of(system, records, pixels.repeat(4, 1, 1, 1)[:, None]), 100)
    assert weights_hash(system.language_model) == frozen
    scores = system.score(pixels, COLOURS)
    assert scores.argmax(1).tolist() == scores.argmax(0).tolist() == [0, 1, 2, 3]
    assert scores.roll(1, 0).diagonal().max() < scores.diagonal().min()  # shown another one's picture
    means = system.draw(COLOURS).mean((2, 3))
    assert torch.cdist(means, PLAIN[:, :, 0, 0]).argmin(1).tolist() == [0, 1, 2, 3]


def test_in_the_first_step_what_is_mapped_is_held_to_what_the_painter_sees_of_the_caption(
        book: Book, language: Path, tmp_path: Path) -> None:
    system = small(book, language, painter_of(book, tmp_path / "painter", 16), size=16)
    captions = [caption_record("a", "p", "red"), caption_record("b", "q", "a yellow one")]
    told = system.told(captions, Pictures(book.pictures), 0)
    assert [one.id for one in told] == ["a", "a-drawn", "b", "b-drawn"]  # nothing is retold before the second step
    with torch.no_grad():
        words, whole, seen = system.teacher[0].conditions(["red", "a yellow one", ""])
    target = system.seen_of(["red", "a yellow one", ""])
    for number, length in enumerate(seen.sum(1).tolist()):
        torch.testing.assert_close(target[number, :length], words[number, :length])
        torch.testing.assert_close(target[number, length:12], words[number, length - 1].expand(12 - length, -1))
    torch.testing.assert_close(target[:, -1], whole)
    mapped = torch.randn(2, 13, 16)
    found, count = system.aligned(mapped, ["b-drawn", "someone's"], torch.tensor([False, False]))["aligned"]
    torch.testing.assert_close((found, count), (((mapped[0] - target[1]) ** 2).mean(), 1))
    left_out, _ = system.aligned(mapped, ["b-drawn", "a-drawn"], torch.tensor([True, False]))["aligned"]
    torch.testing.assert_close(left_out, ((mapped[0] - target[2]) ** 2).mean() + ((mapped[1] - target[0]) ** 2).mean())
    assert system.aligned(mapped, ["someone's", "a"], torch.tensor([False, False])) == {}
    batch = batch_of(system, told, torch.randn(4, 1, 3, 16, 16))
    assert system.losses(batch)["aligned"][1] == 2


def test_a_language_model_without_an_adapter_is_taken_beside_a_fresh_one(language: Path) -> None:
    own, plain = load_causal(language), load_causal(language)
    with torch.no_grad():
        for weight in own.parameters():
            weight.add_(1.0)
    add_lora(own, 2, 4.0)
    own.load_state_dict(beside_adapter(own, plain.state_dict()))
    tokens = torch.tensor([[4, 5, 6]])
    torch.testing.assert_close(own(input_ids=tokens).logits, plain(input_ids=tokens).logits)
    assert beside_adapter(own, own.state_dict()).keys() == own.state_dict().keys()
    assert beside_adapter(plain, plain.state_dict()).keys() == plain.state_dict().keys()


def test_another_painter_than_the_options_say_is_refused(book: Book, language: Path, tmp_path: Path,
                                                         tokenizer_step: Path) -> None:
    with pytest.raises(UserError, match="vq_vae in .* paints nothing"):
        small(book, language, tokenizer_step)
    painter = painter_of(book, tmp_path / "painter", 16)
    with pytest.raises(UserError, match="another one than the options say") as refused:
        small(book, language, painter, size=16, painter_layers=2)
    assert "painter_layers: 1" in refused.value.cure
    with pytest.raises(UserError, match="paints pictures of 16 pixels, these have 32"):
        small(book, language, painter)


def test_the_recipe_is_two_steps() -> None:
    steps = {step.name: step for step in load_recipe("minigpt5").steps}
    first, second = steps["minigpt5"], steps["conversing"]
    assert first.needs["painter"] == "diffusion" and "painter" not in second.needs
    assert "language_model" not in first.options.train and "language_model.lora" in second.options.train
