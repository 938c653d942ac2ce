"""Pictures among the words of a language model: what is spliced equals what is embedded by hand, wherever it is read.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from preceptor.data.batches import IGNORE, Batch, Example, collate
from preceptor.data.jsonl import read_jsonl
from preceptor.data.pictures.captions import asked_record
from preceptor.data.pictures.store import Pictures
from preceptor.data.records import Conversation, Prompt
from preceptor.generate.decoder import Sampling
from preceptor.models.causal import build_llama, load_causal, save_model
from preceptor.models.soft_prompt import add_soft_prompt
from preceptor.models.trainable import train_only, weights_hash
from preceptor.models.vision.splice import numbered, spread, words_for
from preceptor.run.errors import UserError
from preceptor.tokenizer.chat import encode_answer, encode_prompt, load_tokenizer
from preceptor.vision.keep import load_system, system_class
from preceptor.vision.splice import Spliced
from tests.vision.conftest import Book, run_stage
from tests.vision.rows import TINY, check_row

ROOM = {"text_length": 96, "answer_tokens": 6}
QUERIES = {"queries": 4, "query_width": 16, "query_layers": 2}
ROWS: list[tuple[str, dict[str, Any]]] = [
    ("frozen", {}), ("blip2", QUERIES), ("minigpt4", QUERIES), ("minigpt_v2", {"lora_rank": 2}),
    ("qwen_vl", {"vectors": 4})]


def language_model(book: Book, folder: Path, width: int = 16, seed: int = 0) -> Path:
    """The folder of a small language model with weights that make pictures matter."""
    torch.manual_seed(seed)
    tokenizer = load_tokenizer(book.tokenizer / "model")
    model = build_llama(vocabulary=len(tokenizer), width=width, layers=2, heads=2, feed_forward=32, context=128,
                        end=tokenizer.eos_token_id, pad=tokenizer.pad_token_id)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.2 * torch.randn_like(weight))
    save_model(model, tokenizer, folder)
    return folder


@pytest.fixture(scope="module")
def language(book: Book, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return language_model(book, tmp_path_factory.mktemp("language") / "model")


@pytest.fixture(scope="module")
def tower(book: Book, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLIP that hardly learned: its tower is taken over."""
    needs = {"pictures": book.pictures, "tokenizer": book.tokenizer}
    return run_stage("vision", tmp_path_factory.mktemp("tower") / "clip", needs, system="clip", vector=8,
                     **TINY | {"steps": 1, "layers": 2})


@pytest.fixture(scope="module")
def spliced(book: Book, language: Path, tower: Path, tmp_path_factory: pytest.TempPathFactory) -> Spliced:
    needs = {"pictures": book.pictures, "language_model": language, "start": tower}
    folder = run_stage("vision", tmp_path_factory.mktemp("spliced") / "row", needs, system="blip2",
                       **TINY | ROOM | QUERIES | {"steps": 1})
    system = load_system(folder)
    with torch.no_grad():  # fresh weights are near zero, where all pictures look alike
        for weight in (*system.image.parameters(), *system.fusion.parameters()):
            weight.add_(0.5 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)))
        system.connector.weight.mul_(20)
    return system


def by_hand(system: Spliced, tokens: Sequence[int], pictures: Tensor) -> Tensor:
    """Logits (1, T, V) of a prompt's tokens with each mark replaced by the embeddings of its picture."""
    table, vectors = system.language_model.get_input_embeddings(), iter(system.prefix(pictures))
    parts = [next(vectors) if token == system.mark else table(torch.tensor([token])) for token in tokens]
    return system.language_model(inputs_embeds=torch.cat(parts)[None]).logits


@pytest.mark.parametrize("name, options", ROWS)
def test_it_is_a_row(name: str, options: dict[str, Any], book: Book, language: Path, tower: Path,
                     tmp_path: Path) -> None:
    start = {} if name == "frozen" else {"start": tower}
    kind = load_options(name)
    system = check_row(name, book, tmp_path, {"language_model": language} | start, train=kind.train, **ROOM | options)
    pictures = Pictures(book.pictures).take([0, 1])
    assert len(system.caption(pictures)) == 2 and len(system.answer(pictures, ["Is there a hat?"] * 2)) == 2
    theirs, ours = load_causal(language).state_dict(), system.language_model.state_dict()
    for weight, value in theirs.items():
        assert torch.equal(value, ours[weight] if weight in ours else ours[base_of(weight)]), weight


