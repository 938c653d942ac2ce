"""The stage `picture_book`: pictures, conversations about them, and the truth of every picture, in splits."""

import os
import random
import shutil
from collections import Counter
from collections.abc import Set
from dataclasses import asdict, replace
from typing import Any

from preceptor.data.jsonl import write_jsonl
from preceptor.data.pictures.captions import DESCRIBE, asked_record
from preceptor.data.records import Conversation, Document, content_text
from preceptor.run.errors import UserError
from preceptor.run.files import write_json
from preceptor.run.step import Step
from preceptor.village import VERSION
from preceptor.village.options import PictureBookOptions
from preceptor.village.pictures.outlines import OUTLINES
from preceptor.village.pictures.painting import paint
from preceptor.village.pictures.questions import draw_questions, draw_relation
from preceptor.village.pictures.scenes import COLOURS, Combination, Scene, draw_heldout, draw_scene, relations
from preceptor.village.pictures.speech import Speaker
from preceptor.village.stage import load_languages

LEAST_SIZE, MOST_THINGS = 48, 6     # at which outlines stay one piece, and which find room


def run(step: Step) -> None:
    """Write `images/`, `picture_book.json` and of every split `scenes`, `conversations` and `order` (.SPLIT.jsonl); for
    language models that see nothing `told.train.jsonl`, `told.valid.jsonl` and `corpus.jsonl`.

    Raises:
        UserError: an option is out of its range, or Pillow is not installed.
    """
    options: PictureBookOptions = step.options
    _check(options)
    speakers = {code: Speaker(language) for code, language in load_languages(options.language).items()}
    heldout = draw_heldout(random.Random(f"picture_book/{step.seed}/heldout"))
    splits = draw_splits(options, step.seed, heldout)
    _paint_all(step, {name: scene for scenes in splits.values() for name, scene in scenes.items()})
    for split, scenes in splits.items():
        shown = _combinations() if split == "heldout" else _combinations(heldout)
        rng = random.Random(f"picture_book/{step.seed}/{split}/questions")
        rows, conversations, told = [], [], []
        for name, scene in scenes.items():
            row, about = _describe(name, scene, speakers, rng, shown)
            rows.append(row)
            conversations += about
            told += _told(scene, speakers, about)
        write_jsonl(step.folder / f"scenes.{split}.jsonl", rows)
        write_jsonl(step.folder / f"conversations.{split}.jsonl", conversations)
        rng = random.Random(f"picture_book/{step.seed}/{split}/order")
        write_jsonl(step.folder / f"order.{split}.jsonl", _word_order(scenes, speakers, rng))
        if split in ("train", "valid"):
            write_jsonl(step.folder / f"told.{split}.jsonl", told)
        if split == "train":
            write_jsonl(step.folder / "corpus.jsonl", (
                Document(" ".join(message["content"] for message in one.messages), one.id, "picture_book")
                for one in told))
        kinds = sorted(Counter(one.category for one in conversations).items())
        step.say(f"{split}: {len(scenes)} pictures; conversations: " + ", ".join(f"{kind} {n}" for kind, n in kinds))
    write_json(step.folder / "picture_book.json", {"version": VERSION, "seed": step.seed, "options": asdict(options),
                                                   "heldout": sorted(heldout)})


def _paint_all(step: Step, scenes: dict[str, Scene]) -> None:
    """Write the pictures. The records come after them, so that whoever finds a record finds its picture."""
    folder = step.folder / "images"
    shutil.rmtree(folder, ignore_errors=True)       # what a killed attempt left
    folder.mkdir()
    progress = step.progress(len(scenes), "pictures")
    for number, (name, scene) in enumerate(scenes.items(), start=1):
        paint(scene).save(folder / f"{name}.png")
        progress.update(number)
    os.sync()       # all at once: flushing thousands of small files one by one took longer than painting them


