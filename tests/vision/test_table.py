"""The table of all rows: which steps of which recipes make a row, what rows share, and what is read of their scores."""

import importlib.util
from argparse import Namespace
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest

from preceptor.recipe.load import load_recipe, shipped
from tests.report.conftest import interval


@pytest.fixture(scope="module")
def table() -> ModuleType:
    path = Path(__file__).parents[2] / "experiments" / "vision_table.py"
    spec = importlib.util.spec_from_file_location("vision_table", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


OPTIONS = Namespace(quick=False, pack=None)


def test_every_system_that_a_recipe_looks_at_is_a_row(table: ModuleType) -> None:
    looked_at = {name for name in shipped() if any(
        step.stage == "see" for step in load_recipe(name, to_run=False).steps)}
    looked_at -= {"clip_emoji"}  # its system has a recipe for any pictures
    rows = table.rows()
    assert {recipe.name for recipe, _ in rows.values()} == looked_at
    assert {"clip", "coca", "frozen", "blip2", "minigpt4", "minigpt_v2", "qwen_vl", "autoregressive",
            "diffusion", "vq_vae", "vq_gan", "vit_vqgan"} <= rows.keys()


def test_rows_share_what_is_the_same_and_nothing_else(table: ModuleType) -> None:
    steps = {name: table.steps_of(*known, OPTIONS) for name, known in table.rows().items()}
    for some in steps.values():
        known: set[str] = set()
        for step in some:
            assert all(source.split("/")[0] in known for source in step["needs"].values())
            known.add(step["name"])
    stages = {step["name"]: step["stage"] for some in steps.values() for step in some}
    wanted = Counter(step["name"] for some in steps.values() for step in some)
    spliced = ("frozen", "blip2", "minigpt_v2", "qwen_vl")
    shared = set.intersection(*({step["name"] for step in steps[name]} for name in spliced))
    assert Counter(stages[name] for name in shared) == {"picture_book": 1, "pictures": 1, "tokenizer": 1, "pretrain": 1,
                                                        "sft": 1, "vision": 1}
    assert all(count == 1 for name, count in wanted.items() if stages[name] == "see")
    assert steps["clip"][0]["name"] == steps["frozen"][0]["name"]  # one picture book
    assert steps["clip"][-2]["options"]["width"] == table.SMALL["width"]


def test_a_change_of_content_is_a_change_of_name(table: ModuleType) -> None:
    recipe, last = table.rows()["minigpt_v2"]
    plain, quick = (table.steps_of(recipe, last, Namespace(quick=quick, pack=None)) for quick in (False, True))
    assert all(one["name"] != other["name"] for one, other in zip(plain, quick, strict=True))
    assert [step["name"].split("-")[0] for step in plain][-2:] == ["minigpt_v2", "seen"]


def test_figures_are_read_with_the_ends_of_intervals_that_face_each_other(table: ModuleType) -> None:
    seen, blind = interval(0.9, 0.02, 100), interval(0.5, 0.03, 100)
    found = table.figures({
        "en": {"retrieval": {"seen": {"score_auc": seen}, "blind": {"score_auc": blind}},
               "questions": {"written": {"seen": seen, "blind": blind}}},
        "word_order": {"seen": {"text": interval(0.3, 0.1, 40)}, "blind": {"text": interval(0.2, 0.1, 40)}}})
    assert found == {"score_auc": 0.9, "score_auc_low": pytest.approx(0.88), "blind": 0.5, "blind_high": 0.53,
                     "questions": 0.9, "questions_low": pytest.approx(0.88), "questions_blind": 0.5,
                     "questions_blind_high": 0.53, "word_order": 0.3}
