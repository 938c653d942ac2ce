"""The picture book: what it says of a picture is read back from the pixels alone, in both languages."""

import json
import random
import re
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from preceptor.data.jsonl import read_jsonl, read_rows
from preceptor.data.records import Conversation
from preceptor.run.errors import UserError
from preceptor.run.log import Log
from preceptor.run.step import Step
from preceptor.village.language import load_language
from preceptor.village.options import PictureBookOptions
from preceptor.village.pictures.outlines import OUTLINES
from preceptor.village.pictures.painting import GROUND_PAINT, PAINT, paint
from preceptor.village.pictures.questions import OPPOSITE
from preceptor.village.pictures.scenes import COLOURS, RELATIONS, Scene, Thing
from preceptor.village.pictures.stage import run

SPLITS = ("train", "valid", "test", "heldout")
SMALL = {"train_scenes": 100, "valid_scenes": 10, "test_scenes": 20, "heldout_scenes": 30}
DIRECTIONS = {"en": {"to the left of": "left_of", "to the right of": "right_of", "above": "above", "below": "below"},
              "zh": {"左边": "left_of", "右边": "right_of", "上方": "above", "下方": "below"}}


def make(folder: Path, seed: int = 0, **changes: object) -> Path:
    folder.mkdir()
    log = Log(folder.parent / "log.jsonl", "pictures", 1)
    run(Step("pictures", folder, {}, PictureBookOptions(**(SMALL | changes)), seed, log))
    return folder


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("pictures") / "book")


@dataclass
class Seen:
    """What the pixels show: blobs of one colour, each with its tight box and the outline that it has."""

    things: list[Thing] = field(default_factory=list)

    def counts(self) -> Counter[tuple[str, str]]:
        return Counter(thing.combination for thing in self.things)

    def the(self, combination: tuple[str, str]) -> Thing:
        [thing] = [one for one in self.things if one.combination == combination]
        return thing


def see(path: Path) -> Seen:
    pixels, seen = np.asarray(Image.open(path).convert("RGB")), Seen()
    known = np.zeros(pixels.shape[:2], bool)
    for colour, paint_of in [*PAINT.items(), *((None, ground) for ground in GROUND_PAINT)]:
        mask = (pixels == paint_of).all(-1)
        known |= mask
        if colour is not None:
            labels, _ = ndimage.label(mask, np.ones((3, 3)))
            for number, (rows, columns) in enumerate(ndimage.find_objects(labels), start=1):
                box = (columns.start, rows.start, columns.stop, rows.stop)
                seen.things.append(Thing(colour, kind_of(labels[rows, columns] == number), box))
    assert known.all(), "a pixel has a colour of nothing"
    return seen


@cache
def outline(kind: str, width: int, height: int) -> np.ndarray:
    """Which pixels a thing of this kind and extent covers."""
    scene = Scene(max(width, height), 0, (Thing("red", kind, (0, 0, width, height)),))
    return (np.asarray(paint(scene)) == PAINT["red"]).all(-1)[:height, :width]


def kind_of(blob: np.ndarray) -> str:
    """The one kind whose outline of this size is this blob."""
    height, width = blob.shape
    [kind] = [kind for kind in OUTLINES if (outline(kind, width, height) == blob).all()]
    return kind


@cache
def phrases(code: str) -> dict[str, tuple[str, str]]:
    words, joint = load_language(code).words, {"en": " ", "zh": "的"}[code]
    return {words["colour"][colour].plain + joint + words["item"][kind].plain: (colour, kind)
            for colour in COLOURS for kind in OUTLINES}


def named(text: str, code: str) -> list[tuple[str, str]]:
    """The combinations of a text in its order."""
    known = phrases(code)
    return [known[found] for found in re.findall("|".join(known), text)]


def holds(one: Thing, relation: str, other: Thing) -> bool:
    (left, top, right, bottom), box = one.box, other.box
    return {"left_of": right <= box[0], "right_of": left >= box[2],
            "above": bottom <= box[1], "below": top >= box[3]}[relation]


def relation_in(text: str, code: str) -> str:
    [relation] = [name for words, name in DIRECTIONS[code].items() if words in text]
    return relation


