"""experiments/exploration.py: the recipe that it makes is one, and its table and page show every cell."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from preceptor.recipe.load import load_recipe
from preceptor.run.files import write_json


@pytest.fixture(scope="module")
def exploration() -> ModuleType:
    path = Path(__file__).parent.parent / "experiments/exploration.py"
    spec = importlib.util.spec_from_file_location("exploration", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_cell_is_a_step_of_one_recipe(exploration: ModuleType, tmp_path: Path) -> None:
    write_json(tmp_path / "run.json", {"steps": {name: {"folder": name} for name in ("select", "reward", "village")}})
    for name in ("select", "reward", "village/prompts.train.jsonl"):
        (tmp_path / name).mkdir(parents=True)
    grid = [(t, e) for t in exploration.TEMPERATURES for e in exploration.ENTROPIES]
    path = tmp_path / "sweep.yaml"
    path.write_text(yaml.safe_dump(exploration.recipe_of(tmp_path, grid, 3)), encoding="utf-8")
    steps = load_recipe(str(path)).steps
    assert [(step.options.temperature, step.options.entropy_coefficient) for step in steps] == grid
    assert {step.options.iterations for step in steps} == {3} and len({step.name for step in steps}) == 16


def test_table_and_page_show_every_cell(exploration: ModuleType) -> None:
    interval = {"mean": 4.25, "low": 4.0, "high": 4.5, "n": 20}
    rows = [{"temperature": t, "entropy_coefficient": e, "gold": interval, "proxy": interval, "distinct": 0.9,
             "kl": 1.0, "entropy": 0.6} for t in (0.7, 1.0) for e in (0.0, 0.01)]
    assert exploration.table(rows).count("4.25 [4.00, 4.50]") == 4
    page = exploration.page(rows)
    assert page.count("<polyline") == 2 and "temperature 0.7" in page and "http" not in page
