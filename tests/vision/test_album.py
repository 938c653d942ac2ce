"""Pictures as words of a language model for good: the stages of text read them, and no stage has a line about them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from preceptor.data.jsonl import read_jsonl, write_jsonl
from preceptor.data.pictures.captions import asked_record
from preceptor.data.pictures.store import Pictures
from preceptor.data.records import Comparison, Conversation, Prompt, Response
from preceptor.feedback.rewards import open_reward
from preceptor.generate.decoder import Request, Sampling
from preceptor.generate.local import LocalDecoder
from preceptor.models.causal import load_causal, model_folder, save_model
from preceptor.models.rewards import KnownAnswers
from preceptor.models.scalar import load_scalar, scalar_from_causal
from preceptor.models.vision.album import album_vectors
from preceptor.run.errors import UserError
from preceptor.tokenizer.chat import encode_conversation, encode_prompt, load_tokenizer
from preceptor.vision.keep import load_system, save_system
from preceptor.vision.splice import Spliced
from tests.vision.conftest import Book, run_stage
from tests.vision.rows import TINY
from tests.vision.test_splice import ROOM, language_model, two_pictures

KINDS = ("colour", "count")


@pytest.fixture(scope="module")
def sharp(book: Book, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A minigpt_v2 in whose words pictures differ much, with an adapter that changes what it writes."""
    folder = tmp_path_factory.mktemp("sharp")
    needs = {"pictures": book.pictures, "language_model": language_model(book, folder / "language")}
    step = run_stage("vision", folder / "row", needs, system="minigpt_v2", **TINY | ROOM | {"steps": 1, "lora_rank": 2})
    system, draw = load_system(step), torch.Generator().manual_seed(1)
    with torch.no_grad():  # fresh weights are near zero, where all pictures look alike
        for name, weight in system.named_parameters():
            if name.startswith(("image", "connector")) or "lora" in name:
                weight.add_(0.5 * torch.randn(weight.shape, generator=draw))
    save_system(system, step / "model")
    return step


