"""A pruned model learns back what it lost, and its zeros stay: the steps of the recipe `shrink`, made tiny."""

import json
from pathlib import Path

import pytest
import torch

from preceptor.cli.main import main
from preceptor.deploy.structure import linear_maps, weight_of
from preceptor.models.causal import load_causal
from preceptor.models.trunk import blocks
from preceptor.recipe.load import load_recipe


@pytest.fixture(scope="module")
def out(tiny_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The base model of the tiny recipe, two blocks deep, pruned and recovered by the shipped recipe."""
    base, out = tmp_path_factory.mktemp("base"), tmp_path_factory.mktemp("shrunk")
    corpus = tiny_recipe.parent / "corpus.jsonl"
    assert main(["run", str(tiny_recipe), "--out", str(base), "--set", "base.layers=2", "--set", "base.steps=60"]) == 0
    small = ["recover.steps=40", "recover.rows=4", "recover.context=32", "recover.learning_rate=0.003",
             "recover.keep_zeros=true", "pruned.sparsity=0.5", "pruned.feed_forward=24", "pruned.calibration_rows=8",
             "recover.evaluate_every=20"]
    needs = [f"base.needs.model={base}/02-base", f"pruned.needs.corpus={corpus}", f"pruned.needs.validation={corpus}",
             f"recover.needs.corpus={corpus}", f"recover.needs.validation={corpus}"]
    assert main(["run", "shrink", "--out", str(out), *(word for one in needs + small for word in ("--set", one))]) == 0
    return out


def test_training_brings_back_part_of_what_pruning_cost(out: Path) -> None:
    said = json.loads((out / "02-pruned" / "prune.json").read_text())
    log = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    recovered = [line["validation_perplexity"] for line in log if line["step_name"] == "recover"
                 and "validation_perplexity" in line][-1]
    lost = said["after"]["perplexity"] - said["before"]["perplexity"]
    assert lost > 0 and recovered < said["after"]["perplexity"] - lost / 2


def test_the_zeros_of_the_pruned_model_are_those_of_the_recovered(out: Path) -> None:
    pruned, recovered = load_causal(out / "02-pruned" / "model"), load_causal(out / "03-recover" / "model")
    for old, new in zip(blocks(pruned), blocks(recovered), strict=True):
        for was, now in zip(linear_maps(old), linear_maps(new), strict=True):
            assert torch.equal(weight_of(was) == 0, weight_of(now) == 0)
            assert not torch.equal(weight_of(was), weight_of(now))


@pytest.mark.parametrize("change", ["recover.optimiser=muon", "pruned.sparsity=0"])
def test_zeros_that_could_not_be_kept_are_refused(out: Path, change: str, capsys: pytest.CaptureFixture) -> None:
    again = ["run", str(out / "recipe.yaml"), "--out", str(out.parent / change), "--set", change]
    assert main(again) == 2
    assert "keep_zeros" in capsys.readouterr().err


def test_the_shipped_recipe_names_the_original_as_teacher() -> None:
    recover = load_recipe("shrink", to_run=False).steps[-1]
    assert recover.needs["teacher"] == "base" and recover.needs["model"] == "pruned"
