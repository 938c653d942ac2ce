"""`algorithm: NAME` is the whole switch of the stage `rlhf`: its options, its inputs and its file follow from it."""

from dataclasses import asdict
from pathlib import Path

import pytest

import preceptor
from preceptor.recipe.identity import identity_parts
from preceptor.recipe.load import load_recipe
from preceptor.recipe.stages import STAGES
from preceptor.run.errors import UserError

ALGORITHMS = STAGES["rlhf"].stages
FILES = {path.stem: path for path in (Path(preceptor.__file__).parent / "rlhf" / "algorithms").glob("[a-z]*.py")}


@pytest.mark.parametrize("name", ALGORITHMS)
def test_each_algorithm_is_one_small_file_and_its_options_know_its_name(name: str) -> None:
    assert asdict(ALGORITHMS[name].options_class()())["algorithm"] == name
    assert FILES[name].read_text(encoding="utf-8").count("\n") <= 150


def test_each_file_is_an_algorithm() -> None:
    assert set(FILES) == set(ALGORITHMS)


@pytest.mark.parametrize(("change", "error"), [
    ("ppo.algorithm=pppo", "The stage 'rlhf' has no algorithm 'pppo'. Did you mean 'ppo'?"),
    ("ppo.algorithm=1", "The stage 'rlhf' has no algorithm '1'. Choose one of:"),
    ("ppo.clipp=0.1", "Step 'ppo' with algorithm ppo has no option 'clipp'. Did you mean 'clip'?"),
    ("ppo.needs.comparisons=village", "Unknown key 'comparisons' in the needs of step 'ppo'."),
])
def test_what_the_algorithm_does_not_know_is_an_error(change: str, error: str) -> None:
    with pytest.raises(UserError) as found:
        load_recipe("demo", sets=[change])
    assert str(found.value).startswith(error)


def test_the_algorithm_is_part_of_the_step_and_the_default_is_ppo(tmp_path: Path) -> None:
    recipe = load_recipe("demo")
    assert identity_parts(recipe)["ppo"]["options"]["algorithm"] == "ppo"
    (tmp_path / "again.yaml").write_text(recipe.to_yaml(), encoding="utf-8")
    again = load_recipe(str(tmp_path / "again.yaml"))
    assert identity_parts(again) == identity_parts(recipe) == identity_parts(load_recipe("demo", sets=[
        "ppo.algorithm=ppo"]))


def test_a_new_version_of_the_village_is_a_new_village(monkeypatch) -> None:
    recipe = load_recipe("demo")
    before = identity_parts(recipe)
    monkeypatch.setattr("preceptor.recipe.identity.VERSION", "another")
    after = identity_parts(recipe)
    assert before["village"] != after["village"] and before["tokenizer"]["inputs"] != after["tokenizer"]["inputs"]
    assert before["tokenizer"]["versions"] == after["tokenizer"]["versions"]