def numbers_in(caption: str, code: str) -> list[int]:
    values = {"en": {"a": 1, "two": 2, "three": 3}, "zh": {"一": 1, "两": 2, "三": 3}}[code]
    pattern = {"en": r"\b(a|two|three)\b", "zh": "[一两三]"}[code]
    return [values[found] for found in re.findall(pattern, caption)]


def check_answer(row: Conversation, seen: Seen) -> None:
    """Whether the answer is what the pixels say."""
    code, kind = row.id.rsplit("-")[-1], row.category
    asked, answer = row.messages[0]["content"][1]["text"], row.messages[1]["content"]
    words, yes = load_language(code).words, answer in ("yes", "是")
    combinations = named(asked, code)
    if kind == "caption":
        assert dict(zip(named(answer, code), numbers_in(answer, code), strict=True)) == seen.counts()
    elif kind == "count":
        assert seen.counts()[combinations[0]] == int(answer)
    elif kind == "presence":
        assert (combinations[0] in seen.counts()) == yes
    elif kind == "box":
        assert list(seen.the(combinations[0]).box) == json.loads(answer)
    elif kind == "relation":
        one, other, relation = *map(seen.the, combinations), relation_in(asked, code)
        assert holds(one, relation, other) == yes and holds(one, OPPOSITE[relation], other) != yes
    else:
        of, asks = {"colour": ("item", "colour"), "thing": ("colour", "item")}[kind]
        [about] = [key for key, word in words[of].items() if re.search(rf"(?<![a-zA-Z]){word.plain}(?![a-z])", asked)
                   and key in (OUTLINES if of == "item" else COLOURS)]
        pairs = [one.combination[::-1] if of == "item" else one.combination for one in seen.things]
        assert [words[asks][value].plain for key, value in pairs if key == about] == [answer]


@pytest.mark.parametrize("split", SPLITS)
def test_all_that_is_said_is_true_of_the_pixels(book: Path, split: str) -> None:
    seen = {}
    for _, row in read_rows(book / f"scenes.{split}.jsonl"):
        picture = seen[row["image"]] = see(book / row["image"])
        true = [Thing(one["colour"], one["kind"], tuple(one["box"])) for one in row["things"]]
        assert sorted(map(repr, picture.things)) == sorted(map(repr, true))
        for code, captions in row["captions"].items():
            for caption in captions[1:]:
                one, other = (picture.the(combination) for combination in named(caption, code))
                assert holds(one, relation_in(caption, code), other)
    conversations = read_jsonl(book / f"conversations.{split}.jsonl", Conversation)
    for one in conversations:
        image, _ = one.messages[0]["content"]
        check_answer(one, seen[image["image_url"]["url"]])
    kinds = Counter(one.category for one in conversations)
    assert set(kinds) == {"caption", "colour", "thing", "count", "presence", "box", "relation"}
    assert {one.id.rsplit("-")[-1] for one in conversations} == {"en", "zh"}


@pytest.mark.parametrize("split", ["train", "valid"])
def test_a_picture_told_in_words_is_the_picture(book: Path, split: str) -> None:
    pictures = {one.id: one for one in read_jsonl(book / f"conversations.{split}.jsonl", Conversation)}
    told = read_jsonl(book / f"told.{split}.jsonl", Conversation)
    assert {one.id for one in told} == {name for name, one in pictures.items() if one.category != "box"}
    heldout = set(map(tuple, json.loads((book / "picture_book.json").read_text())["heldout"]))
    related, pixels = 0, cache(see)
    for one in told:
        image, question = pictures[one.id].messages[0]["content"]
        code, text = one.id.rsplit("-")[-1], one.messages[0]["content"]
        assert text.endswith(question["text"]) and one.messages[1] == pictures[one.id].messages[1]
        seen = pixels(book / image["image_url"]["url"])
        caption, *places = re.findall(r"[^.。]+[.。]", text.removesuffix(question["text"]))
        assert dict(zip(named(caption, code), numbers_in(caption, code), strict=True)) == seen.counts()
        for place in places:
            first, second = map(seen.the, named(place, code))
            assert holds(first, relation_in(place, code), second)
        related += len(places)
        assert not {*named(text, code)} & heldout
    assert related
    if split == "train":
        texts = [row["text"] for _, row in read_rows(book / "corpus.jsonl")]
        assert texts == [" ".join(message["content"] for message in one.messages) for one in told]


