"""Pictures from every form that people keep them in; bad ones are named and counted, and never end a run."""

import io
import json
import tarfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from preceptor.data.jsonl import read_jsonl, read_rows, write_jsonl
from preceptor.data.pictures.batches import Pair, PictureBatches
from preceptor.data.pictures.captions import asked_record, is_caption
from preceptor.data.pictures.decode import BadPicture, decode
from preceptor.data.pictures.readers import read_samples
from preceptor.data.pictures.store import Pictures, as_bytes, as_floats, write_pictures
from preceptor.data.records import IMAGE, Conversation, Prompt, content_text
from preceptor.run.errors import UserError
from tests.vision.conftest import run_stage

RED, BLUE = (200, 10, 20), (10, 20, 200)


def encoded(colour: Any = RED, size: tuple[int, int] = (8, 8), mode: str = "RGB", form: str = "PNG", **how: Any
            ) -> bytes:
    file = io.BytesIO()
    Image.new(mode, size, colour).save(file, form, **how)
    return file.getvalue()


def pixels_and_texts(folder: Path, split: str = "train") -> dict[str, tuple[tuple[int, ...], list[str]]]:
    """Of each picture of a split its middle pixel and its captions."""
    pictures = Pictures(folder)
    said: dict[str, list[str]] = {}
    for record in read_jsonl(folder / f"conversations.{split}.jsonl", Conversation):
        assert is_caption(record)
        said.setdefault(record.messages[0]["content"][0]["image_url"]["url"], []).append(record.messages[-1]["content"])
    middle = pictures.size // 2
    return {pictures.names[n]: (tuple(pictures.pixels[n, middle, middle].tolist()), said.get(pictures.names[n], []))
            for n in pictures.of_split(split)}


def read(path: Path, out: Path, **options: Any) -> Path:
    return run_stage("pictures", out, {"pictures": path}, **{"size": 8, "held_out": 0.0} | options)


def folder_of_files(at: Path) -> Path:
    (at / "a.png").write_bytes(encoded(RED))
    (at / "a.txt").write_text("red\na red square\n")
    (at / "b.png").write_bytes(encoded(BLUE))
    (at / "b.txt").write_text("blue")
    return at


def folder_of_classes(at: Path) -> Path:
    for name, colour in (("red", RED), ("blue", BLUE)):
        (at / name).mkdir()
        (at / name / "1.png").write_bytes(encoded(colour))
    return at


def jsonl_file(at: Path) -> Path:
    folder_of_files(at)
    write_jsonl(at / "rows.jsonl", [{"image": "a.png", "caption": "red"}, {"image": "b.png", "caption": "blue"},
                                    {"image": "a.png", "caption": "a red square"}])
    return at / "rows.jsonl"


def parquet_file(at: Path) -> Path:
    import pyarrow
    import pyarrow.parquet
    rows = [{"image": {"bytes": encoded(RED), "path": None}, "caption": ["red", "a red square"]},
            {"image": {"bytes": encoded(BLUE), "path": None}, "caption": ["blue"]}]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), at / "rows.parquet")
    return at / "rows.parquet"


