"""A pruned model learns back what it lost, and its zeros stay: the stages of the recipe `shrink`, made tiny."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from preceptor.deploy.structure import linear_maps, weight_of
from preceptor.models.causal import load_causal
from preceptor.models.trunk import blocks
from preceptor.recipe.load import load_recipe
from preceptor.recipe.options import build_options
from preceptor.recipe.stages import STAGES
from preceptor.run.errors import UserError
from preceptor.run.log import Log
from preceptor.run.step import Step

RECOVERY = {"rows": 4, "context": 32, "steps": 40, "learning_rate": 3e-3, "distillation": 0.5, "keep_zeros": True,
            "evaluate_every": 40, "precision": "fp32"}


def do(folder: Path, stage: str, inputs: dict[str, Path], **options: Any) -> Path:
    folder.mkdir()
    torch.manual_seed(0)  # as the runner does; else the weights would hang on the tests before
    built = build_options(STAGES[stage].options_class(), options, folder.name)
    STAGES[stage].function()(Step(folder.name, folder, inputs, built, 0, Log(folder / "log.jsonl", folder.name, 1)))
    return folder


@pytest.fixture(scope="module")
def runs(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folders tokenizer, base, pruned and recover."""
    runs = tmp_path_factory.mktemp("shrunk")
    text = {"corpus": corpus, "validation": corpus}
    tokenizer = do(runs / "tokenizer", "tokenizer", {"corpus": corpus}, vocabulary=300)
    base = do(runs / "base", "pretrain", text | {"tokenizer": tokenizer}, width=16, layers=2, heads=2, feed_forward=32,
              context=32, rows=4, steps=60, learning_rate=1e-2, precision="fp32")
    pruned = do(runs / "pruned", "prune", text | {"model": base}, sparsity=0.75, feed_forward=24, calibration_rows=8)
    do(runs / "recover", "pretrain", text | {"model": pruned, "teacher": base}, **RECOVERY)
    return runs


def test_training_brings_back_at_least_half_of_what_pruning_cost(runs: Path) -> None:
    said = json.loads((runs / "pruned" / "prune.json").read_text())
    lines = [json.loads(line)["metrics"] for line in (runs / "recover" / "log.jsonl").read_text().splitlines()]
    recovered = [line["validation_perplexity"] for line in lines if "validation_perplexity" in line]
    lost = said["after"]["perplexity"] - said["before"]["perplexity"]
    assert lost > 0.1
    assert recovered[0] == pytest.approx(said["after"]["perplexity"], rel=1e-3)
    assert recovered[-1] < said["after"]["perplexity"] - lost / 2


def test_the_zeros_of_the_pruned_model_are_those_of_the_recovered(runs: Path) -> None:
    pruned, recovered = load_causal(runs / "pruned" / "model"), load_causal(runs / "recover" / "model")
    for old, new in zip(blocks(pruned), blocks(recovered), strict=True):
        for was, now in zip(linear_maps(old), linear_maps(new), strict=True):
            assert torch.equal(weight_of(was) == 0, weight_of(now) == 0)
            assert not torch.equal(weight_of(was), weight_of(now))


@pytest.mark.parametrize(("model", "change", "cause"), [("pruned", {"optimiser": "muon"}, "cannot hold zeros"),
                                                        ("base", {}, "has no zeros")])
def test_zeros_that_could_not_be_kept_are_refused(runs: Path, corpus: Path, tmp_path: Path, model: str,
                                                  change: dict[str, str], cause: str) -> None:
    with pytest.raises(UserError, match=cause):
        do(tmp_path / "again", "pretrain", {"corpus": corpus, "model": runs / model, "teacher": runs / "base"},
           **RECOVERY | change)


def test_the_shipped_recipe_names_the_original_as_teacher() -> None:
    _, pruned, recover = load_recipe("shrink", sets=["pruned.pattern=two_of_four"], to_run=False).steps
    assert pruned.options.pattern == "two_of_four"
    assert recover.needs["teacher"] == "base" and recover.needs["model"] == "pruned"
