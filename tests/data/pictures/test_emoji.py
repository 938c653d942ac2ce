"""The emoji pack: nothing of the left-out vendor and nothing said of the left-out concepts is learned from."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from preceptor.data.jsonl import read_jsonl, read_rows
from preceptor.data.pictures.emoji import VENDORS
from preceptor.data.pictures.store import Pictures
from preceptor.data.records import Conversation
from tests.vision.conftest import run_stage


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty made-up emoji; the colour of the first pixel is vendor and number, and Fluent lacks one."""
    folder = tmp_path_factory.mktemp("pack")
    for vendor, name in enumerate(VENDORS):
        images = np.zeros((40, 32, 32, 3), np.uint8)
        images[:, 0, 0, 0], images[:, 0, 0, 1] = vendor, np.arange(40)
        np.savez(folder / f"{name}.npz", images=images, present=np.arange(40) != (3 if name == "fluent" else -1))
    with gzip.open(folder / "captions.jsonl.gz", "wt") as file:
        for n in range(40):
            file.write(json.dumps({"emoji": chr(0x1F600 + n), "en": f"thing {n}", "zh": f"东西{n}",
                                   "keywords_en": [f"a{n}", f"b{n}", f"c{n}"], "keywords_zh": [f"甲{n}"]}) + "\n")
    return folder


def test_the_splits_keep_apart_what_is_new(pack: Path, tmp_path: Path) -> None:
    folder = run_stage("emoji", tmp_path / "emoji", {"pack": pack}, vendor="fluent", concepts=0.25, language="both")
    pictures = Pictures(folder)
    unseen = {row["concept"] for _, row in read_rows(folder / "concepts.jsonl") if not row["seen"]}
    assert len(unseen) == 10
    records = {split: read_jsonl(folder / f"conversations.{split}.jsonl", Conversation)
               for split in ("train", "valid", "vendor", "concept")}
    for split, said in records.items():
        for record in said:
            number = pictures.number[record.messages[0]["content"][0]["image_url"]["url"]]
            vendor, concept = (int(value) for value in pictures.pixels[number, 0, 0, :2])
            assert chr(0x1F600 + concept) == record.concept and pictures.splits[number] == split
            assert (VENDORS[vendor] == "fluent") == (split in ("vendor", "concept"))
            assert (record.concept in unseen) == (split == "concept")
            assert str(concept) in record.messages[-1]["content"]
    learned = {record.messages[-1]["content"] for record in records["train"]}
    assert learned == {row["text"] for _, row in read_rows(folder / "corpus.jsonl")}
    assert not learned & {record.messages[-1]["content"] for record in records["concept"]}
    assert {record.category for record in records["vendor"]} == {"en", "zh"}
    fluent = len(records["vendor"]) + len(records["concept"])
    assert fluent == 2 * 39  # one that Fluent does not draw, in two languages
    seen = len(records["train"]) + 4 * len(records["valid"])
    assert seen == 3 * 30 * 2 * 4  # three vendors, thirty concepts, two languages, the name and three draws of keywords