@pytest.fixture(scope="module")
def album(book: Book, sharp: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    needs = {"model": sharp, "pictures": book.pictures}
    return run_stage("album", tmp_path_factory.mktemp("album") / "album", needs, categories=KINDS)


def by_decoder(folder: Path, prompts: Sequence[Prompt]) -> list[str]:
    decoder = LocalDecoder(load_causal(model_folder(folder)), load_tokenizer(model_folder(folder)))
    sampling = Sampling(temperature=0, max_tokens=ROOM["answer_tokens"])
    return [one.response.text for one in decoder.answers([Request(prompt, sampling, 0) for prompt in prompts])]


def test_it_writes_what_the_system_writes_and_finds_it_as_likely(book: Book, sharp: Path, album: Path) -> None:
    system, pictures = load_system(sharp), Pictures(book.pictures)
    assert isinstance(system, Spliced)
    records = [one for one in read_jsonl(book.pictures / "conversations.test.jsonl", Conversation)
               if one.category in KINDS]
    prompts = read_jsonl(album / "prompts.test.jsonl", Prompt)
    assert [prompt.id for prompt in prompts] == [record.id for record in records]
    assert "[vqa]" in str(prompts[0].messages)  # in the words of the row
    images = pictures.take([pictures.number[record.messages[0]["content"][0]["image_url"]["url"]]
                            for record in records])
    questions = [record.messages[0]["content"][1]["text"] for record in records]
    said = by_decoder(album, prompts)
    assert said == system.answer(images, questions) and len(set(said)) > 1
    model, tokenizer = load_causal(album / "model"), load_tokenizer(album / "model")
    example = encode_conversation(tokenizer, read_jsonl(album / "demonstrations.test.jsonl", Conversation)[0])
    with torch.no_grad():
        log_probs = model(input_ids=torch.tensor([example.tokens])).logits.log_softmax(2)[0]
    ours = sum(float(log_probs[place, target]) for place, target in enumerate(example.targets) if target >= 0)
    prompt = system.asked(questions[0], records[0].category)
    theirs = system.log_likelihoods(images[:1], [prompt], [records[0].messages[1]["content"]])
    assert ours == pytest.approx(float(theirs), abs=1e-4)


def test_it_goes_with_every_model_that_comes_of_it(album: Path, tmp_path: Path) -> None:
    model, tokenizer = load_causal(album / "model"), load_tokenizer(album / "model")
    save_model(model, tokenizer, tmp_path / "again")
    again = load_causal(tmp_path / "again")
    assert torch.equal(album_vectors(again), album_vectors(model)) and not any("album" in n for n in model.state_dict())
    assert load_tokenizer(tmp_path / "again").album == tokenizer.album
    scalar = scalar_from_causal(album / "model")
    first, second = ([tokenizer.album.first + place * tokenizer.album.each + n for n in range(tokenizer.album.each)]
                     for place in (0, 1))
    with torch.no_grad():
        states = [scalar.base_model(input_ids=torch.tensor([row])).last_hidden_state[0, -1] for row in (first, second)]
    assert (states[0] - states[1]).abs().max() > 1e-3
    save_model(scalar, tokenizer, tmp_path / "scalar")
    assert torch.equal(album_vectors(load_scalar(tmp_path / "scalar")), album_vectors(scalar))


def test_each_mark_becomes_its_own_picture(book: Book, album: Path) -> None:
    tokenizer, names = load_tokenizer(album / "model"), Pictures(book.pictures).names
    places, each = tokenizer.album, tokenizer.album.each
    chosen = [name for name in names if name in places.places][3:5]
    tokens = encode_conversation(tokenizer, two_pictures(chosen)).tokens
    assert [token for token in tokens if token >= places.first] == [*places.entries(chosen[0]),
                                                                   *places.entries(chosen[1])]
    turned = Prompt("t", two_pictures(chosen[::-1]).messages[:1])
    assert [token for token in encode_prompt(tokenizer, turned) if token >= places.first][:each] == list(
        places.entries(chosen[1]))
    with pytest.raises(UserError, match="no picture 'else'"):
        encode_prompt(tokenizer, Prompt("p", two_pictures(["else", "else"]).messages[:1]))


def test_a_system_without_a_language_model_has_no_album(book: Book, tmp_path: Path) -> None:
    needs = {"pictures": book.pictures, "tokenizer": book.tokenizer}
    clip = run_stage("vision", tmp_path / "clip", needs, system="clip", vector=8, **TINY | {"steps": 1})
    with pytest.raises(UserError, match="no language model"):
        run_stage("album", tmp_path / "album", {"model": clip, "pictures": book.pictures})


def test_known_answers_are_right_word_by_word(tmp_path: Path) -> None:
    said = [asked_record(f"q{n}", "a", "What?", answer) for n, answer in enumerate(("red", "a hat"))]
    write_jsonl(tmp_path / "demonstrations.jsonl", said)
    reward = open_reward(run_stage("known_answers", tmp_path / "known", {"demonstrations": tmp_path}))
    assert isinstance(reward, KnownAnswers)
    prompts = [Prompt(one.id, one.messages[:1]) for one in said]
    answers = [Response(text, finish="eos") for text in (" red\n", "hat")]
    assert reward.score(prompts, answers) == [1, 0]
    with pytest.raises(UserError, match="'other'"):
        reward.score([Prompt("other", said[0].messages[:1])], answers[:1])
    write_jsonl(tmp_path / "demonstrations.more.jsonl", [asked_record("q0", "a", "What?", "blue")])
    with pytest.raises(UserError, match="answer differently"):
        run_stage("known_answers", tmp_path / "twice", {"demonstrations": tmp_path})


def test_the_stages_of_text_take_prompts_with_pictures(album: Path, tmp_path: Path) -> None:
    known = run_stage("known_answers", tmp_path / "known", {"demonstrations": album})
    compared = run_stage(
        "comparisons", tmp_path / "compared", {"model": album, "prompts": album / "prompts.train.jsonl",
                                               "heldout": album / "prompts.valid.jsonl", "judge": known},
        labelers="judge", k_min=3, k_max=3, prompts=8, heldout_prompts=3, max_tokens=3, temperature=1.0)
    rows = read_jsonl(compared / "comparisons.train.jsonl", Comparison)
    assert len(rows) == 8 and rows[0].kind == "program"
    better = [Comparison(f"{one.id}/{n}", one.prompt, one.responses[:2], [[0], [1]], "made", "program")
              for n, one in enumerate(rows)]  # a fresh model is never right, so that all of its answers are tied
    for split in ("train", "valid"):
        write_jsonl(tmp_path / "ranked" / f"comparisons.{split}.jsonl", better)
    reward = run_stage("reward", tmp_path / "reward", {"model": album, "comparisons": tmp_path / "ranked"}, rows=4)
    small: dict[str, Any] = {"iterations": 2, "episodes": 4, "minibatches": 2, "max_tokens": 3}
    shown = {"demonstrations": album / "demonstrations.train.jsonl", "validation": album / "demonstrations.valid.jsonl"}
    fine_tuned = run_stage("sft", tmp_path / "sft", {"model": album, **shown}, epochs=1)
    needs = {"policy": fine_tuned, "reward": reward, "prompts": album / "prompts.train.jsonl"}
    for name, options in (("ppo", {}), ("grpo", {"answers_per_prompt": 2})):
        learned = run_stage("rlhf", tmp_path / name, needs, algorithm=name, **small | options)
        before, after = load_causal(fine_tuned / "model"), load_causal(learned / "model")
        assert torch.equal(album_vectors(before), album_vectors(after))
        assert any(not torch.equal(one, after.state_dict()[key]) for key, one in before.state_dict().items())
        assert len(by_decoder(learned, read_jsonl(album / "prompts.valid.jsonl", Prompt))) > 0
