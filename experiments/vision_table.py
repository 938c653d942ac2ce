"""Every system that sees, trained by its recipe and scored alike: one object a row, beside its own blind control.

    score_auc     how often a picture of the test split scores a text that is true of it above one that is not (1/2)
    blind         score_auc with the pictures of other rows; `score_auc_low`, `blind_high`: the ends of their intervals
                  that face each other
    word_order    Winoground's text score on pictures and their mirror images (1/4 by chance)
    questions     of rows that answer: share of answers that are the very text; `questions_blind`, and the ends of the
                  intervals; `boxes`, `boxes_blind`: boxes that share more than half of their area with the true one
    psnr, used    of image tokenizers: decibel of what comes back, and the share of the codes that occur; `psnr_blind`
    cider         of rows that write captions: CIDEr-D, `cider_blind`
    zero_shot     with --pack FOLDER: top-1 on the emoji of a vendor never seen, of concepts seen (docs/vision.md)
    minutes       of one core, everything that the row is trained from included; `minutes_own` without what others share
    parameters

A row is a step `see` of a shipped recipe and what it depends on. Recipes that leave their pictures to the user read the
picture book of the others, in the small shape below. Steps are named by their content, so that what several rows need
is done once, for all of them; what is done is not redone, what was killed goes on, and a row that fails is said and
leaves the others alone. --rows a,b takes some of them, in that order; --quick trains a few steps.
"""

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from preceptor.recipe.load import Recipe, load_recipe, shipped
from preceptor.recipe.options import plain
from preceptor.recipe.runner import run_recipe
from preceptor.run.errors import UserError
from preceptor.run.files import hash_value, read_json, write_json, write_text
from preceptor.run.log import read_log
from preceptor.vision.keep import system_class

BOOK = "frozen"  # the recipe whose picture book the rows without pictures of their own read
SMALL = {"width": 96, "layers": 3, "text_length": 24, "rows": 64, "learning_rate": 1e-3, "augment": 0.0, "steps": 600}
SEEN = {False: "test", True: "vendor"}  # the split that is scored, without and with the emoji
CODES = {"rows": 16, "steps": 150}  # of image tokenizers
LIMIT = 400  # pictures of the split that are scored, at most
QUICK = {"picture_book": {"train_scenes": 200, "valid_scenes": 20, "test_scenes": 40, "heldout_scenes": 20},
         "vision": {"steps": 3}, "pretrain": {"steps": 3}, "see": {"limit": 10}}
DATA = ("picture_book", "pictures", "emoji", "tokenizer", "see")  # stages that train no network

Steps = list[dict[str, Any]]


def main() -> None:
    options = parsed()
    known = rows()
    names = options.rows.split(",") if options.rows else list(known)
    if unknown := [name for name in names if name not in known]:
        sys.exit(f"There is no row '{unknown[0]}'.\nChoose among: {', '.join(known)}.")
    out = options.out or Path(tempfile.mkdtemp(prefix="vision-table-"))
    wanted_by = Counter(step["name"] for name in known for step in steps_of(*known[name], options))
    table = read_json(out / "table.json") if (out / "table.json").is_file() else {}
    for name in names:
        try:
            table[name] = table.get(name, {}) | row(out, *known[name], options, wanted_by)
            print(f"{name:<15} " + "  ".join(f"{key} {value:.3f}" for key, value in table[name].items()), flush=True)
        except UserError as error:
            print(f"{name:<15} not done: {error}", flush=True)
        write_json(out / "table.json", table)
    if options.json:
        print(json.dumps(table))


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    parser.add_argument("--quick", action="store_true", help="few pictures and steps: shows that it runs")
    parser.add_argument("--out", type=Path, help="folder of the runs; the same folder goes on")
    parser.add_argument("--rows", help="some rows, by commas")
    parser.add_argument("--pack", type=Path, help="folder of the emoji pack: train and score on it in the book's place")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def rows() -> dict[str, tuple[Recipe, str]]:
    """Of each system that a shipped recipe looks at the first such recipe, and the name of the step that does it."""
    found = {}
    for name in shipped():
        recipe = load_recipe(name, to_run=False)
        steps = {step.name: step for step in recipe.steps}
        for step in recipe.steps:
            if step.stage == "see":
                found.setdefault(steps[step.needs["model"]].options.system, (recipe, step.name))
    return found


