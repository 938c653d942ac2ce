"""Pictures of prompts: paths become what a page can show, and nothing else is read."""

import base64
import json
from pathlib import Path

import pytest

from preceptor.data.records import Prompt
from preceptor.feedback.assign import next_item
from preceptor.feedback.labelers import add_labeler
from preceptor.feedback.pictures import LARGEST, with_pictures
from preceptor.feedback.store import open_store
from preceptor.run.errors import UserError
from preceptor.web.render import image_of

DOT = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYGD4DwABBAEAX+XDSwAAAABJRU5ErkJggg"
                       "==")


def _asked(url: str) -> Prompt:
    return Prompt("p", [{"role": "system", "content": "Look."},
                        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}},
                                                     {"type": "text", "text": "What is it?"}]}])


def _url(prompt: Prompt) -> str:
    return prompt.messages[1]["content"][0]["image_url"]["url"]


def test_a_path_becomes_the_picture(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(DOT)
    held = with_pictures(_asked("images/a.png"), tmp_path)
    assert base64.b64decode(_url(held).split(",")[1]) == DOT and image_of(_url(held)) == _url(held)
    assert held.messages[0] == {"role": "system", "content": "Look."} and held.messages[1]["content"][1]["text"]
    assert with_pictures(held, tmp_path) == held
    assert _url(with_pictures(_asked("https://example.org/a.png"), tmp_path)) == "https://example.org/a.png"
    (tmp_path / "large.png").write_bytes(b"x" * (LARGEST + 1))
    (tmp_path / "images" / "secret.txt").write_text("s")
    for folder, url in ((tmp_path / "images", "../large.png"), (tmp_path, "images/none.png"), (tmp_path, "large.png"),
                        (tmp_path, "images/secret.txt"), (tmp_path, str(tmp_path / "images" / "secret.txt"))):
        with pytest.raises(UserError):
            with_pictures(_asked(url), folder)
    for part in ({"type": "image_url"}, {"type": "image_url", "image_url": "a.png"}):
        with pytest.raises(UserError, match="no address"):
            with_pictures(Prompt("p", [{"role": "user", "content": [part]}]), tmp_path)


def test_answers_about_pictures_reach_the_labeler_with_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from preceptor.cli.main import main
    monkeypatch.setattr("preceptor.cli.label.serve", lambda *_, **__: None)
    (tmp_path / "a.png").write_bytes(DOT)
    rows = [{"prompt": _asked("a.png").to_dict(), "response": {"text": text, "finish": "eos"}} for text in "ab"]
    (tmp_path / "answers.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    assert main(["label", str(tmp_path / "run"), "--answers", str(tmp_path / "answers.jsonl"), "--no-browser"]) == 0
    store = open_store(tmp_path / "run" / "feedback.sqlite")
    add_labeler(store, "ann")
    assert image_of(_url(next_item(store, "ann").prompt))
    store.close()


def test_pictures_that_records_name_are_looked_for_where_it_is_said_or_in_the_run_s_book(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from preceptor.cli.main import main
    found: list[Path | None] = []
    monkeypatch.setattr("preceptor.cli.label.serve", lambda *_, pictures, **__: found.append(pictures))
    run, book = tmp_path / "run", {"stage": "picture_book", "folder": "00-book"}
    run.mkdir()
    for steps in ({}, {"base": {"stage": "pretrain", "folder": "03-base"}, "book": book}):
        (run / "run.json").write_text(json.dumps({"steps": steps}))
        assert main(["label", str(run), "--no-browser"]) == 0
    assert main(["label", str(run), "--no-browser", "--pictures", str(tmp_path)]) == 0
    assert found == [None, run / "00-book", tmp_path]
    assert main(["label", str(run), "--no-browser", "--pictures", str(tmp_path / "none")]) == 2
    assert "There is no folder" in capsys.readouterr().err
