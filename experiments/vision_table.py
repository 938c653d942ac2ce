"""Every system that sees, trained and scored alike: one object a row, beside its own blind control.

    score_auc     how often a picture of the test split scores a text that is true of it above one that is not (1/2)
    word_order    Winoground's text score on pictures and their mirror images (1/4 by chance)
    blind         score_auc with the pictures of other rows
    zero_shot     with --pack FOLDER: top-1 on the emoji of a vendor never seen, of concepts seen (docs/vision.md)
    minutes, parameters

A row is a run folder of its own under --out: one that is done is not redone, one that was killed goes on, and a row
that fails is said and leaves the others alone. --rows a,b takes some of them; --steps and --quick train less.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

from preceptor.recipe.load import load_recipe
from preceptor.recipe.runner import run_recipe
from preceptor.run.errors import UserError
from preceptor.run.files import read_json, write_json, write_text
from preceptor.run.log import read_log

SHAPE = {"width": 96, "layers": 3, "heads": 4, "patch": 8, "text_length": 24, "rows": 64, "learning_rate": 1e-3}
PAIRS = {"limit": 100}  # pictures of a split that are scored where every pair of picture and text is a pass
ROWS: dict[str, dict[str, Any]] = {
    "clip": {}, "siglip": {}, "llip": {"mixture": 8}, "coca": {}, "visualbert": {"see": PAIRS},
    "vilbert": {"quantizer": True, "see": PAIRS}, "flava": {"quantizer": True}, "maskvlm": {"see": PAIRS}, "mib": {},
}
"""The options of each row beside SHAPE; an option `needs` names what it takes from other rows, as `{input: row}`,
`quantizer` says that it learns from an image tokenizer, `see` has options of the step that scores it."""


def main() -> None:
    options = parsed()
    names = options.rows.split(",") if options.rows else list(ROWS)
    if unknown := [name for name in names if name not in ROWS]:
        sys.exit(f"There is no row '{unknown[0]}'.\nChoose among: {', '.join(ROWS)}.")
    out = options.out or Path(tempfile.mkdtemp(prefix="vision-table-"))
    steps = options.steps or (20 if options.quick else 1200)
    sources = {"book": book(out, options.seed, options.quick)}
    if options.pack:
        sources["emoji"] = emoji(out, options.seed, options.pack)
    table = {}
    for name in names:
        try:
            table[name] = row(out, name, sources, steps, options.seed)
            print(f"{name:<10} " + "  ".join(f"{key} {value:.3f}" for key, value in table[name].items()), flush=True)
        except UserError as error:
            print(f"{name:<10} not done: {error}", flush=True)
        write_json(out / "table.json", table)
    if options.json:
        print(json.dumps(table))


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    parser.add_argument("--quick", action="store_true", help="few pictures and steps: shows that it runs")
    parser.add_argument("--out", type=Path, help="folder of the runs; the same folder goes on")
    parser.add_argument("--rows", help="some rows, by commas")
    parser.add_argument("--pack", type=Path, help="folder of the emoji pack")
    parser.add_argument("--steps", type=int, default=0, help="optimiser steps of each row")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def book(out: Path, seed: int, quick: bool) -> dict[str, str]:
    """The picture book, decoded, and a vocabulary of its captions: what every row learns from."""
    scenes = {"train_scenes": 200, "valid_scenes": 20, "test_scenes": 60, "heldout_scenes": 20} if quick else {
        "train_scenes": 4000, "valid_scenes": 100, "test_scenes": 400, "heldout_scenes": 200}
    return run(out / "book", seed, [
        {"name": "drawn", "stage": "picture_book", "options": {"language": "en", **scenes}},
        {"name": "pictures", "stage": "pictures", "needs": {"pictures": "drawn"}, "options": {"size": 64}},
        {"name": "tokenizer", "stage": "tokenizer", "needs": {"corpus": "pictures/corpus.jsonl"},
         "options": {"vocabulary": 512}}])


def emoji(out: Path, seed: int, pack: Path) -> dict[str, str]:
    """The emoji with one vendor and a fifth of the concepts left out."""
    return run(out / "emoji", seed, [
        {"name": "pictures", "stage": "emoji", "needs": {"pack": str(pack)}},
        {"name": "tokenizer", "stage": "tokenizer", "needs": {"corpus": "pictures/corpus.jsonl"}}])


def row(out: Path, name: str, sources: dict[str, dict[str, str]], steps: int, seed: int) -> dict[str, float]:
    """Train and score one row on everything that there is; what is done already is only read."""
    figures: dict[str, float] = {}
    for source, folders in sources.items():
        given = dict(ROWS[name])
        others = {key: str(out / f"{other}-{source}" / "00-trained") for key, other in given.pop("needs", {}).items()}
        seen = given.pop("see", {})
        shape = SHAPE | ({"patch": 4} if source == "emoji" else {}) | {"system": name, "steps": steps} | given
        if shape.pop("quantizer", False):
            others["quantizer"] = image_tokenizer(out, source, folders, steps, shape["patch"], seed)
        place = out / f"{name}-{source}"
        folder = run(place, seed, [
            {"name": "trained", "stage": "vision", "options": shape,
             "needs": {"pictures": folders["pictures"], "tokenizer": folders["tokenizer"], **others}},
            {"name": "seen", "stage": "see", "needs": {"model": "trained", "pictures": folders["pictures"]},
             "options": seen}])
        scores, manifest = read_json(Path(folder["seen"]) / "scores.json"), read_json(place / "run.json")
        if source == "book":
            found = scores["test"]["en"]["retrieval"]
            figures |= {"score_auc": found["seen"]["score_auc"], "blind": found["blind"]["score_auc"],
                        "word_order": scores["test"]["word_order"]["seen"]["text"]["mean"],
                        "minutes": manifest["steps"]["trained"]["wall_seconds"] / 60,
                        "parameters": read_log(place / "log.jsonl")["trained"][0]["plan"]["parameters"]}
        else:
            figures["zero_shot"] = scores["vendor"]["en"]["zero_shot"]["seen"]["top1"]["mean"]
    return figures


def image_tokenizer(out: Path, source: str, folders: dict[str, str], steps: int, patch: int, seed: int) -> str:
    """The folder of a VQ-VAE with a code for every patch, trained a quarter as long: what patches are called."""
    return run(out / f"quantizer-{source}", seed, [
        {"name": "trained", "stage": "vision", "needs": {key: folders[key] for key in ("pictures", "tokenizer")},
         "options": {"system": "vq_vae", "halvings": patch.bit_length() - 1, "steps": -(-steps // 4)}}])["trained"]


def run(folder: Path, seed: int, steps: list[dict[str, Any]]) -> dict[str, str]:
    """Bring a run up to date; returns the folder of each of its steps."""
    write_text(folder / "asked.yaml", yaml.safe_dump({"name": folder.name, "seed": seed, "steps": steps}))
    run_recipe(load_recipe(str(folder / "asked.yaml")), folder)
    return {name: str(folder / step["folder"]) for name, step in read_json(folder / "run.json")["steps"].items()}


if __name__ == "__main__":
    main()
