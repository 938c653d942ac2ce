"""The experiments about rewards: their recipes are recipes, what they count is right, and tables and pages show all."""

import importlib
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import yaml

from preceptor.data.records import Comparison, Prompt, Response
from preceptor.recipe.load import Recipe, load_recipe
from preceptor.run.files import write_json

EXPERIMENTS = Path(__file__).parent.parent / "experiments"
STEPS = ("village", "tokenizer", "base", "sft", "comparisons", "reward", "select", "kwise_1")
PROMPT = Prompt("p", [{"role": "user", "content": "Hi"}])


@pytest.fixture(autouse=True)
def _beside_each_other() -> Iterator[None]:
    """Experiments import their neighbours, as scripts do."""
    sys.path.insert(0, str(EXPERIMENTS))
    yield
    sys.path.remove(str(EXPERIMENTS))


def experiment(name: str) -> ModuleType:
    return importlib.import_module(name)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A run that looks finished."""
    write_json(tmp_path / "run.json", {"steps": {name: {"folder": name} for name in STEPS}})
    for name in STEPS:
        (tmp_path / name).mkdir()
    for file in ("corpus.jsonl", "prompts.train.jsonl"):
        (tmp_path / "village" / file).touch()
    return tmp_path


def loaded(folder: Path, recipe: dict[str, Any]) -> Recipe:
    (folder / "made.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    return load_recipe(str(folder / "made.yaml"))


def ranking(*texts: str, order: list[list[int]]) -> Comparison:
    return Comparison("c", PROMPT, [Response(text) for text in texts], order, "l", "person")


def test_the_demo_as_far_as_a_step() -> None:
    found = experiment("foundation").upto(load_recipe("demo"), "sft")
    assert [step.name for step in found.steps] == ["village", "tokenizer", "base", "sft"]


def test_shuffled_pairs_are_all_pairs_that_are_set_apart(base: Path) -> None:
    kwise = experiment("kwise_vs_shuffled")
    pairs = kwise.as_pairs(ranking("a", "b", "c", "d", order=[[2], [0, 3], [1]]))
    won = [tuple(one.responses[group[0]].text for group in one.ranking) for one in pairs]
    assert sorted(won) == [("a", "b"), ("c", "a"), ("c", "b"), ("c", "d"), ("d", "b")]
    assert len({one.id for one in pairs}) == 5
    expected = [math.log(1 + math.exp(-margin)) for margin in (2.0, -3.0)]
    assert kwise.losses(ranking("a", "b", "c", order=[[1], [0, 2]]), [0.0, 2.0, 5.0]) == pytest.approx(expected)
    data = {layout: base for layout in kwise.LAYOUTS}
    steps = loaded(base, kwise.recipe_of(base, data, {"kwise": 4, "pairs": 50}, (1, 2))).steps
    assert [(step.name, step.options.rows, step.options.epochs) for step in steps] == [
        ("kwise_1", 4, 1), ("kwise_2", 4, 2), ("pairs_1", 50, 1), ("pairs_2", 50, 2)]


def test_the_lead_is_taken_seed_by_seed() -> None:
    kwise = experiment("kwise_vs_shuffled")
    seeds = [{f"{layout}_1": dict.fromkeys(kwise.FIGURES, value + shift) for layout, value in (
        ("kwise", 0.7), ("pairs", 0.6))} for shift in (0.0, 0.2)]
    found = kwise.collected(seeds, (1,))
    assert found["lead"][0]["valid"]["mean"] == pytest.approx(0.1)
    assert found["lead"][0]["valid"]["high"] - found["lead"][0]["valid"]["low"] < 1e-9  # worlds differ, leads do not
    assert kwise.table(found).count("\n") == 2 and kwise.page(found).count("<polyline") == 2


def test_proxies_are_steps_and_curves_have_a_scale(base: Path) -> None:
    over = experiment("overoptimisation")
    for count in over.FULL["rankings"]:
        (base / "data" / str(count)).mkdir(parents=True)
    steps = loaded(base, over.recipe_of(base, base / "data", over.FULL)).steps
    assert len(steps) == 12 and [step.stage for step in steps].count("pretrain") == 3
    pool = over.Pool.__new__(over.Pool)
    pool.answers, pool.gold = 4, [1.0, 2.0, 3.0, 4.0, 1.0, 2.0, 3.0, 4.0]
    curve = pool.curve([0.1, 0.2, 0.3, 0.9, 0.1, 0.2, 0.3, 0.9])  # a proxy that is right
    divergences = [0, math.log(2) - 0.5, math.log(4) - 0.75]
    assert [point["d"] for point in curve] == pytest.approx([divergence ** 0.5 for divergence in divergences])
    assert curve[0]["gold"] == pytest.approx(0) and curve[2]["gold"] == pytest.approx(1.5 / 1.25 ** 0.5)
    points = [{"d": d, "gold": d * (1 - 0.2 * d), "proxy": d} for d in (0.0, 0.5, 1.0, 2.0, 3.0)]
    run = {"accuracy": 0.6, "best_of_n": points, "rl": points}
    size = {"widths": (16, 32), "rankings": (12,)}
    found = over.collected([dict.fromkeys(["proxy_16_12", "proxy_32_12"], run)] * 2, size)
    assert found["rows"][0]["beta"] == pytest.approx(0.2) and found["rows"][0]["peak_d"] == 2.0
    assert over.table(found).count("\n") == 4 and over.page(found).count("<polyline") == 8


def test_every_way_to_learn_costs_about_what_ppo_does(base: Path) -> None:
    why = experiment("why_rl")
    reward = SimpleNamespace(score=lambda prompts, answers: [float(len(answer.text)) for answer in answers])
    some = [ranking("a", "bb", "cccccc", order=[[0], [1], [2]]), ranking("a", "bbb", order=[[0], [1]])]
    shown = why.demonstrations(reward, some)
    assert [one.messages[-1]["content"] for one in shown["best_ranked"]] == ["cccccc", "bbb"]
    # Margins 3 and 1 above the means 3 and 2, in units of their mean 2: copies 1.5 and 0.5, rounded to even.
    assert [one.messages[-1]["content"] for one in shown["margin"]] == ["cccccc", "cccccc"]
    assert len({one.id for one in shown["margin"]}) == 2
    plan = why.planned(why.FULL, {"best_ranked": [None] * 400, "margin": [None] * 700}, 2600)
    assert plan["ppo"] == (1, 1.0) and all(0.9 < compute < 1.1 for _, compute in plan.values())
    assert plan["best_of_n"][0] == round((9 * 1600 - 6400) / 1200)
    (base / "reward").mkdir(exist_ok=True)
    for name in ("prompts.jsonl", "best_ranked.jsonl", "margin.jsonl"):
        (base / name).touch()
    steps = loaded(base, why.recipe_of(base, base, why.FULL, plan)).steps
    assert [step.name for step in steps] == ["boundary", *why.METHODS]


def test_the_table_and_page_of_why_rl() -> None:
    why = experiment("why_rl")
    row = dict.fromkeys(why.COLUMNS, 0.5)
    found = why.collected([{name: row for name in ("sft", *why.METHODS)}] * 2)
    assert why.table(found).count("\n") == 5 and why.page(found).count("<circle") == 5


def test_algorithms_of_the_leaderboard_use_the_compute_of_ppo(base: Path) -> None:
    board = experiment("leaderboard")
    assert board.budget(board.FULL) == 50 * 64 * (4 + 2 * 3)  # written, scored, two readings; two networks learn
    plans = {name: board.planned(name, board.FULL, answers=7800, tokens=64.0) for name in board.NAMES}
    assert all(0.7 < plan.passes / board.budget(board.FULL) < 1.2 for plan in plans.values())
    assert plans["rloo"].passes == plans["rloo"].options["iterations"] * 64 * (3 + 3)
    assert plans["ppo_ptx"].passes == plans["ppo_ptx"].options["iterations"] * (64 * 10 + 3 * 4096 / 64)
    assert plans["best_of_n"].prompts == round(32000 / (2 * 8 + 3 * 2)) and plans["dpo"].passes == 4 * 7800
    for name, plan in plans.items():
        inputs = ("policy", "comparisons") if name in board.RANKED else ("policy", "reward", "prompts", "corpus")
        inputs = inputs if name in ("ppo_ptx", *board.RANKED) else inputs[:3]
        needs = experiment("standing").needs(base, inputs)
        step = {"name": name, "stage": "rlhf", "needs": needs,
                "options": {"algorithm": board.ALGORITHM.get(name, name), **plan.options}}
        loaded(base, {"name": name, "description": "One.", "steps": [step]})
    row = dict.fromkeys(board.COLUMNS, 0.5)
    found = board.collected([{"worse": row, "better": row | {"gold": 0.6}}] * 2)
    assert [line["algorithm"] for line in found["rows"]] == ["better", "worse"]
    assert board.table(found).count("\n") == 2 and board.page(found).count("<circle") == 2


def test_the_sweeps_of_the_alignment_tax_share_a_cell(base: Path) -> None:
    tax = experiment("alignment_tax")
    assert len(tax.cells()) == len(tax.GAMMAS) + len(tax.BETAS) - 1 == len(set(tax.cells()))
    steps = [tax.step_of(base, *cell, tax.FULL) for cell in tax.cells()]
    assert len(loaded(base, {"name": "tax", "description": "All.", "steps": steps}).steps) == 9
    seeds = [{tax.name_of(*cell): dict.fromkeys(tax.COLUMNS, 1 / (1 + cell[0])) for cell in tax.cells()}] * 2
    found = tax.collected(seeds)
    assert found["recovered"]["gamma"]["mean"] == pytest.approx(0.75) and found["recovered"]["beta"]["mean"] == 0
    assert tax.table(found).count("\n") == 9 and tax.page(found).count("<polyline") == 2
