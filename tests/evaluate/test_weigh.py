"""What a smaller model costs and lost, and the budget: by hand, on models of known size, and against brute force."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from preceptor.evaluate.budget import Breach, against, breaches, undominated
from preceptor.evaluate.cost import costs
from preceptor.evaluate.options import WeighOptions
from preceptor.evaluate.weigh import limits, run
from preceptor.models.causal import build_llama, save_model
from preceptor.run.errors import UserError
from preceptor.run.log import Log
from preceptor.run.progress import Progress
from preceptor.run.step import Step
from preceptor.tokenizer.train import train_bpe


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A wide and a narrow model of one vocabulary."""
    folder, tokenizer = tmp_path_factory.mktemp("weighed"), train_bpe(["ado emi iru ona"] * 20, 270, 10_000)
    torch.manual_seed(0)
    for name, width in (("wide", 256), ("narrow", 16)):
        save_model(build_llama(vocabulary=len(tokenizer), width=width, layers=4, heads=2, feed_forward=4 * width,
                               context=64, end=tokenizer.eos_token_id, pad=tokenizer.pad_token_id), tokenizer,
                   folder / name / "model")
    return {name: folder / name for name in ("wide", "narrow")}


def test_costs_are_measured_in_processes_of_their_own(models: dict[str, Path]) -> None:
    folders = {name: path / "model" for name, path in models.items()}
    found = costs(folders, tokens=8, rounds=1, progress=Progress("costs", 2, "models"))
    for name, folder in folders.items():
        assert found[name]["bytes"] == (folder / "model.safetensors").stat().st_size
        assert found[name]["tokens_per_second"] > 0
    # the wide one holds 17 MB of weights, and what the processes have in common is in neither figure
    assert found["wide"]["memory_mb"] > 15 and found["narrow"]["memory_mb"] < found["wide"]["memory_mb"]


ORIGINAL = {"bytes": 400, "tokens_per_second": 10.0, "memory_mb": 50.0, "perplexity": 8.0, "repetition": 0.1,
            "score": 0.5}


def test_figures_against_the_original_and_what_breaks() -> None:
    candidate = {"bytes": 100, "tokens_per_second": 35.0, "memory_mb": 20.0, "perplexity": 8.4, "repetition": 0.13,
                 "score": 0.45, "win_rate": 0.48}
    measured = against(ORIGINAL, candidate)
    assert measured == pytest.approx({"size": 4, "speed": 3.5, "memory": 2.5, "perplexity": 1.05, "repetition": 0.03,
                                      "score": 0.9, "win_rate": 0.48})
    assert breaches(measured, {"size": 4.0, "speed": 3.0, "perplexity": 1.05, "win_rate": 0.48}) == []
    assert breaches(measured, {"size": 4.5, "perplexity": 1.02, "repetition": 0.05, "score": 0.95}) == [
        Breach("size", 4.0, 4.5), Breach("perplexity", 1.05, 1.02), Breach("score", 0.9, 0.95)]
    assert [one.figure for one in breaches(measured | {"perplexity": math.nan}, {"perplexity": 9.0})] == ["perplexity"]


def test_the_figures_that_have_a_limit() -> None:
    assert limits(WeighOptions()) == {"perplexity": 1.02}
    every = {"perplexity": 1.1, "repetition": 0.1, "score": 0.9, "win_rate": 0.4, "size": 2.0, "speed": 2.0,
             "memory": 1.0}
    assert limits(WeighOptions(**every)) == every


@given(st.dictionaries(st.sampled_from("abcdef"), st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1))
def test_the_frontier_is_that_of_brute_force(points: dict[str, tuple[int, int]]) -> None:
    figures = {name: {"size": size, "perplexity": loss} for name, (size, loss) in points.items()}
    kept = undominated(figures, "size", "perplexity")
    for name, (size, loss) in points.items():
        beaten = any(s >= size and p <= loss and (s, p) != (size, loss) for s, p in points.values())
        assert (name in kept) is not beaten
    assert [points[name][0] for name in kept] == sorted(points[name][0] for name in kept)


@pytest.mark.parametrize(("options", "cause"), [({"win_rate": 0.5}, "limit on win rate"),
                                                ({"score": 0.9}, "limit on score"),
                                                ({"repetition": 0.1}, "limit on repetition"), ({}, "no candidate")])
def test_a_limit_on_what_nothing_measures_is_refused(models: dict[str, Path], corpus: Path, tmp_path: Path,
                                                     options: dict[str, Any], cause: str) -> None:
    inputs = {"model": models["wide"], "validation": corpus} | ({"candidate_0": models["narrow"]} if options else {})
    with pytest.raises(UserError, match=cause):
        run(Step("weigh", tmp_path, inputs, WeighOptions(**options), 0, Log(tmp_path / "log.jsonl", "weigh", 1)))


def test_two_candidates_of_one_name_are_refused(models: dict[str, Path], corpus: Path, tmp_path: Path) -> None:
    for name in (tmp_path / "03-narrow", tmp_path / "original"):
        name.mkdir()
        inputs = {"model": models["wide"], "validation": corpus, "candidate_0": models["narrow"], "candidate_1": name}
        with pytest.raises(UserError, match=f"would be called '{name.name.removeprefix('03-')}'"):
            run(Step("weigh", tmp_path, inputs, WeighOptions(), 0, Log(tmp_path / "log.jsonl", "weigh", 1)))


def test_what_cannot_be_measured_is_said_by_the_process_that_measures(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be loaded as a model"):
        costs({"none": tmp_path}, tokens=8, rounds=1, progress=Progress("costs", 1, "models"))
