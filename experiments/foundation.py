"""What the experiments on the village begin from: the recipe `demo`, as far as the step that they need.

Each seed is a world, a corpus, labelers and models of its own. A run that is there already is gone on with, so that
several experiments share one.
"""

from dataclasses import replace
from pathlib import Path

from preceptor.recipe.load import Recipe, load_recipe
from preceptor.recipe.runner import run_recipe
from preceptor.run.files import read_json

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
