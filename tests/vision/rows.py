"""What every row is held to: it trains through the stage, goes on after a death, and is the same from its folder."""

from pathlib import Path
from typing import Any

import pytest
import torch

from preceptor.data.pictures.store import Pictures
from preceptor.learn import fit as loop
from preceptor.models.trainable import means
from preceptor.vision.keep import load_system
from preceptor.vision.system import System
from tests.vision.conftest import Book, run_stage

TINY = {"width": 16, "layers": 1, "heads": 2, "patch": 8, "text_length": 32, "rows": 4, "steps": 3,
        "checkpoint_every": 1, "log_every": 1}


class Died(Exception):
    """Stands for a kill between two steps."""


def check_row(system: str, book: Book, folder: Path, inputs: dict[str, Path] | None = None, **options: Any) -> System:
    """Train a tiny one three steps, whole and with a death before the third; returns what its folder holds.

    Both have the same weights, those that the pattern `train` does not mean are what they were at the start, and its
    scores of two pictures and three texts are numbers. Fresh parts are drawn from the step's seed, so that a run of no
    steps is the start.
    """
    needs = {"pictures": book.pictures, "tokenizer": book.tokenizer} | (inputs or {})
    options = TINY | {"system": system} | options
    whole = run_stage("vision", folder / "whole", needs, **options)
    real, calls = loop.take_gradients, []

    def deadly(*arguments: Any) -> Any:
        calls.append(None)
        if len(calls) == 3:
            raise Died
        return real(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "take_gradients", deadly)
        with pytest.raises(Died):
            run_stage("vision", folder / "again", needs, **options)
    resumed = load_system(run_stage("vision", folder / "again", needs, **options))
    start = load_system(run_stage("vision", folder / "start", needs, **options | {"steps": 0}))
    trained = load_system(whole)
    before, after = start.state_dict(), trained.state_dict()
    for name, value in resumed.state_dict().items():
        assert torch.equal(value, after[name]), f"{name} differs after a death"
    weights = dict(trained.named_parameters())
    patterns = [name.strip() for name in options.get("train", "*").split(",")]
    learned = {name for name in weights if any(means(pattern, name) for pattern in patterns)}
    assert any(not torch.equal(before[name], after[name]) for name in learned), "nothing was learned"
    for name in weights.keys() - learned:
        assert torch.equal(before[name], after[name]), f"{name} is frozen and changed"
    if trained.reads != "pictures":
        scores = trained.score(Pictures(book.pictures).take([0, 1]), ["a red hat", "a book", "two blue chairs"])
        assert scores.shape == (2, 3) and scores.isfinite().all() and not scores.requires_grad
    return trained