def base_of(weight: str) -> str:
    """The name of a frozen weight that has an adapter beside it."""
    owner, _, leaf = weight.rpartition(".")
    return f"{owner}.base_layer.{leaf}"


def load_options(name: str) -> Any:
    return system_class(name).options_class(system=name)


def test_a_mark_becomes_as_many_places_and_the_last_predicts_what_it_did() -> None:
    found = spread(Example("a", [5, 9, 7, 9], [IGNORE, 7, IGNORE, 3]), mark=9, count=3)
    assert found.tokens == [5, 9, 9, 9, 7, 9, 9, 9]
    assert found.targets == [IGNORE, IGNORE, IGNORE, 7, IGNORE, IGNORE, IGNORE, 3]
    assert numbered(torch.tensor([[5, 9, 9], [9, 1, 9]]), 9, 20).tolist() == [[5, 20, 21], [22, 1, 23]]


def test_vectors_are_read_as_words_and_the_model_is_as_before_behind_the_block() -> None:
    torch.manual_seed(0)
    model = build_llama(vocabulary=11, width=8, layers=1, heads=2, feed_forward=16, context=32, end=0, pad=1)
    vectors = torch.randn(3, 8, requires_grad=True)
    tokens = torch.tensor([[4, 11, 12, 5], [13, 6, 7, 8]])
    with words_for(model, vectors):
        found = model(input_ids=tokens).logits
        plain = model(input_ids=torch.tensor([[4, 5]])).logits
    table = model.get_input_embeddings()
    embedded = table(tokens.clamp(max=10)).clone()
    embedded[0, 1:3], embedded[1, 0] = vectors[:2], vectors[2]
    torch.testing.assert_close(found, model(inputs_embeds=embedded).logits)
    found.sum().backward()
    assert (vectors.grad.abs().sum(1) > 0).all()
    torch.testing.assert_close(model(input_ids=torch.tensor([[4, 5]])).logits, plain)
    with pytest.raises(IndexError):
        model(input_ids=tokens)
    with words_for(model, vectors[:0]):  # no picture at all
        torch.testing.assert_close(model(input_ids=torch.tensor([[4, 5]])).logits, plain)


def two_pictures(names: Sequence[str]) -> Conversation:
    parts = [{"type": "image_url", "image_url": {"url": names[0]}}, {"type": "text", "text": "and"},
             {"type": "image_url", "image_url": {"url": names[1]}}, {"type": "text", "text": "Is it the same?"}]
    return Conversation("two", [{"role": "user", "content": parts}, {"role": "assistant", "content": "no"}])


def test_the_loss_is_that_of_embeddings_by_hand_with_one_picture_or_several(spliced: Spliced, book: Book) -> None:
    pictures = Pictures(book.pictures)
    records = [two_pictures(pictures.names[1:3]), asked_record("one", pictures.names[0], "What is red?", "a hat")]
    batch = collate([[spliced.conversation(record)] for record in records], spliced.tokenizer.pad_token_id)
    pixels = torch.zeros(2, 2, 3, 32, 32)
    pixels[0], pixels[1, 0] = pictures.take([1, 2]), pictures.take([0])[0]
    total, count = spliced.losses(Batch(batch.tensors | {"pixels": pixels}, batch.counts, batch.documents))["text"]
    nats, answers = 0.0, 0
    for record, shown in zip(records, (pixels[0], pixels[1, :1])):
        prompt = Prompt("", record.messages[:1])
        before = encode_prompt(spliced.tokenizer, prompt)
        answer = encode_answer(spliced.tokenizer, prompt, record.messages[1]["content"])
        with torch.no_grad():
            logits = by_hand(spliced, before + answer, shown)[0, -len(answer) - 1:-1]
        nats += float(nn.functional.cross_entropy(logits, torch.tensor(answer), reduction="sum"))
        answers += len(answer)
    assert count == answers == batch.count and float(total.detach()) == pytest.approx(nats, rel=1e-5)


