"""A small picture book, read as pictures, with a vocabulary: what every row learns from in the tests."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from preceptor.recipe.options import build_options
from preceptor.recipe.stages import find_stage
from preceptor.run.log import Log
from preceptor.run.machine import prepare
from preceptor.run.step import Step


def run_stage(name: str, folder: Path, inputs: dict[str, Path] | None = None, seed: int = 0, **options: Any) -> Path:
    """Run one stage as a recipe would, in this process; returns its folder."""
    stage = find_stage(name, options)
    folder.mkdir(parents=True, exist_ok=True)
    prepare(seed)
    torch.set_num_threads(1)  # networks this small are slower with more
    stage.function()(Step(name, folder, inputs or {}, build_options(stage.options_class(), options, name), seed,
                          Log(folder.parent / "log.jsonl", name, 1)))
    return folder


@dataclass(frozen=True)
class Book:
    """Folders of the stages `pictures` (32 pixels) and `tokenizer`."""

    pictures: Path
    tokenizer: Path


@pytest.fixture(scope="session")
def book(tmp_path_factory: pytest.TempPathFactory) -> Book:
    folder = tmp_path_factory.mktemp("book")
    drawn = run_stage("picture_book", folder / "drawn", language="en", size=48, things=2, train_scenes=24,
                      valid_scenes=4, test_scenes=8, heldout_scenes=4)
    pictures = run_stage("pictures", folder / "pictures", {"pictures": drawn}, size=32)
    return Book(pictures, run_stage("tokenizer", folder / "tokenizer", {"corpus": pictures / "corpus.jsonl"},
                                    vocabulary=320))


@pytest.fixture(scope="session")
def tokenizer_step(book: Book, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a step with a small VQ-VAE, hardly trained: what others start from."""
    needs = {"pictures": book.pictures, "tokenizer": book.tokenizer}
    return run_stage("vision", tmp_path_factory.mktemp("vq_vae") / "vq_vae", needs, system="vq_vae", steps=1, rows=4,
                     codes=12, code_width=8, halvings=3)
