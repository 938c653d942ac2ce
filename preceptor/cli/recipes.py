"""`preceptor recipe list` and `preceptor recipe show NAME`."""

import textwrap

from preceptor.recipe.load import load_recipe, shipped
from preceptor.recipe.options import describe_options


def print_recipes() -> None:
    """Print each shipped recipe with its description."""
    for name in shipped():
        recipe = load_recipe(name, to_run=False)
        print(f"{name:<10} {' '.join(recipe.description.split())}")


def print_recipe(name: str) -> None:
    """Print a recipe's steps: inputs, then every option with its value, its default where it differs, its meaning."""
    recipe = load_recipe(name, to_run=False)
    print(f"{recipe.name}: {' '.join(recipe.description.split())}\nseed: {recipe.seed}")
    for step in recipe.steps:
        print(f"\n{step.name}  (stage {step.stage})")
        for key, source in step.needs.items():
            print(f"  reads {key} from {source}")
        for option, (default, meaning) in describe_options(type(step.options)).items():
            value = getattr(step.options, option)
            differs = "" if value == default else f" (default {default})"
            print(f"  --set {step.name}.{option}={value}{differs}")
            print(textwrap.indent(textwrap.fill(meaning, 100), "        "))