def shard(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return path


def webdataset(at: Path) -> Path:
    shard(at / "00000.tar", {"x/001.png": encoded(RED), "x/001.json": b'{"caption": ["red", "a red square"]}'})
    shard(at / "00001.tar", {"x/001.txt": b"blue", "x/001.png": encoded(BLUE)})
    return at


@pytest.mark.parametrize("make", [folder_of_files, folder_of_classes, jsonl_file, parquet_file, webdataset])
def test_every_form_gives_the_same_pictures_and_texts(make: Any, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    out = read(make(tmp_path / "in"), tmp_path / "out")
    found = sorted(pixels_and_texts(out).values())
    assert found == sorted([(RED, ["red"] + ["a red square"] * (make is not folder_of_classes)), (BLUE, ["blue"])])
    assert not list(read_rows(out / "left_out.jsonl"))
    assert {row["text"] for _, row in read_rows(out / "corpus.jsonl")} >= {"red", "blue"}


def test_bad_ones_are_named_and_the_others_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8))
    jpeg = io.BytesIO()
    noise.save(jpeg, "JPEG")
    files = {"good.png": encoded(RED), "text.png": b"not a picture at all", "empty.png": b"",
             "cut.jpg": jpeg.getvalue()[:900], "cut.png": encoded(BLUE, (64, 64))[:60],
             "bomb.png": encoded(0, (300, 300), "L"), "grey.png": encoded(128, mode="L"),
             "print.jpg": encoded((0, 255, 255, 0), mode="CMYK", form="JPEG")}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    rows = [{"image": name, "caption": name.split(".")[0]} for name in [*files, "absent.png"]]
    write_jsonl(tmp_path / "rows.jsonl", [*rows, {"image": "good.png", "caption": "  "}])
    out = read(tmp_path / "rows.jsonl", tmp_path / "out", most_pixels=50_000)
    left = {(row["name"], row["reason"]) for _, row in read_rows(out / "left_out.jsonl")}
    named = {name: reason for name, reason in left if name != "good.png"}
    assert named.keys() == {"text.png", "empty.png", "cut.jpg", "cut.png", "bomb.png", "absent.png"}
    assert named["text.png"] == named["empty.png"] == "picture: not a picture"
    assert named["cut.jpg"] == "picture: cut off" and named["cut.png"].startswith("picture: c")
    assert named["bomb.png"] == "picture: too many pixels" and named["absent.png"] == "picture: no such file"
    assert ("good.png", "empty text") in left
    assert pixels_and_texts(out).keys() == {"good.png", "grey.png", "print.jpg"}
    said = capsys.readouterr().err
    assert "1 left out: empty text" in said and "1 left out: picture: too many pixels" in said
    assert "1 pictures of mode CMYK turned into RGB" in said and "1 pictures of mode L turned into RGB" in said


def test_when_none_can_be_used_the_cause_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"nothing")
    with pytest.raises(UserError, match="none can be used.*left_out.jsonl"):
        read(tmp_path, tmp_path / "out")
    (tmp_path / "nothing").mkdir()
    with pytest.raises(UserError, match="holds no pictures"):
        list(read_samples(tmp_path / "nothing"))


def test_a_shard_that_is_cut_off_gives_what_it_has(tmp_path: Path) -> None:
    whole = shard(tmp_path / "a.tar", {f"{n}.png": encoded(RED) for n in range(3)} | {"2.txt": b"red"})
    (tmp_path / "b.tar").write_bytes(whole.read_bytes()[:1600])
    whole.unlink()
    samples = list(read_samples(tmp_path))
    assert [sample.name for sample in samples if sample.raw] == ["b.tar/0"]
    assert "shard cut off" in samples[-1].wrong[0]


@pytest.mark.parametrize("mode, colour, expected", [
    ("RGBA", (200, 10, 20, 0), (255, 255, 255)), ("LA", (0, 255), (0, 0, 0)), ("L", 77, (77, 77, 77)),
    ("1", 1, (255, 255, 255)), ("I;16", 32896, (128, 128, 128)), ("P", 0, (0, 0, 0))])
def test_every_mode_becomes_rgb(mode: str, colour: Any, expected: tuple[int, ...]) -> None:
    noted: Counter[str] = Counter()
    pixels = decode(encoded(colour, mode=mode), 8, noted=noted)
    assert pixels.shape == (8, 8, 3) and tuple(pixels[4, 4].tolist()) == expected and sum(noted.values()) == 1


def test_what_is_not_square_is_cut_padded_or_stretched() -> None:
    wide = Image.new("RGB", (24, 8), RED)
    wide.paste(BLUE, (8, 0, 16, 8))
    file = io.BytesIO()
    wide.save(file, "PNG")
    middles = {fit: decode(file.getvalue(), 24, fit)[:, 12].tolist() for fit in ("crop", "pad", "stretch")}
    assert (decode(file.getvalue(), 24, "crop")[4, 4] == BLUE).all()
    assert middles["pad"][0] == [255, 255, 255] and middles["pad"][12] == list(BLUE)
    assert middles["stretch"][0] == list(BLUE) and (decode(file.getvalue(), 24, "stretch")[0, 0] == RED).all()
    with pytest.raises(BadPicture, match="too many pixels"):
        decode(file.getvalue(), 24, most_pixels=100)