def test_what_is_scored_is_the_likelihood_by_hand_however_many_texts(spliced: Spliced, book: Book) -> None:
    pictures, texts = Pictures(book.pictures).take([0, 3]), ["a red hat", "两把蓝色的椅子", *map(str, range(20))]
    scores = spliced.score(pictures, texts)
    assert scores.shape == (2, 22) and (scores[0] - scores[1]).abs().max() > 1e-3
    for column in (0, 1, 21):
        wanted = "请描述这张图片。" if column == 1 else "Describe the picture."
        prompt = Prompt("", asked_record("", "", wanted, "").messages[:1])
        answer = encode_answer(spliced.tokenizer, prompt, texts[column])
        for row in (0, 1):
            with torch.no_grad():
                logits = by_hand(spliced, encode_prompt(spliced.tokenizer, prompt) + answer, pictures[row:row + 1])
            expected = logits[0, -len(answer) - 1:-1].log_softmax(1).gather(1, torch.tensor(answer)[:, None]).sum()
            assert float(scores[row, column]) == pytest.approx(float(expected), abs=1e-3)


def test_a_language_model_that_cannot_share_a_prompt_reads_it_for_each_text(book: Book, tmp_path: Path) -> None:
    from transformers import MistralConfig, MistralForCausalLM
    torch.manual_seed(0)
    tokenizer = load_tokenizer(book.tokenizer / "model")
    mistral = MistralForCausalLM(MistralConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=24, num_hidden_layers=2, sliding_window=4,
        num_attention_heads=2, num_key_value_heads=2, max_position_embeddings=128, pad_token_id=1, eos_token_id=0))
    save_model(mistral, tokenizer, tmp_path / "language")
    needs = {"pictures": book.pictures, "language_model": tmp_path / "language"}
    system = load_system(run_stage("vision", tmp_path / "row", needs, system="qwen_vl", vectors=4,
                                   **TINY | ROOM | {"steps": 0}))
    pictures, texts = Pictures(book.pictures).take([0, 1]), ["a red hat", "a book"]
    scores = system.score(pictures, texts)
    prompt = system.asked("Describe the picture.", "caption")
    answer = encode_answer(tokenizer, prompt, texts[1])
    with torch.no_grad():
        logits = by_hand(system, encode_prompt(system.tokenizer, prompt) + answer, pictures[:1])
    expected = logits[0, -len(answer) - 1:-1].log_softmax(1).gather(1, torch.tensor(answer)[:, None]).sum()
    assert float(scores[0, 1]) == pytest.approx(float(expected), abs=1e-3)


@torch.no_grad()
def greedy(system: Spliced, prompt: Prompt, pictures: Tensor, most: int) -> list[int]:
    """The likeliest token after the other, the whole text read anew for each."""
    before, written = encode_prompt(system.tokenizer, prompt), []
    while len(written) < most and system.tokenizer.eos_token_id not in written:
        written.append(int(by_hand(system, before + written, pictures)[0, -1].argmax()))
    return written


def test_the_engine_writes_what_the_pictures_say_and_keeps_equal_questions_apart(spliced: Spliced, book: Book) -> None:
    pictures, question = Pictures(book.pictures).take([0, 1, 2, 5]), "What colour is the hat?"
    said = spliced.answer(pictures, [question] * 4)
    expected = [spliced.tokenizer.decode(greedy(spliced, spliced.asked(question), picture[None], 6)).replace(
        spliced.tokenizer.eos_token, "").lstrip() for picture in pictures]
    assert said == expected and len(set(said)) > 1
    both = Prompt("", two_pictures(["a", "b"]).messages[:1])
    written = spliced.write([both, spliced.asked(question)], [pictures[:2], pictures[:1]])
    assert written[1] == said[0]
    tokens = greedy(spliced, both, pictures[:2], 6)
    assert written[0] == spliced.tokenizer.decode(tokens).replace(spliced.tokenizer.eos_token, "").lstrip()
    words = Prompt("", [{"role": "user", "content": "What colour is a hat?"}])  # a conversation without a picture
    assert spliced.write([words, both], [pictures[:0], pictures[:2]])[1] == written[0]
    drawn = spliced.write([both], [pictures[:2]], Sampling(max_tokens=6, top_k=5), seed=3)
    assert drawn == spliced.write([both], [pictures[:2]], Sampling(max_tokens=6, top_k=5), seed=3)


