"""The evaluator: an oracle scores all, a blind one nothing; conventions of templates; the stage writes what it saw."""

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import normalize

from preceptor.data.jsonl import read_jsonl, read_rows
from preceptor.data.pictures.captions import caption_record, is_caption
from preceptor.data.pictures.store import Pictures, write_pictures
from preceptor.data.records import Conversation
from preceptor.vision.examine import (
    class_scores,
    classification,
    elsewhere,
    mirrored,
    nearest_texts,
    reconstruction,
    retrieval,
    scores_of,
    shown_by,
)
from preceptor.vision.gallery import EACH, Gallery
from tests.vision.conftest import Book, run_stage
from tests.vision.rows import TINY
from tests.vision.test_towers import tiny

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "white": (255, 255, 255)}


class Knowing:
    """Scores a text by the mean colour of the whole picture, or of its left half where the text says so."""

    def score(self, images: Tensor, texts: Sequence[str]) -> Tensor:
        wanted = torch.tensor([COLOURS[text.split()[-1]] for text in texts]) / 127.5 - 1
        return -((images[:, None] - wanted[None, :, :, None, None]) ** 2).mean((2, 3, 4))


@pytest.fixture(scope="module")
def painted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Pictures, list[Conversation]]:
    """Twelve plain pictures, three of each colour; two captions of each colour in turn."""
    folder = tmp_path_factory.mktemp("painted")
    names = [(f"{colour}{n}", colour) for n in range(3) for colour in COLOURS]
    write_pictures(folder, 8, ((name, "test", np.full((8, 8, 3), COLOURS[colour], np.uint8))
                               for name, colour in names))
    records = [caption_record(f"r{n}", name, colour if n < 8 else f"all {colour}", concept=colour)
               for n, (name, colour) in enumerate(names)]
    return Pictures(folder), records


def test_an_oracle_finds_all_and_blind_little(painted: tuple[Pictures, list[Conversation]]) -> None:
    pictures, records = painted
    shown = shown_by(pictures, records)
    assert shown.texts == [*COLOURS, *(f"all {colour}" for colour in COLOURS)]
    assert shown.positives_IT.sum(1).tolist() == [2] * 12  # both texts of a concept are true of all its pictures
    scores = scores_of(Knowing(), pictures.take(shown.numbers), shown.texts)
    found = retrieval(scores, shown, seed=0)
    assert found["seen"]["score_auc"]["mean"] == 1 and found["seen"]["text_r1"]["mean"] == 1
    assert found["seen"]["picture_r1"]["mean"] == 1 and found["seen"]["text_r1"]["n"] == 4  # concepts, not pictures
    assert found["blind"]["score_auc"]["mean"] < 0.9
    classes = classification(Knowing(), pictures, records, ["{}", "a drawing of {}"], seed=0)
    assert classes["classes"] == 4 and classes["chance"] == 0.25
    assert classes["seen"]["top1"]["mean"] == classes["seen"]["per_class"] == 1
    assert classes["blind"]["top1"]["mean"] < 0.7


def test_without_a_concept_a_text_is_true_of_the_pictures_that_it_was_written_for(
        painted: tuple[Pictures, list[Conversation]]) -> None:
    pictures, records = painted
    bare = [caption_record(record.id, pictures.names[n], record.messages[-1]["content"])
            for n, record in enumerate(records)]
    shown = shown_by(pictures, bare)
    assert shown.positives_IT.sum(1).tolist() == [1] * 12 and shown.positives_IT.sum(0).tolist() == [2] * 4 + [1] * 4
    assert classification(Knowing(), pictures, bare, ["{}"], seed=0) == {}


def test_blind_pictures_are_all_others() -> None:
    for count in (2, 3, 17):
        order = elsewhere(count, seed=3)
        assert sorted(order) == list(range(count)) and (order != np.arange(count)).all()


def test_templates_of_two_towers_are_averaged_as_unit_vectors(book: Book) -> None:
    system = tiny("clip", book, vector=8)
    images, templates = torch.rand(3, 3, 16, 16) * 2 - 1, ["a {}", "{} here", "{}"]
    scores = class_scores(system, images, ["hat", "clock"], templates)
    with torch.no_grad():
        for column, name in enumerate(["hat", "clock"]):
            one = [normalize(system.text(system.text_batch([t.format(name)])["tokens"]).text_embeds[0], dim=0)
                   for t in templates]
            weight = normalize(sum(one) / 3, dim=0)
            expected = 100 * normalize(system.image(images).image_embeds, dim=1) @ weight
            np.testing.assert_allclose(scores[:, column], expected, rtol=0, atol=1e-3)


class Sided:
    """Knows what is left: scores by the brightness of the left half, upwards for "left" texts."""

    def score(self, images: Tensor, texts: Sequence[str]) -> Tensor:
        bright = images[..., :4].mean((1, 2, 3))
        return torch.stack([bright if text.startswith("white") else -bright for text in texts], 1)


def test_a_mirror_image_turns_the_order_of_words(tmp_path: Path) -> None:
    half = np.zeros((8, 8, 3), np.uint8)
    half[:, :4] = 255
    write_pictures(tmp_path, 8, [("a", "test", half), ("b", "test", half[:, ::-1])])
    rows = [{"picture": "a", "texts": ["white left of black", "black left of white"]},
            {"picture": "b", "texts": ["black left of white", "white left of black"]}]
    found = mirrored(Sided(), Pictures(tmp_path), rows, seed=0)
    assert found["pairs"] == 2 and found["seen"]["group"]["mean"] == 1 and found["blind"]["text"]["mean"] == 0


