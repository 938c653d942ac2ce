"""What the experiments on the village begin from: the recipe `demo`, as far as the step that they need.

Each seed is a world, a corpus, labelers and models of its own. A run that is there already is gone on with, so that
several experiments share one. And how each of them is asked, and says what it found.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from preceptor.metrics.intervals import interval_over_seeds
from preceptor.recipe.load import Recipe, load_recipe
from preceptor.recipe.runner import run_recipe
from preceptor.report.figures import Line
from preceptor.run.errors import UserError
from preceptor.run.files import read_json, write_json, write_text

QUICK = ("village.documents=1200", "village.demonstrations=300", "village.train_prompts=48", "village.valid_prompts=24",
         "village.test_prompts=24", "base.steps=60", "base.width=48", "base.layers=2", "base.heads=2",
         "base.feed_forward=96", "sft.epochs=1", "sft.rows=4", "comparisons.k_max=5", "select.prompts=12")


def foundation(out: Path, seed: int, last: str, quick: bool) -> Path:
    """The folder of a run of the demo that is done up to the step `last`."""
    sets = [f"seed={seed}", *(QUICK if quick else ())]
    recipe = upto(load_recipe("demo", sets=sets), last)
    folder = out / f"foundation-{'quick-' if quick else ''}{seed}"
    run_recipe(recipe, folder)
    return folder


def upto(recipe: Recipe, last: str) -> Recipe:
    """The recipe without the steps behind `last`."""
    place = [step.name for step in recipe.steps].index(last)
    return replace(recipe, steps=recipe.steps[:place + 1])


def folder_of(run: Path, step: str) -> Path:
    """The folder of a step of a run."""
    return run / read_json(run / "run.json")["steps"][step]["folder"]


def over_seeds(values: Sequence[float]) -> dict[str, float]:
    """Mean and interval; of a single seed the mean alone."""
    return interval_over_seeds(values).to_dict() if len(values) > 1 else {"mean": values[0], "n": 1}


def asked(description: str | None, name: str, quick: str) -> argparse.Namespace:
    """What every experiment is asked: `seeds`, of which a quick run takes the first, `out`, `json` and `quick`."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path("runs") / name)
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    parser.add_argument("--quick", action="store_true", help=quick)
    options = parser.parse_args()
    if options.quick:
        options.seeds = options.seeds[:1]
    return options


def told(found: dict[str, Any], options: argparse.Namespace, name: str, table: str, page: str) -> None:
    """Write NAME.json and NAME.html into the folder, the table for people, and the figures as the last line."""
    write_json(options.out / f"{name}.json", found)
    write_text(options.out / f"{name}.html", page)
    print(table, file=sys.stderr)
    print(json.dumps(found) if options.json else json.dumps(found, indent=2))


def html_page(title: str, heading: str, body: str, table: str, style: str, tones: Sequence[str]) -> str:
    """A page that needs nothing else. `tones` are the rules of style for each line of a drawing."""
    style = "body {max-width: 44em; margin: 2em auto; font: 16px sans-serif} text {font-size: 11px}\n" + style
    style += " ".join(f".tone-{n} {{{tone}}}" for n, tone in enumerate(tones))
    return (f"<!doctype html><meta charset=utf-8><title>{title}</title><style>{style}</style>"
            f"<h1>{heading}</h1>{body}<pre>{table}</pre>")


def legend(lines: Sequence[Line]) -> str:
    """The names of lines, each in its colour."""
    names = ", ".join(f'<span class="tone-{n}">{line.name}</span>' for n, line in enumerate(lines))
    return f"<p>{names}</p>"


def run_script(main: Callable[[], None]) -> None:
    """Run an experiment; what the user can mend is said in two sentences, and the exit code is 2."""
    try:
        main()
    except UserError as error:
        print(f"{error.cause}\n{error.cure}", file=sys.stderr)
        sys.exit(2)