def test_what_cannot_be_spliced_is_said(spliced: Spliced, book: Book, language: Path, tower: Path,
                                        tmp_path: Path) -> None:
    pictures = Pictures(book.pictures).take([0, 1])
    with pytest.raises(UserError, match="names 1 pictures, and 2 are given"):
        spliced.write([spliced.asked("What?")], [pictures])
    with pytest.raises(UserError, match="repetition_penalty reads the words"):
        spliced.write([spliced.asked("What?")], [pictures[:1]], Sampling(repetition_penalty=1.2))
    with pytest.raises(UserError, match="leaves no room"):
        spliced.answer(pictures[:1], ["why " * 200])
    drawing = Conversation("d", [{"role": "user", "content": "Draw."}, {"role": "assistant", "content": [
        {"type": "image_url", "image_url": {"url": "x"}}]}])
    with pytest.raises(UserError, match="holds a picture"):
        spliced.conversation(drawing)
    needs = {"pictures": book.pictures, "tokenizer": book.tokenizer}
    with pytest.raises(UserError, match="has no language model"):
        run_stage("vision", tmp_path / "none", needs, system="frozen", **TINY | ROOM)
    drawn = run_stage("pictures", tmp_path / "large", {"pictures": book.pictures.parent / "drawn"}, size=48)
    with pytest.raises(UserError, match="reads pictures of 32 pixels, these have 48"):
        run_stage("vision", tmp_path / "size", needs | {"pictures": drawn, "start": tower, "language_model": language},
                  system="qwen_vl", vectors=4, **TINY | ROOM)
    short = load_causal(language)
    short.resize_token_embeddings(200)
    save_model(short, load_tokenizer(language), tmp_path / "short")
    with pytest.raises(UserError, match="has 200 embeddings, its tokenizer entry"):
        run_stage("vision", tmp_path / "few", needs | {"language_model": tmp_path / "short"}, system="frozen",
                  **TINY | ROOM)
    prompted = load_causal(language)
    add_soft_prompt(prompted, "prompt", 2)
    save_model(prompted, load_tokenizer(language), tmp_path / "adapter")
    with pytest.raises(UserError, match="is an adapter of another"):
        run_stage("vision", tmp_path / "soft", needs | {"language_model": tmp_path / "adapter"}, system="frozen",
                  **TINY | ROOM)
    with pytest.raises(UserError, match="do not fit the language model's 128"):
        run_stage("vision", tmp_path / "long", needs | {"language_model": language}, system="frozen",
                  **TINY | ROOM | {"text_length": 200})


def test_minigpt4_takes_the_eyes_of_a_blip2_and_speaks_to_its_own_language_model(book: Book, language: Path,
                                                                                 tower: Path, tmp_path: Path) -> None:
    shape = TINY | ROOM | QUERIES
    blip2 = run_stage("vision", tmp_path / "blip2", {"pictures": book.pictures, "language_model": language,
                                                     "start": tower}, system="blip2", **shape)
    other = language_model(book, tmp_path / "other", width=24, seed=1)
    row = run_stage("vision", tmp_path / "minigpt4", {"pictures": book.pictures, "language_model": other,
                                                      "start": blip2}, system="minigpt4", **shape)
    first, second = load_system(blip2), load_system(row)
    for part in ("image", "fusion"):
        for weight, value in getattr(first, part).state_dict().items():
            assert torch.equal(value, getattr(second, part).state_dict()[weight])
    for weight, value in load_causal(other).state_dict().items():
        assert torch.equal(value, second.language_model.state_dict()[weight])
    again = run_stage("vision", tmp_path / "second", {"pictures": book.pictures, "start": row}, system="minigpt4",
                      **shape | {"steps": 0})  # a second stage: everything from the first, the connector too
    for weight, value in second.state_dict().items():
        assert torch.equal(value, load_system(again).state_dict()[weight])


