"""Recipes: strict YAML with named steps in order, changed by `--set NAME.option=value`."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from preceptor.feedback.place import is_url
from preceptor.recipe.options import build_options, plain
from preceptor.recipe.rounds import expand
from preceptor.recipe.stages import Stage, find_stage, variant
from preceptor.run.errors import UserError, nearest


@dataclass(frozen=True, slots=True)
class RecipeStep:
    """One step: a stage under a name, with what it needs and its options filled in."""

    name: str
    stage: str
    needs: dict[str, str]
    options: Any


@dataclass(frozen=True, slots=True)
class Recipe:
    """Named steps in order, and the seed that every step's own seed is drawn from.

    `rounds` says of how many rounds the steps were written out; 0 where the recipe has no block of rounds.
    """

    name: str
    description: str
    seed: int
    steps: tuple[RecipeStep, ...]
    rounds: int = 0

    def to_yaml(self) -> str:
        """The resolved recipe, every default filled in; `load_recipe` reads it back to the same recipe."""
        steps = [{"name": step.name, "stage": step.stage, "needs": step.needs, "options": plain(step.options)}
                 for step in self.steps]
        content = {"name": self.name, "description": self.description, "seed": self.seed, "steps": steps}
        return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)


class _StrictLoader(yaml.SafeLoader):
    """YAML in which a key given twice is an error: the first value would be lost in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.YAMLError(f"the key '{key}' is given twice (line {node.start_mark.line + 1})")
        return super().construct_mapping(node, deep)


def shipped() -> dict[str, Path]:
    """The recipes that come with Preceptor, by name."""
    folder = Path(str(files("preceptor"))) / "recipes"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def load_recipe(name: str, settings: Sequence[str] = (), sets: Sequence[str] = (), *, to_run: bool = True) -> Recipe:
    """Read a shipped recipe by name, or a file by path; then apply named settings, then `NAME.option=value` changes.

    Not `to_run` but to be shown, a recipe may leave inputs for the user to name.

    Raises:
        UserError: the recipe, a setting, a step, a stage, a need or an option is unknown or malformed.
    """
    path = shipped().get(name, Path(name))
    if not path.is_file():
        raise UserError(f"There is no recipe and no file '{name}'.", nearest(name, shipped()))
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _StrictLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"The recipe '{path}' is not valid YAML: {' '.join(str(error).split())}.",
                        "Mend the file.") from None
    _check_keys(content, {"steps"}, {"name", "description", "seed", "settings"}, f"recipe '{path}'")
    offered = content.get("settings") or {}
    changes = []
    for setting in settings:
        if setting not in offered:
            raise UserError(f"Recipe '{name}' has no setting '{setting}'.", nearest(setting, offered))
        changes += offered[setting].items()
    changes += [_parse_set(text) for text in sets]
    return _build(path.stem, content, changes, to_run)


def data_change(name: str, path: str) -> str:
    """The change that gives a recipe its data: the one input of its first step that it leaves to be named.

    Raises:
        UserError: its first step leaves no input to be named, or several.
    """
    first = load_recipe(name, to_run=False).steps[0]
    open_inputs = [key for key in find_stage(first.stage, {}).inputs if key not in first.needs]
    if len(open_inputs) != 1:
        raise UserError(f"The recipe '{name}' does not read its data from one place.",
                        f"Name its inputs: --set {first.name}.needs.INPUT={path}." if open_inputs else
                        "Leave out --data.")
    return f"{first.name}.needs.{open_inputs[0]}={path}"


def _check_keys(value: Any, needed: set[str], optional: set[str], where: str) -> None:
    if not isinstance(value, dict):
        raise UserError(f"The {where} must be a mapping.", "Write 'key: value' lines.")
    for key in value:
        if key not in needed | optional:
            raise UserError(f"Unknown key '{key}' in the {where}.", nearest(str(key), needed | optional))
    for key in sorted(needed - set(value)):
        raise UserError(f"The {where} lacks '{key}'.", f"Add '{key}:'.")


def _parse_set(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UserError(f"'--set {text}' is not of the form NAME.option=value.", "Write --set ppo.kl_coefficient=0.05.")
    return name, yaml.safe_load(value)


def _build(name: str, content: dict[str, Any], changes: list[tuple[str, Any]], to_run: bool) -> Recipe:
    steps = content["steps"]
    if not isinstance(steps, list) or not steps:
        raise UserError("A recipe needs at least one step.", "List steps under 'steps:'.")
    steps, changes, rounds = expand(steps, changes)
    for step in steps:
        _check_keys(step, {"name", "stage"}, {"needs", "options"}, "step of the recipe")
    names = [step["name"] for step in steps]
    seed = content.get("seed", 0)
    options = {step["name"]: dict(step.get("options") or {}) for step in steps}
    needs = {step["name"]: dict(step.get("needs") or {}) for step in steps}
    if len(options) < len(steps):
        raise UserError("Two steps of the recipe have the same name.", "Give each step a name of its own.")
    for target, value in changes:
        step, _, option = target.partition(".")
        if target == "seed":
            seed = value
        elif step not in options:
            raise UserError(f"There is no step '{step}' in recipe '{content.get('name', name)}'.",
                            nearest(step, [*names, "seed"]))
        elif option.startswith("needs."):
            needs[step][option.removeprefix("needs.")] = value
        else:
            options[step][option] = value
    if type(seed) is not int:
        raise UserError(f"'seed' must be a whole number, not '{seed}'.", "Mend the value.")
    built = tuple(_build_step(step, needs[step["name"]], options[step["name"]], names[:number], to_run)
                  for number, step in enumerate(steps))
    return Recipe(content.get("name", name), content.get("description", ""), seed, built, rounds)


def _build_step(step: dict[str, Any], needs: dict[str, Any], options: dict[str, Any], earlier: list[str],
                to_run: bool) -> RecipeStep:
    stage = find_stage(step["stage"], options)
    known = {*stage.inputs, *stage.optional, *filter(stage.is_one_of_several, needs)}
    _check_keys(needs, set(), known, f"needs of step '{step['name']}'")
    needs = {key: str(value) for key, value in needs.items() if value is not None}
    if to_run:
        _check_sources(step["name"], stage, needs, earlier)
    return RecipeStep(step["name"], step["stage"], needs,
                      build_options(stage.options_class(), options, step["name"], variant(step["stage"], options)))


def _check_sources(name: str, stage: Stage, needs: dict[str, str], earlier: list[str]) -> None:
    """Every required input is named, and each is an earlier step or a path that exists."""
    for key in stage.inputs:
        if key not in needs:
            raise UserError(f"Step '{name}' is not told where its input '{key}' is.",
                            f"Give it with --set {name}.needs.{key}=PATH.")
    for key, source in needs.items():
        first = source.split("/")[0]
        if first not in earlier and not is_url(source) and not Path(source).exists():
            raise UserError(f"The input '{key}' of step '{name}' is '{source}', which is neither an earlier "
                            "step nor a path that exists.", nearest(first, earlier))