def test_equal_pictures_are_in_one_split(tmp_path: Path) -> None:
    for n in range(40):
        (tmp_path / f"{n}.png").write_bytes(encoded((n // 2 * 12, 0, 0)))
        (tmp_path / f"{n}.txt").write_text(f"number {n}")
    pictures = Pictures(read(tmp_path, tmp_path / "out", held_out=0.4))
    colours = {split: {int(pictures.pixels[n, 0, 0, 0]) for n in pictures.of_split(split)} for split in
               ("train", "valid")}
    assert colours["train"] and colours["valid"] and not colours["train"] & colours["valid"]


def test_bytes_and_floats_are_inverse() -> None:
    every = torch.arange(256, dtype=torch.uint8).view(1, 16, 16, 1).expand(1, 16, 16, 3)
    floats = as_floats(every)
    assert floats.min() == -1 and floats.max() == 1 and torch.equal(as_bytes(floats), every)


def pairs_of(count: int) -> list[Pair]:
    from preceptor.data.batches import Example
    return [Pair((n,), Example.of_text(f"t{n}", [1, 5 + n, 2]), n % 3, n) for n in range(count)]


def test_batches_are_a_function_of_their_number_and_the_cursor_is_exact(tmp_path: Path) -> None:
    from preceptor.data.pictures.augment import Augmentation
    draw = np.random.default_rng(0)
    write_pictures(tmp_path, 8, ((f"p{n}", "train", draw.integers(0, 255, (8, 8, 3), dtype=np.uint8))
                                 for n in range(7)))

    def supply() -> PictureBatches:
        return PictureBatches(Pictures(tmp_path), pairs_of(7), rows=3, steps=7, seed=5, pad=0,
                              augmentation=Augmentation())

    first = supply()
    whole = [next(first) for _ in range(7)]
    seen = Counter(name for batch in whole for row in batch.documents for name in row)
    assert set(seen.values()) == {3}  # 7 batches of 3 are 3 epochs of 7, each of which shows every pair once
    second = supply()
    next(second), next(second)
    third = supply()
    third.restore(second.state())
    for number in range(2, 7):
        again = next(third)
        assert again.documents == whole[number].documents
        for name, tensor in whole[number].tensors.items():
            assert torch.equal(tensor, again[name]), name
    skipping = supply()
    skipping.skip(range(1, 3))
    assert [next(skipping).documents for _ in range(2)] == [whole[0].documents, whole[3].documents]
    assert whole[0]["pixels"].abs().max() <= 1 and not torch.equal(whole[0]["pixels"], whole[1]["pixels"])


def test_a_conversation_may_show_several_pictures(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(RED))
    (tmp_path / "b.png").write_bytes(encoded(BLUE))
    parts = [{"type": "image_url", "image_url": {"url": name}} for name in ("a.png", "b.png")]
    both = Conversation("both", [{"role": "user", "content": [*parts, {"type": "text", "text": "Are they the same?"}]},
                                 {"role": "assistant", "content": "no"}])
    none = Conversation("none", [{"role": "user", "content": "Hello."}, {"role": "assistant", "content": "Hello."}])
    one = asked_record("one", "a.png", "What is it?", "red")
    write_jsonl(tmp_path / "conversations.train.jsonl", [both, one, none])
    out = read(tmp_path, tmp_path / "out")
    assert Pictures(out).names == ["a.png", "b.png"]
    assert read_jsonl(out / "conversations.train.jsonl", Conversation)[0] == both
    assert [row["reason"] for _, row in read_rows(out / "left_out.jsonl")] == ["a conversation without a picture"]


def test_rows_with_fewer_pictures_have_zeros_behind_their_own(tmp_path: Path) -> None:
    from preceptor.data.batches import Example
    write_pictures(tmp_path, 8, ((f"p{n}", "train", np.full((8, 8, 3), 40 * n, np.uint8)) for n in range(4)))
    pictures = Pictures(tmp_path)
    pairs = [Pair(numbers, Example.of_text(str(numbers), [1, 2]), 0, 0) for numbers in ((2,), (3, 0), (1,))]
    batch = next(PictureBatches(pictures, pairs, rows=3, steps=1, seed=0, pad=0, several=True))
    assert batch["pixels"].shape == (3, 2, 3, 8, 8)
    for row, (name,) in enumerate(batch.documents):
        shown = next(pair.pictures for pair in pairs if str(pair.pictures) == name)
        assert torch.equal(batch["pixels"][row, :len(shown)], pictures.take(shown))
        assert (batch["pixels"][row, len(shown):] == 0).all()


def test_a_picture_in_a_message_is_a_mark_in_its_text() -> None:
    record = asked_record("r", "images/1.png", "What is this?", "A hat.")
    prompt = Prompt("p", record.messages[:1])
    assert prompt.text() == f"{IMAGE}What is this?" == content_text(record.messages[0]["content"])
    assert "image_url" not in Prompt("p", record.messages[:1] * 2).text()
    assert json.loads(json.dumps(record.to_dict())) == record.to_dict()