def test_minigpt_v2_says_what_is_wanted(book: Book, language: Path, tmp_path: Path) -> None:
    needs = {"pictures": book.pictures, "language_model": language}
    system = load_system(run_stage("vision", tmp_path / "row", needs, system="minigpt_v2", lora_rank=2,
                                   **TINY | ROOM | {"steps": 0}))
    for asked, category, tag in (("Describe the picture.", None, "[caption]"), ("Where is the hat?", "box", "[refer]"),
                                 ("What is red?", "thing", "[vqa]")):
        example = system.conversation(asked_record("r", "p", asked, "a", category=category))
        assert f"{tag} {asked}" in system.tokenizer.decode(example.tokens)
        assert system.asked(asked, category).messages[0]["content"][1]["text"] == f"{tag} {asked}"
        assert example.tokens.count(system.mark) == system.vectors == 4


def learn(system: Spliced, batch: Batch, pattern: str, steps: int) -> None:
    train_only(system, pattern)
    optimiser = torch.optim.Adam([one for one in system.parameters() if one.requires_grad], lr=0.01)
    for _ in range(steps):
        total, count = system.losses(batch)["text"]
        optimiser.zero_grad()
        (total / count).backward()
        optimiser.step()


@pytest.mark.parametrize("name, train, options", [("frozen", "image, connector", {}), ("qwen_vl", "*", {"vectors": 4}),
                                                  ("minigpt_v2", "connector, language_model.lora", {"lora_rank": 4})])
def test_it_learns_to_name_four_colours_to_a_language_model_that_knows_their_names(
        name: str, train: str, options: dict[str, Any], book: Book, tmp_path: Path) -> None:
    texts = ["red", "green", "blue", "yellow"]
    needs, kind = {"language_model": language_model(book, tmp_path / "language")}, system_class(name)
    tokenizer = load_tokenizer(book.tokenizer / "model")
    tokenizer.add_tokens(["<|image|>"], special_tokens=True)
    torch.manual_seed(0)
    shape = {key: TINY[key] for key in ("width", "layers", "heads", "patch")}
    system = kind(kind.options_class(system=name, **shape | ROOM | options), tokenizer, 16, needs)
    told = collate([[system.conversation(Conversation(text, [{"role": "user", "content": f"{text}, {text}?"},
                                                             {"role": "assistant", "content": text}]))]
                    for text in texts], tokenizer.pad_token_id)
    shown = collate([[system.conversation(asked_record(text, text, "?", text))] for text in texts],
                    tokenizer.pad_token_id)
    colours = torch.tensor([[1., -1, -1], [-1, 1, -1], [-1, -1, 1], [1, 1, -1]])
    pixels = colours[:, :, None, None].expand(4, 3, 16, 16).contiguous()
    learn(system, Batch(told.tensors | {"pixels": pixels[:, None]}, told.counts, told.documents), "language_model", 60)
    known = weights_hash(system.language_model)  # it says the word that it is told, and knows nothing of pictures
    assert system.answer(pixels, ["?"] * 4) != texts
    learn(system, Batch(shown.tensors | {"pixels": pixels[:, None]}, shown.counts, shown.documents),
          train, 80)
    assert system.answer(pixels, ["?"] * 4) == texts
    assert name != "frozen" or weights_hash(system.language_model) == known
    assert system.log_likelihoods(pixels, [system.asked("?")] * 4, texts).argmax(1).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("name", ["frozen", "blip2", "minigpt4", "minigpt_v2", "qwen_vl"])
def test_the_recipes_resolve_and_say_what_learns(name: str) -> None:
    from preceptor.recipe.load import load_recipe
    steps = {step.name: step for step in load_recipe(name).steps}
    rows = [step for step in steps.values() if step.stage == "vision" and step.options.system == name]
    assert rows and all("language_model" in step.needs or "start" in step.needs for step in rows)
    assert rows[0].options.train == load_options(name).train


def test_only_the_kinds_that_are_named_are_learned_from(book: Book, language: Path, tmp_path: Path,
                                                        capsys: pytest.CaptureFixture[str]) -> None:
    needs = {"pictures": book.pictures, "language_model": language}
    run_stage("vision", tmp_path / "row", needs, system="frozen", categories=("colour",), **TINY | ROOM | {"steps": 0})
    kinds = [record.category for record in read_jsonl(book.pictures / "conversations.train.jsonl", Conversation)]
    said = capsys.readouterr().err
    assert f"{len(kinds) - kinds.count('colour'):,} conversations of kinds that a frozen does not learn from" in said
    assert f"pairs {kinds.count('colour')} " in said
