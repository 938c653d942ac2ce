"""`preceptor see` and `--data`: what people type, and what they are told when it cannot be done."""

import json
from pathlib import Path

import pytest
from PIL import Image

from preceptor.cli.main import main
from preceptor.recipe.load import data_change, load_recipe
from preceptor.run.errors import UserError
from preceptor.vision.keep import save_system
from tests.vision.conftest import Book
from tests.vision.test_towers import tiny


@pytest.fixture(scope="module")
def seen(book: Book, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an untrained SigLIP as model/, a picture, one that is none, and texts."""
    folder = tmp_path_factory.mktemp("seen")
    save_system(tiny("siglip", book), folder / "model")
    Image.new("L", (40, 20), 90).save(folder / "grey.png")
    (folder / "none.png").write_bytes(b"none")
    (folder / "texts.txt").write_text("a red hat\n\ntwo clocks\na book\n")
    return folder


def test_texts_are_scored_the_best_first(seen: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["see", str(seen), str(seen / "grey.png"), "a hat", "is it a clock?", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {text for text, _ in found["scores"]} == {"a hat", "is it a clock?"}  # it cannot answer, so it scores
    assert found["scores"][0][1] >= found["scores"][1][1]
    assert found["noted"] == ["pictures of mode L turned into RGB"]
    assert main(["see", str(seen), str(seen / "grey.png"), "--texts", str(seen / "texts.txt"), "--best", "2"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


@pytest.mark.parametrize("arguments, cause", [
    (["none.png", "a"], "cannot be used: not a picture"), (["absent.png", "a"], "cannot be used: no such file"),
    (["grey.png"], "A siglip writes no captions"), (["grey.png", "--texts", "absent.txt"], "cannot be read")])
def test_what_cannot_be_done_is_said(seen: Path, arguments: list[str], cause: str,
                                     capsys: pytest.CaptureFixture[str]) -> None:
    named = [str(seen / part) if part.endswith((".png", ".txt")) else part for part in arguments]
    assert main(["see", str(seen), *named]) == 2
    assert cause in capsys.readouterr().err


def test_a_folder_without_a_system_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["see", str(tmp_path), str(tmp_path / "x.png"), "a"]) == 2
    assert "holds no system that sees" in capsys.readouterr().err


def test_data_names_the_open_input_of_the_first_step(tmp_path: Path) -> None:
    for name, change in (("clip", "pictures.needs.pictures"), ("clip_emoji", "emoji.needs.pack")):
        assert data_change(name, str(tmp_path)) == f"{change}={tmp_path}"
        assert load_recipe(name, sets=[data_change(name, str(tmp_path))]).steps[0].needs
    with pytest.raises(UserError, match="does not read its data from one place"):
        data_change("demo", "x")
    with pytest.raises(UserError, match="data.needs.INPUT="):
        data_change("own", "x")
