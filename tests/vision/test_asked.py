"""Questions about pictures: an oracle answers all, and blind what can be guessed; boxes are judged by their area."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from preceptor.cli.main import main
from preceptor.data.jsonl import read_rows
from preceptor.data.pictures.captions import asked_record, box_in, caption_record
from preceptor.data.pictures.store import Pictures, write_pictures
from preceptor.data.records import Conversation, Prompt, content_text
from preceptor.metrics.captions import bleu, cider_d
from preceptor.metrics.image_text import overlap
from preceptor.run.errors import UserError
from preceptor.vision.asked import Question, answered, questions_of
from preceptor.vision.captioned import captioned
from preceptor.vision.examine import shown_by
from preceptor.vision.keep import load_system
from preceptor.vision.look import look
from tests.vision.conftest import Book, run_stage
from tests.vision.rows import TINY
from tests.vision.test_splice import ROOM, language_model

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "white": (255, 255, 255)}


class Oracle:
    """Sees the mean colour of a picture; boxes it gives as they are, or half as wide."""

    gives_boxes = True

    def __init__(self, right: int = 8) -> None:
        self.box = f"[0, 0, {right}, 8]"

    def asked(self, text: str, category: str | None = None) -> Prompt:
        return Prompt("", [{"role": "user", "content": text}], category=category)

    def sees(self, picture: Tensor) -> str:
        away = {name: float((picture.mean((1, 2)) - (torch.tensor(paint) / 127.5 - 1)).abs().sum())
                for name, paint in COLOURS.items()}
        return min(away, key=away.get)

    def write(self, prompts: Sequence[Prompt], pictures: Sequence[Tensor]) -> list[str]:
        said = []
        for prompt, (picture,) in zip(prompts, pictures, strict=True):
            seen, question = self.sees(picture), content_text(prompt.messages[0]["content"])
            said.append({"Where is it?": self.box, "What colour is it?": seen}.get(
                question, "yes" if seen in question else "no"))
        return said

    answer = write

    def log_likelihoods(self, images: Tensor, prompts: Sequence[Prompt], texts: Sequence[str]) -> Tensor:
        said = self.write(prompts, list(images[:, None]))
        return torch.tensor([[0.0 if text == one else -1.0 for text in texts] for one in said])


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Pictures, list[Conversation]]:
    """Eight plain pictures, two of each colour, with three questions each."""
    folder = tmp_path_factory.mktemp("asked")
    names = [(f"{colour}{n}", colour) for n in range(2) for colour in COLOURS]
    write_pictures(folder, 8, ((name, "test", np.full((8, 8, 3), COLOURS[colour], np.uint8))
                               for name, colour in names))
    records = [record for name, colour in names for record in (
        asked_record(f"{name}-c", name, "What colour is it?", colour, category="colour"),
        asked_record(f"{name}-p", name, "Is it red?", "yes" if colour == "red" else "no", category="presence"),
        asked_record(f"{name}-b", name, "Where is it?", "[0, 0, 8, 8]", category="box"))]
    return Pictures(folder), records


def test_an_oracle_answers_all_and_blind_what_can_be_guessed(asked: tuple[Pictures, list[Conversation]]) -> None:
    pictures, records = asked
    questions = questions_of(Oracle(), pictures, records)
    both, rows = answered(Oracle(), pictures, questions, seed=0)
    assert both.keys() == {"questions", "ground"} and both["ground"].keys() == {"iou50"}
    found = both["questions"]
    assert found.keys() == {"written", "chosen"}
    for measure in [*found.values(), *both["ground"].values()]:
        assert measure["seen"]["mean"] == 1
    assert found["written"]["seen"]["n"] == 8 and found["written"]["seen"]["kinds"] == {"colour": 1, "presence": 1}
    assert found["written"]["blind"]["kinds"]["colour"] < 0.5 and found["chosen"]["blind"]["mean"] < 0.8
    assert both["ground"]["iou50"]["blind"]["mean"] == 1  # every box is the same: sight is worth nothing there
    assert rows[0] == {"picture": "red0", "question": "What colour is it?", "kind": "colour", "answer": "red",
                       "written": "red", "right": 1}
    half, _ = answered(Oracle(right=4), pictures, questions, seed=0)
    assert half["ground"]["iou50"]["seen"]["mean"] == 0 and half["questions"]["written"]["seen"]["mean"] == 1


def test_several_records_of_one_question_are_the_answers_of_several_people(
        asked: tuple[Pictures, list[Conversation]]) -> None:
    pictures, _ = asked
    said = ["red", "Red.", "the red", "rose"] + ["red"] * 6
    records = [asked_record(f"q{n}", "red0", "What colour is it?", answer, category="colour")
               for n, answer in enumerate(said)] + [asked_record("b", "blue0", "What colour is it?", "blue")]
    questions = questions_of(Oracle(), pictures, records)
    assert [(one.picture, len(one.answers)) for one in questions] == [(0, 10), (2, 1)]
    found, rows = answered(Oracle(), pictures, questions, seed=0)
    assert found["questions"]["vqa"]["seen"]["n"] == 1 and found["questions"]["vqa"]["seen"]["mean"] == 1
    assert found["questions"]["vqa"]["blind"]["mean"] == 0 and len(rows) == 2  # the other picture is blue


def test_a_row_without_boxes_is_asked_for_none(asked: tuple[Pictures, list[Conversation]]) -> None:
    pictures, records = asked
    blind_to_places = Oracle()
    blind_to_places.gives_boxes = False
    assert {one.category for one in questions_of(blind_to_places, pictures, records)} == {"colour", "presence"}


def test_only_one_picture_with_one_question_is_asked_about(asked: tuple[Pictures, list[Conversation]]) -> None:
    pictures, _ = asked
    two = [{"type": "image_url", "image_url": {"url": name}} for name in ("red0", "blue0")]
    several = Conversation("s", [{"role": "user", "content": two}, {"role": "assistant", "content": "no"}])
    question = asked_record("q", "blue0", "What?", "a hat")
    longer = Conversation("l", question.messages * 2)
    found = questions_of(Oracle(), pictures, [several, caption_record("c", "red0", "a hat"), question, longer])
    assert found == [Question(2, "What?", None, ("a hat",))]


def test_boxes_are_read_and_compared_by_area() -> None:
    assert box_in("from [1, 2, 30, 4]") == (1, 2, 30, 4) and box_in("1 2 3") is None
    box = np.array([0.0, 0, 4, 4])
    assert overlap(box, box) == 1 and overlap(box, np.array([2.0, 0, 6, 4])) == pytest.approx(8 / 24)
    assert overlap(box, np.array([4.0, 4, 8, 8])) == 0 and overlap(None, box) == 0
    assert overlap(np.array([3.0, 3, 1, 1]), box) == 0  # it ends before it begins


def test_the_stage_asks_a_row_that_answers(book: Book, tmp_path: Path) -> None:
    language = language_model(book, tmp_path / "language")
    model = run_stage("vision", tmp_path / "model", {"pictures": book.pictures, "language_model": language},
                      system="frozen", **TINY | ROOM)
    found = run_stage("see", tmp_path / "see", {"model": model, "pictures": book.pictures}, limit=3, splits=("test",))
    questions = json.loads((found / "scores.json").read_text())["test"]["en"]["questions"]
    assert {"seen", "blind"} == questions["written"].keys() and questions["written"]["seen"]["n"] == 3
    rows = [row for _, row in read_rows(found / "answers.test.en.jsonl")]
    assert len(list(read_rows(found / "captions.test.en.jsonl"))) == 3
    Image.new("RGB", (40, 20), (200, 10, 20)).save(tmp_path / "red.png")
    seen = look(model, tmp_path / "red.png", ["a red hat"], ["Is it red?", "What is it?"], best=5)
    assert [question for question, _ in seen["answers"]] == ["Is it red?", "What is it?"] and len(seen["scores"]) == 1
    assert isinstance(look(model, tmp_path / "red.png", [], [], best=5)["caption"], str)
    assert {row["picture"] for row in rows} <= set(Pictures(book.pictures).names) and rows[0]["question"]


def test_a_box_is_asked_for_in_the_language_of_the_phrase(book: Book, tmp_path: Path, capsys: pytest.CaptureFixture[str]
                                                          ) -> None:
    language = language_model(book, tmp_path / "language")
    needs = {"pictures": book.pictures, "language_model": language}
    model = run_stage("vision", tmp_path / "model", needs, system="frozen", **TINY | ROOM)
    system, asked = load_system(model), []

    def write(prompts: Sequence[Prompt], pictures: Sequence[Tensor]) -> list[str]:
        asked.extend(content_text(prompt.messages[0]["content"]) for prompt in prompts)
        return ["[1, 2, 30, 40]", "a red hat"]

    system.write = write
    assert system.ground(torch.zeros(2, 3, 32, 32), ["the red hat", "红色的帽子"]) == [(1, 2, 30, 40), None]
    assert asked == ["<|image|>Where is the red hat?", "<|image|>红色的帽子在哪里？"]
    Image.new("RGB", (40, 20), (200, 10, 20)).save(tmp_path / "red.png")
    main(["see", str(model), str(tmp_path / "red.png"), "--ground", "the red hat"])
    assert capsys.readouterr().out.startswith("the red hat  ")
    plain = run_stage("vision", tmp_path / "plain", needs, system="frozen", **TINY | ROOM,
                      categories=("caption", "colour"))
    with pytest.raises(UserError, match="from no boxes"):
        look(plain, tmp_path / "red.png", [], [], best=5, phrases=["the red hat"])


class Writing:
    """Writes of every picture its colour, or its colour and more."""

    def __init__(self, more: str = "") -> None:
        self.more = more

    def caption(self, images: Tensor, language: str) -> list[str]:
        return [Oracle().sees(image) + self.more for image in images]


def test_captions_are_scored_against_all_that_are_known(asked: tuple[Pictures, list[Conversation]]) -> None:
    pictures, _ = asked
    records = [caption_record(f"{name}{n}", name, text) for name in pictures.names
               for n, text in enumerate((f"a big {name[:-1]} square", f"{name[:-1]}"))]
    shown = shown_by(pictures, records)
    found, rows = captioned(Writing(), pictures, shown, "en", seed=0)
    assert found["seen"]["exact"]["mean"] == found["seen"]["rouge_l"]["mean"] == 1
    assert found["blind"]["exact"]["mean"] < 0.5
    assert found["blind"]["cider_d"]["mean"] < found["seen"]["cider_d"]["mean"]
    assert rows[0] == {"picture": "red0", "written": "red", "captions": ["a big red square", "red"], "rouge_l": 1.0}
    longer, _ = captioned(Writing(" square"), pictures, shown, "en", seed=0)
    said = [["red", "square"], ["green", "square"], ["blue", "square"], ["white", "square"]] * 2
    known = [[["a", "big", one[0], "square"], [one[0]]] for one in said]
    assert longer["seen"]["cider_d"]["mean"] == pytest.approx(np.mean(cider_d(said, known)))
    assert longer["seen"]["bleu_4"] == pytest.approx(bleu(said, known)[3]) and longer["seen"]["exact"]["mean"] == 0
