"""The emoji that four vendors draw, as an image-text set: leave one vendor out, and some concepts of all vendors.

    train      the other vendors' drawings of the concepts that are kept
    vendor     the left-out vendor's drawings of the concepts that are kept: known things in an unseen style
    concept    the left-out vendor's drawings of the concepts that are left out: neither was seen
    valid      one drawing of each twentieth kept concept, of a vendor of training, taken out of it

No drawing of the left-out vendor and no text of a left-out concept is in training.
"""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy

from preceptor.data.jsonl import read_rows, write_jsonl
from preceptor.data.pictures.captions import caption_record
from preceptor.data.pictures.store import write_pictures
from preceptor.data.records import Conversation, Document
from preceptor.run.errors import UserError
from preceptor.run.step import Step

VENDORS = ("noto", "twemoji", "fluent", "openmoji")
SIZE = 32


def run(step: Step) -> None:
    """Read `pack` (VENDOR.npz and captions.jsonl.gz), write pixels, records of every split, concepts and a corpus."""
    options, folder = step.options, step.input("pack")
    if not 0 <= options.concepts < 1:
        raise UserError(f"'{step.name}.concepts' must lie between 0 and 1, not {options.concepts}.", "Give 0.2.")
    languages = ("en", "zh") if options.language == "both" else (options.language,)
    rows = [row for _, row in read_rows(folder / "captions.jsonl.gz")]
    unseen = set(random.Random(f"emoji/{step.seed}/concepts").sample(range(len(rows)),
                                                                     round(options.concepts * len(rows))))
    drawn = list(_drawings(folder, options.vendor, unseen, len(rows), random.Random(f"emoji/{step.seed}/valid")))
    write_pictures(step.folder, SIZE, ((f"{vendor}/{number}", split, pixels)
                                       for vendor, number, split, pixels in drawn))
    draw = random.Random(f"emoji/{step.seed}/keywords")
    records: dict[str, list[Conversation]] = {}
    for vendor, number, split, _ in drawn:
        extra = options.keyword_texts if split == "train" else 0
        for language in languages:
            for place, text in enumerate(texts_of(rows[number], language, extra, draw)):
                records.setdefault(split, []).append(
                    caption_record(f"{vendor}/{number}/{language}/{place}", f"{vendor}/{number}", text,
                                   concept=rows[number]["emoji"], category=language, source=vendor))
    for split, conversations in records.items():
        write_jsonl(step.folder / f"conversations.{split}.jsonl", conversations)
    texts = sorted({one.messages[-1]["content"] for one in records["train"]})
    write_jsonl(step.folder / "corpus.jsonl", [Document(text, f"text-{n}") for n, text in enumerate(texts)])
    write_jsonl(step.folder / "concepts.jsonl", [{"concept": row["emoji"], "seen": number not in unseen,
                                                  **{language: row[language] for language in languages}}
                                                 for number, row in enumerate(rows)])
    step.plan(concepts=len(rows), unseen=len(unseen), drawings=len(drawn),
              **{f"records_{split}": len(found) for split, found in records.items()})


def _drawings(folder: Path, left_out: str, unseen: set[int], count: int, draw: random.Random
              ) -> Iterator[tuple[str, int, str, numpy.ndarray]]:
    """Vendor, concept, split and pixels of every drawing that is in a split."""
    watched = {number: draw.choice([vendor for vendor in VENDORS if vendor != left_out])
               for number in range(0, count, 20)}
    for vendor in VENDORS:
        images, present = _pack(folder / f"{vendor}.npz")
        for number in range(count):
            if not present[number] or (vendor != left_out and number in unseen):
                continue
            split = ("concept" if number in unseen else "vendor") if vendor == left_out else (
                "valid" if watched.get(number) == vendor else "train")
            yield vendor, number, split, images[number]


def _pack(path: Path) -> tuple[numpy.ndarray, numpy.ndarray]:
    try:
        with numpy.load(path) as pack:
            return pack["images"], pack["present"]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"'{path}' is no pack of emoji: {error}.", "Name the folder with VENDOR.npz files.") from None


def texts_of(row: dict[str, Any], language: str, extra: int, draw: random.Random) -> list[str]:
    """The name, and `extra` texts of two or three keywords."""
    keywords = row[f"keywords_{language}"]
    comma = "，" if language == "zh" else ", "
    return [row[language], *(comma.join(draw.sample(keywords, min(len(keywords), draw.randint(2, 3))))
                             for _ in range(extra if keywords else 0))]
