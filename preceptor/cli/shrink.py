"""`preceptor shrink MODEL --budget ...`: the recipe `gate` on a model, and the best that keeps the budget, or nothing.

A run folder like any other: the same command goes on where it was killed, and `preceptor report` draws its page.
"""

import argparse
import json
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from preceptor.recipe.load import Recipe, load_recipe
from preceptor.run.errors import UserError, nearest

SHIPPED = "shipped.json"
PRUNED = ("pruned", "recover", "pruned_whole", "pruned_int8", "pruned_int4")


def shrink(options: argparse.Namespace) -> None:
    """Try the candidates, write the page, and copy the best model to `--to`.

    Raises:
        UserError: bad input; or every candidate breaks the budget, with the figures that broke.
    """
    from preceptor.run.files import read_json, refuse_to_replace, replacing
    refuse_to_replace(options.to, SHIPPED)
    recipe = composed(options)
    from preceptor.models.causal import model_folder
    from preceptor.recipe.runner import run_recipe
    from preceptor.report.page import build_report
    from preceptor.report.summary import write_summary
    from preceptor.run.manifest import read_manifest
    run_recipe(recipe, options.out)
    write_summary(options.out)
    page = build_report(options.out)
    steps = read_manifest(options.out)["steps"]
    results = read_json(options.out / steps["weigh"]["folder"] / "results.json")
    if "best" not in results:
        raise UserError(f"No candidate keeps the budget, and nothing is shipped: {broken(results)}.",
                        f"See {page}. Loosen the budget with --budget, or recover longer with --set recover.steps=N.")
    best = candidates(recipe, {name: options.out / step["folder"] for name, step in steps.items()})[results["best"]]
    with replacing(options.to) as temporary:
        shutil.copytree(model_folder(best), temporary)
        shipped = {"candidate": results["best"], **results["candidates"][results["best"]]}
        (temporary / SHIPPED).write_text(json.dumps(shipped, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(results) if options.json else f"Shipped: '{results['best']}' in {options.to}\nReport: {page}")


def candidates(recipe: Recipe, folders: dict[str, Path]) -> dict[str, Path]:
    """The folders of the models that the step `weigh` weighs, by the names that it gives them; `folders` are those of
    the steps, and a candidate may also be a path."""
    from preceptor.run.manifest import plain_name
    found = {}
    for key, source in recipe.steps[-1].needs.items():
        if key.startswith("candidate_"):
            step, _, rest = source.partition("/")
            path = folders[step] / rest if step in folders else Path(source)
            found[plain_name(path)] = path
    return found


def broken(results: dict[str, Any]) -> str:
    """For each candidate the figures that broke the budget, in words."""
    return "; ".join(f"{name}: " + ", ".join(
        f"{one['figure'].replace('_', ' ')} {one['measured']:.4g} (limit {one['limit']:g})" for one in found)
        for name, found in results["broken"].items())


def composed(options: argparse.Namespace) -> Recipe:
    """The recipe `gate` with the inputs, the budget and the changes of the command line; a family that cannot be pruned
    goes without the steps that prune."""
    from preceptor.models.causal import model_folder
    model = model_folder(options.model)
    config = _config(model)
    keep = None if options.whole else _channels(config, options.keep)
    read = {"base.needs.model": model, **{f"{step}.needs.corpus": options.text for step in ("pruned", "recover")},
            **{f"{step}.needs.validation": options.validation for step in ("pruned", "recover", "weigh")},
            **{f"weigh.needs.{name}": path for name in ("prompts", "village", "reward", "suite")
               if (path := getattr(options, name))}}
    sets = [*(f"{target}={path}" for target, path in read.items()), f"pruned.feed_forward={keep or 0}",
            f"recover.context={_length(config)}", *budget(options.budget), *options.set]
    recipe = load_recipe("gate", sets=sets)
    return recipe if keep else without(recipe, PRUNED)


def budget(words: Iterable[str]) -> list[str]:
    """`perplexity=1.02` and so on as changes of the step `weigh`.

    Raises:
        UserError: a word names no figure of the budget, or no number.
    """
    from preceptor.evaluate.budget import FIGURES
    changes = []
    for word in words:
        name, _, limit = word.partition("=")
        if name not in FIGURES:
            raise UserError(f"A budget has no figure '{name}'.", nearest(name, FIGURES))
        try:
            changes.append(f"weigh.{name}={float(limit)}")
        except ValueError:
            raise UserError(f"'{word}' says no limit.", "Write --budget perplexity=1.02 size=4.") from None
    return changes


def without(recipe: Recipe, names: Sequence[str]) -> Recipe:
    """The recipe without some steps; the others no longer need them."""
    return replace(recipe, steps=tuple(
        replace(step, needs={key: source for key, source in step.needs.items() if source not in names})
        for step in recipe.steps if step.name not in names))


def _config(model: Path) -> Any:
    from transformers import AutoConfig
    try:
        return AutoConfig.from_pretrained(model)
    except (OSError, ValueError) as error:
        raise UserError(f"'{model}' cannot be loaded as a model: {str(error).splitlines()[0]}",
                        "Give the folder of a step or of a model.") from None


def _channels(config: Any, share: float) -> int | None:
    """The feed-forward channels that a pruned model keeps, a multiple of 32; None where the family cannot be pruned."""
    from preceptor.deploy.structure import FAMILIES, channels
    if config.model_type not in FAMILIES:
        print(f"A '{config.model_type}' model cannot be pruned: only the whole model is tried.")
        return None
    if not 0 < share < 1:
        raise UserError(f"--keep {share} is no share between 0 and 1.", "Give one such as 0.75, or --whole.")
    return max(32, int(channels(config) * share) // 32 * 32)


def _length(config: Any) -> int:
    """The tokens of a row in recovery: the model's context, at most 512."""
    from preceptor.models.causal import configured_length
    return min(configured_length(config), 512)