def test_no_heldout_combination_is_seen_or_named_in_training(book: Path) -> None:
    heldout = set(map(tuple, json.loads((book / "picture_book.json").read_text())["heldout"]))
    assert Counter(colour for colour, _ in heldout) == Counter(COLOURS)
    assert Counter(kind for _, kind in heldout) == Counter(OUTLINES.keys())
    for split in SPLITS:
        shown = [{(one["colour"], one["kind"]) for one in row["things"]}
                 for _, row in read_rows(book / f"scenes.{split}.jsonl")]
        assert all(bool(one & heldout) == (split == "heldout") for one in shown)
        text = "".join((book / f"{name}.{split}.jsonl").read_text() for name in ("scenes", "conversations"))
        said = {*named(text, "en"), *named(text, "zh")}
        assert said and bool(said & heldout) == (split == "heldout")
    pictures = [path.read_bytes() for path in (book / "images").iterdir()]
    assert len(set(pictures)) == len(pictures) == sum(SMALL.values())


def test_yes_is_as_common_as_no(book: Path) -> None:
    rows = [one for one in read_jsonl(book / "conversations.train.jsonl", Conversation) if one.id.endswith("en")]
    for kind in ("presence", "relation"):
        answers = [one.messages[1]["content"] for one in rows if one.category == kind]
        assert 0.3 < answers.count("yes") / len(answers) < 0.7
    assert {relation_in(one.messages[0]["content"][1]["text"], "en")
            for one in rows if one.category == "relation"} == set(RELATIONS)


def test_who_sees_no_picture_answers_less_than_45_percent(book: Path) -> None:
    rows = {split: [(one.category, one.messages[0]["content"][1]["text"], one.messages[1]["content"])
                    for one in read_jsonl(book / f"conversations.{split}.jsonl", Conversation)
                    if one.category != "caption" and one.id.endswith("en")] for split in ("train", "test", "heldout")}
    answers: dict[str, Counter[str]] = {}
    for kind, asked, answer in rows["train"]:
        for key in (kind, asked):
            answers.setdefault(key, Counter())[answer] += 1
    for split in ("test", "heldout"):
        right = [answers.get(asked, answers[kind]).most_common(1)[0][0] == answer
                 for kind, asked, answer in rows[split]]
        assert sum(right) / len(right) < 0.45


def test_the_same_seed_writes_the_same_bytes_and_another_seed_others(book: Path, tmp_path: Path) -> None:
    same, other = make(tmp_path / "same"), make(tmp_path / "other", seed=1)
    files = sorted(path.relative_to(book) for path in book.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(same) for path in same.rglob("*") if path.is_file())
    for path in files:
        assert (book / path).read_bytes() == (same / path).read_bytes(), path
        if path.suffix != ".png":
            assert (book / path).read_bytes() != (other / path).read_bytes(), path


@pytest.mark.parametrize("kind", OUTLINES)
def test_an_outline_is_one_piece_as_large_as_its_box_at_every_size(kind: str) -> None:
    rng = random.Random(0)
    for size in [*range(8, 17), *(rng.randrange(17, 120) for _ in range(5))]:     # 8: the least of 48 pixels
        width, height = OUTLINES[kind].extent(size)
        labels, count = ndimage.label(outline(kind, width, height))
        assert count == 1, size
        assert ndimage.find_objects(labels) == [(slice(0, height), slice(0, width))], size


@pytest.mark.parametrize("changes, cause", [
    ({"size": 20}, "too small"), ({"things": 0}, "up to 0 things"), ({"things": 7}, "up to 7 things"),
    ({"test_scenes": 0}, "'test_scenes' is 0"), ({"language": "eng"}, "Unknown language 'eng'")])
def test_an_option_out_of_its_range_is_an_error(tmp_path: Path, changes: dict[str, object], cause: str) -> None:
    with pytest.raises(UserError, match=cause):
        make(tmp_path / "book", **changes)