def steps_of(recipe: Recipe, last: str, options: argparse.Namespace) -> Steps:
    """The step that looks and all that it depends on: as the recipe has them, or in the table's shape where it leaves
    the pictures open."""
    steps = {step.name: {"name": step.name, "stage": step.stage, "needs": dict(step.needs),
                         "options": plain(step.options)} for step in recipe.steps}
    looks, pictures = steps[last], steps[steps[last]["needs"]["pictures"]]
    if not pictures["needs"]:
        for step in steps.values():
            if step["stage"] == "vision":
                codes = system_class(step["options"]["system"]).reads == "pictures"
                step["options"] |= CODES if codes else SMALL
        drawn = {step.stage: step.options for step in load_recipe(BOOK).steps[:2]}
        pictures |= {"stage": "pictures", "needs": {"pictures": "book"}, "options": plain(drawn["pictures"])}
        steps["book"] = {"name": "book", "stage": "picture_book", "needs": {}, "options": plain(drawn["picture_book"])}
        if options.pack:
            pictures |= {"stage": "emoji", "needs": {"pack": str(options.pack)}, "options": {}}
            steps[looks["needs"]["model"]]["options"] |= {"patch": 4}  # of 32 pixels, not 48
    looks["options"] |= {"splits": [SEEN[bool(options.pack)]], "limit": min(looks["options"]["limit"] or LIMIT, LIMIT)}
    for step in steps.values():
        step["options"] |= QUICK.get(step["stage"], {}) if options.quick else {}
    return named(steps, needed(steps, last))


def needed(steps: dict[str, Any], last: str) -> list[str]:
    """The names of the steps that one depends on, itself the last."""
    before = dict.fromkeys(name for source in steps[last]["needs"].values() if (first := source.split("/")[0]) in steps
                           for name in needed(steps, first))
    return [*before, last]


def named(steps: dict[str, Any], order: Sequence[str]) -> Steps:
    """Some steps in an order in which all come behind what they need, each named by its content."""
    names: dict[str, str] = {}
    found = []
    for name in order:
        step = dict(steps[name])
        parts = {key: source.partition("/") for key, source in step["needs"].items()}
        step["needs"] = {key: names.get(first, first) + slash + rest for key, (first, slash, rest) in parts.items()}
        names[name] = step["name"] = f"{name}-{hash_value({**step, 'name': ''})[:6]}"
        found.append(step)
    return found


def row(out: Path, recipe: Recipe, last: str, options: argparse.Namespace, wanted_by: Counter[str]
        ) -> dict[str, float]:
    """Train and score one row; what is done already is only read."""
    steps = steps_of(recipe, last, options)
    write_text(out / "asked.yaml", yaml.safe_dump({"name": "vision_table", "seed": options.seed, "steps": steps}))
    run_recipe(load_recipe(str(out / "asked.yaml")), out)
    done, log = read_json(out / "run.json")["steps"], read_log(out / "log.jsonl")
    [languages] = read_json(out / done[steps[-1]["name"]]["folder"] / "scores.json").values()
    if options.pack:
        return {"zero_shot": languages["en"]["zero_shot"]["seen"]["top1"]["mean"]}
    trained = [step["name"] for step in steps if step["stage"] not in DATA]
    minutes = {name: done[name]["core_seconds"] / 60 for name in trained}
    return figures(languages) | {
        "minutes": sum(minutes.values()), "parameters": log[trained[-1]][0]["plan"]["parameters"],
        "minutes_own": sum(spent for name, spent in minutes.items() if wanted_by[name] == 1)}


def figures(languages: dict[str, Any]) -> dict[str, float]:
    """What `scores.json` has of a split of the picture book, for the table."""
    if "en" not in languages:
        kept = languages["reconstruction"]
        return {"psnr": kept["seen"]["psnr"]["mean"], "psnr_low": kept["seen"]["psnr"]["low"],
                "psnr_blind": kept["blind"]["psnr"]["mean"], "psnr_blind_high": kept["blind"]["psnr"]["high"],
                "used": kept["used"]}
    measures = {"score_auc": {way: found["score_auc"] for way, found in languages["en"]["retrieval"].items()}}
    asked = {**languages["en"].get("questions", {}), **languages["en"].get("ground", {})}
    measures |= {name: asked[of] for name, of in (("questions", "written"), ("boxes", "iou50")) if of in asked}
    if "captions" in languages["en"]:
        measures["cider"] = {way: found["cider_d"] for way, found in languages["en"]["captions"].items()}
    found = {}
    for name, measure in measures.items():
        blind = "blind" if name == "score_auc" else f"{name}_blind"
        found |= {name: measure["seen"]["mean"], f"{name}_low": measure["seen"]["low"],
                  blind: measure["blind"]["mean"], f"{blind}_high": measure["blind"]["high"]}
    if "word_order" in languages:
        found["word_order"] = languages["word_order"]["seen"]["text"]["mean"]
    return found


if __name__ == "__main__":
    main()