def _check(options: PictureBookOptions) -> None:
    if options.size < LEAST_SIZE:
        raise UserError(f"Pictures of {options.size} pixels are too small for their things.",
                        f"Set 'size' to {LEAST_SIZE} or more.")
    if not 1 <= options.things <= MOST_THINGS:
        raise UserError(f"A picture cannot hold up to {options.things} things.",
                        f"Set 'things' between 1 and {MOST_THINGS}.")
    for name, count in asdict(options).items():
        if name.endswith("_scenes") and count < 1:
            raise UserError(f"The option '{name}' is {count}.", "Set it to 1 or more.")


def _combinations(without: Set[Combination] = frozenset()) -> list[Combination]:
    return [(colour, kind) for colour in COLOURS for kind in OUTLINES if (colour, kind) not in without]


def draw_splits(options: PictureBookOptions, seed: int, heldout: set[Combination]) -> dict[str, dict[str, Scene]]:
    """Split -> name of the picture -> scene. No two pictures are the same, whatever split they are in."""
    seen: set[Scene] = set()
    splits: dict[str, dict[str, Scene]] = {}
    allowed = _combinations(heldout)
    for split, count in (("train", options.train_scenes), ("valid", options.valid_scenes),
                         ("test", options.test_scenes), ("heldout", options.heldout_scenes)):
        rng = random.Random(f"picture_book/{seed}/{split}")
        first = sorted(heldout) if split == "heldout" else allowed
        splits[split] = {}
        while len(splits[split]) < count:
            scene = draw_scene(rng, options.size, options.things, allowed, first)
            if scene not in seen:
                seen.add(scene)
                splits[split][f"{split}-{len(splits[split]):06d}"] = scene
    return splits


def _word_order(scenes: dict[str, Scene], speakers: dict[str, Speaker], rng: random.Random) -> list[dict[str, Any]]:
    """Of pictures with one thing left of another a sentence that says so, and the sentence of the same words in which
    they change places: it is true of the picture's mirror image."""
    rows = []
    for name, scene in scenes.items():
        single = scene.single()
        found = [(one, other) for one in single for other in single if "left_of" in relations(one, other)]
        if found:
            one, other = rng.choice(found)
            relation = rng.choice(("left_of", "right_of"))
            first, second = (one, other) if relation == "left_of" else (other, one)
            rows += [{"picture": f"images/{name}.png", "language": code,
                      "texts": [speaker.relation_caption(first, relation, second),
                                speaker.relation_caption(second, relation, first)]}
                     for code, speaker in speakers.items()]
    return rows


def _describe(name: str, scene: Scene, speakers: dict[str, Speaker], rng: random.Random,
              shown: list[Combination]) -> tuple[dict[str, Any], list[Conversation]]:
    """The truth of a picture, and what is said about it in every language."""
    questions, related = draw_questions(scene, rng, shown), draw_relation(scene, rng)
    captions = {code: [speaker.caption(scene)] + ([speaker.relation_caption(*related)] if related else [])
                for code, speaker in speakers.items()}
    image = f"images/{name}.png"
    row = {"id": name, "image": image, "size": scene.size, "things": [asdict(thing) for thing in scene.things],
           "captions": captions}
    said = [(code, "caption", DESCRIBE[code], captions[code][0]) for code, speaker in speakers.items()]
    said += [(code, question.kind, *speaker.question(question)) for question in questions
             for code, speaker in speakers.items()]
    return row, [asked_record(f"{name}-{kind}-{code}", image, asked, answer, category=kind, source="picture_book")
                 for code, kind, asked, answer in said]


def _told(scene: Scene, speakers: dict[str, Speaker], about: list[Conversation]) -> list[Conversation]:
    """The conversations about a picture with words in its place; words say nothing of boxes."""
    words = {code: speaker.told(scene) for code, speaker in speakers.items()}
    told = []
    for record in about:
        question = content_text(record.messages[0]["content"][1:])  # behind the picture
        code = record.id.rpartition("-")[2]
        asked = {"role": "user", "content": words[code] + speakers[code].language.space + question}
        told += [replace(record, messages=[asked, record.messages[1]])] if record.category != "box" else []
    return told
