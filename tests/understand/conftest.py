"""Two tiny runs, from rows to a comparison: labels of English and Chinese texts, and their entities."""

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from preceptor.metrics.intervals import Interval
from preceptor.recipe.load import load_recipe
from preceptor.recipe.runner import run_recipe
from preceptor.run import machine
from preceptor.run.files import read_json
from preceptor.understand import compare

NAMES, PLACES = ["Nora", "Tom Lee", "诺拉", "Ada"], ["Oslo", "北京", "York"]
NOISE = ["went", "to", "see", "the", "bees", "然后", "在", "了"]
TINY = ["tokenizer.vocabulary=340", *(f"{base}.{option}" for base in ("encoder_base", "language_base") for option in (
    "width=32", "layers=1", "heads=2", "feed_forward=48", "context=72", "rows=4", "steps=4")),
    "encoder.rows=8", "encoder.dropout=0", "encoder.learning_rate=5e-3", "language.dropout=0", "language.rows=4",
    "language.learning_rate=1e-2", "compare.timed=3", "compare.repeats=2", "compare.rows=8", "compare.max_tokens=24"]


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    """Models this small lose time to a second thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def sentence(draw: random.Random, task: str) -> dict[str, Any]:
    """Noise around a name and a place; its label says whether one of two words is there."""
    words: list[str] = [draw.choice(NOISE) for _ in range(draw.randint(2, 5))]
    if task == "classify":
        mood = draw.choice(["good", "坏"])
        words.insert(draw.randrange(len(words)), mood)
        return {"text": " ".join(words), "label": {"good": "yes", "坏": "no"}[mood]}
    facts = {"PER": draw.choice(NAMES), "LOC": draw.choice(PLACES)}
    at = sorted(draw.sample(range(len(words) + 1), 2), reverse=True)
    for place, name in zip(at, facts.values()):
        words.insert(place, name)
    return {"text": " ".join(words), "facts": facts}


@pytest.fixture(scope="session")
def make_run(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Run a shipped recipe, tiny, on sentences of its task; memory is measured by nobody."""
    def make(task: str, count: int, *sets: str) -> Path:
        root = tmp_path_factory.mktemp(task)
        draw = random.Random(1)
        rows = {json.dumps(sentence(draw, task), ensure_ascii=False): None for _ in range(count)}
        (root / "rows.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
        recipe = load_recipe(task, sets=[f"data.needs.records={root / 'rows.jsonl'}", *TINY, *sets])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(machine, "cores", lambda: 1)
            patch.setattr(compare, "memory", lambda *arguments: Interval(100.0, 90.0, 110.0, 2))
            run_recipe(recipe, root / "run")
        return root / "run"

    return make


@pytest.fixture(scope="session")
def classified(make_run: Callable[..., Path]) -> Path:
    return make_run("classify", 160, "encoder.epochs=6", "language.epochs=6", "data.held_out=0.15")


@pytest.fixture(scope="session")
def tagged(make_run: Callable[..., Path]) -> Path:
    return make_run("tag", 160, "encoder.epochs=10", "language.epochs=2", "data.held_out=0.15")


def folder_of(run: Path, step: str) -> Path:
    """The folder of a step of a run."""
    return run / read_json(run / "run.json")["steps"][step]["folder"]