def test_the_picture_book_says_the_same_of_its_mirror_images(book: Book) -> None:
    rows = [row for _, row in read_rows(book.pictures / "order.train.jsonl")]
    assert rows
    for row in rows:
        first, second = row["texts"]
        assert first != second and sorted(first.lower().rstrip(".").split()) == sorted(
            second.lower().rstrip(".").split())


def test_the_stage_measures_every_split_that_is_there(book: Book, tmp_path: Path) -> None:
    options: dict[str, Any] = TINY | {"system": "siglip", "steps": 2}
    needs = {"pictures": book.pictures, "tokenizer": book.tokenizer}
    model = run_stage("vision", tmp_path / "model", needs, **options)
    found = run_stage("see", tmp_path / "see", {"model": model, "pictures": book.pictures}, limit=6)
    scores = json.loads((found / "scores.json").read_text())
    assert scores.keys() == {"valid", "test", "heldout"}
    assert {"low", "high", "mean", "n"} == scores["test"]["en"]["retrieval"]["blind"]["text_r1"].keys()
    assert len(list(read_rows(found / "nearest.test.en.jsonl"))) == 6
    shelves = json.loads((found / "gallery.json").read_text())
    assert {(one["kind"], one["split"]) for one in shelves} == {("nearest", split) for split in scores}
    assert all((found / card["picture"]).is_file() for one in shelves for card in one["typical"] + one["worst"])
    assert len(read_jsonl(book.pictures / "conversations.test.jsonl", Conversation)) > 6


def test_a_true_text_has_its_place_among_all(painted: tuple[Pictures, list[Conversation]]) -> None:
    pictures, records = painted
    shown = shown_by(pictures, records)
    scores = np.zeros((12, 8))
    scores[0, [1, 2, 3]] = 3, 2, 1  # "green", "blue", "white"; the picture is red, and so is the text "all red"
    scores[0, 4] = 1.5
    row = nearest_texts(pictures, shown, scores)[0]
    assert row["place"] == 3 and row["true"] == ["red", "all red"]
    assert [text for text, _ in row["texts"]][:4] == ["green", "blue", "all red", "white"]
    assert nearest_texts(pictures, shown, scores)[1]["place"] == 1  # of equal scores none is above


def test_the_gallery_shows_the_worst_that_are_not_right(painted: tuple[Pictures, list[Conversation]], tmp_path: Path
                                                        ) -> None:
    pictures, _ = painted
    gallery = Gallery(tmp_path, pictures)
    cards = [{"picture": name, "number": place} for place, name in enumerate(pictures.names)]
    gallery.add("captions", "test", "en", cards, [1, 0.5, 1, 0, 0.5, 1, 1, 1, 1, 1, 1, 1], perfect=1)
    gallery.write()
    [shelf] = json.loads((tmp_path / "gallery.json").read_text())
    assert [card["number"] for card in shelf["worst"]] == [3, 1, 4]
    assert [card["number"] for card in shelf["typical"]] == [0, 2, 4, 6, 8, 10] and len(shelf["typical"]) == EACH
    with Image.open(tmp_path / shelf["worst"][0]["picture"]) as picture:
        assert (np.asarray(picture) == 255).all()  # the fourth is white


class Brightening:
    """Codes are the brightness of a plain picture in steps of 51; what comes back is ten of 255 brighter."""

    options = SimpleNamespace(codes=8)

    def encode(self, images: Tensor) -> Tensor:
        return ((images[:, 0, ::8, ::8] + 1) * 127.5 / 51).round().long().flatten(1)

    def decode(self, codes: Tensor) -> Tensor:
        return ((codes[:, :1, None, None] * 51 + 10) / 127.5 - 1).expand(-1, 3, 16, 16)


def test_what_is_kept_of_pictures_and_what_of_others() -> None:
    levels = torch.arange(4.0) * 51
    found = reconstruction(Brightening(), (levels[:, None, None, None] / 127.5 - 1).expand(-1, 3, 16, 16), seed=0)
    assert found["seen"]["psnr"]["mean"] == pytest.approx(-20 * np.log10(10 / 255), abs=1e-4)
    away = (levels + 10 - levels[elsewhere(4, 0)]) / 255
    assert found["blind"]["psnr"]["mean"] == pytest.approx(float(-20 * away.abs().log10().mean()), abs=1e-4)
    assert found["used"] == 0.5 and found["perplexity"] == pytest.approx(4)


def test_a_tokenizer_without_a_score_is_measured_by_what_it_keeps(book: Book, tokenizer_step: Path, tmp_path: Path
                                                                  ) -> None:
    found = run_stage("see", tmp_path / "see", {"model": tokenizer_step, "pictures": book.pictures}, limit=3)
    scores = json.loads((found / "scores.json").read_text())
    assert scores["test"].keys() == {"reconstruction"} and scores["test"]["reconstruction"]["seen"]["ssim"]["n"] == 3
    shelf = json.loads((found / "gallery.json").read_text())[0]
    assert shelf["kind"] == "reconstructions" and all((found / card["painted"]).is_file() for card in shelf["typical"])


def test_what_stands_where_is_learned_from_and_kept_out_of_the_tests(book: Book) -> None:
    def said(split: str) -> list[str]:
        return [record.messages[-1]["content"] for record in
                read_jsonl(book.pictures / f"conversations.{split}.jsonl", Conversation) if is_caption(record)]

    places = [row["texts"] for _, row in read_rows(book.pictures / "order.train.jsonl")]
    assert all(first in said("train") and (second not in said("train") or second in [one for one, _ in places])
               for first, second in places)
    assert not any("to the left of" in text or "to the right of" in text for text in said("test"))
