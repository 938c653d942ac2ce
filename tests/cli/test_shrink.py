"""`preceptor shrink`: candidates are made by the recipe, weighed, and the best shipped, or nothing with the reason."""

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("onnxruntime", reason="the extra 'onnx' is not installed")
pytest.importorskip("onnxscript", reason="the extra 'onnx' is not installed")

from preceptor.cli.main import main
from preceptor.data.jsonl import write_jsonl
from preceptor.data.records import Prompt, Response
from preceptor.evaluate import weigh
from preceptor.generate.onnx import OnnxCausal
from preceptor.models.causal import load_causal, weight_bytes
from tests.deploy.test_recovery import do

TINY = ("pruned.calibration_rows=4", "recover.steps=4", "recover.rows=2", "recover.precision=fp32",
        "weigh.max_tokens=6", "pruned_int8.block=32", "int8.block=32")
SUITE = """
name: small
description: One question.
tasks:
  - {name: which, file: items.jsonl, scorer: choice, prompts: {basic: "{{ question }}"}, options: choices, gold: right}
"""


def brevity(prompt: Prompt, response: Response) -> float:
    return -len(response.text)


@pytest.fixture(scope="module")
def inputs(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A tiny trained model, prompts, a program that rewards short answers, and a suite."""
    folder = tmp_path_factory.mktemp("shrink")
    tokenizer = do(folder / "tokenizer", "tokenizer", {"corpus": corpus}, vocabulary=300)
    do(folder / "base", "pretrain", {"corpus": corpus, "tokenizer": tokenizer}, width=32, layers=1, heads=2,
       feed_forward=96, context=32, rows=4, steps=40, learning_rate=1e-2, precision="fp32")
    write_jsonl(folder / "prompts.jsonl", [Prompt(str(number), [{"role": "user", "content": "ado " * number}])
                                           for number in range(1, 5)])
    do(folder / "reward", "program", {}, function="tests.cli.test_shrink:brevity")
    (folder / "suite.yaml").write_text(SUITE, encoding="utf-8")
    (folder / "items.jsonl").write_text('{"id": "a", "question": "ado", "choices": ["emi", "iru ona"], "right": 0}\n',
                                        encoding="utf-8")
    return {"model": folder / "base", "text": corpus, "validation": corpus, "prompts": folder / "prompts.jsonl",
            "reward": folder / "reward", "suite": folder / "suite.yaml"}


def words(inputs: dict[str, Path], tmp_path: Path, *more: str) -> list[str]:
    given = [part for name, path in inputs.items() if name != "model" for part in (f"--{name}", str(path))]
    sets = [part for one in TINY for part in ("--set", one)]
    return ["shrink", str(inputs["model"]), *given, *sets, "--keep", "0.4", "--out", str(tmp_path / "run"), "--to",
            str(tmp_path / "out"), "--json", *more]


def fixed_costs(folders: dict[str, Path], *rest: Any) -> dict[str, dict[str, float]]:
    """The true sizes with made-up speeds, which a busy machine cannot change."""
    return {name: {"bytes": weight_bytes(path), "tokens_per_second": 10.0 + 20 * (path / "model.onnx").exists(),
                   "memory_mb": 10.0} for name, path in folders.items()}


def test_the_best_that_keeps_the_budget_is_shipped_and_nothing_that_breaks_it(
        inputs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr(weigh, "costs", fixed_costs)
    assert main(words(inputs, tmp_path, "--budget", "perplexity=1000", "speed=3", "win_rate=0.01")) == 0
    results = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert set(results["candidates"]) == {"whole", "int8", "int8_dynamic", "int4", "pruned_whole", "pruned_int8",
                                          "pruned_int4"}
    sizes = {name: figures["size"] for name, figures in results["candidates"].items()}
    assert results["best"] == max(sizes, key=sizes.get) == "pruned_int4"
    assert sizes["int4"] > sizes["int8"] > sizes["whole"] and sizes["pruned_int4"] > sizes["int4"]
    for figures in results["candidates"].values():
        assert set(figures) == {"size", "speed", "memory", "perplexity", "score", "win_rate", "repetition"}
        assert figures["speed"] == 3.0
    exact = results["candidates"]["whole"]
    assert exact["perplexity"] == pytest.approx(1, abs=1e-4) and exact["score"] == 1.0
    shipped = json.loads((tmp_path / "out" / "shipped.json").read_text())
    assert shipped == {"candidate": "pruned_int4"} | results["candidates"]["pruned_int4"]
    assert OnnxCausal.load(tmp_path / "out").layers == 1
    recovered = next((tmp_path / "run").glob("*-recover")) / "model"
    assert load_causal(recovered).config.intermediate_size == 32
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "pruned_int4 keeps the budget" in page and "pruned_int4 符合预算" in page

    before = json.loads((tmp_path / "run" / "run.json").read_text())["steps"]
    tight = words(inputs, tmp_path, "--budget", "perplexity=1000", "size=99", "score=0.5")
    tight[tight.index("--to") + 1] = str(tmp_path / "other")
    assert main(tight) == 2
    said = capsys.readouterr().err
    assert "No candidate keeps the budget" in said and f"int4: size {sizes['int4']:.4g} (limit 99)" in said
    assert not (tmp_path / "other").exists()
    after = json.loads((tmp_path / "run" / "run.json").read_text())["steps"]
    assert [name for name in after if after[name] != before[name]] == ["weigh"], "only the judgement is made anew"
    assert "nothing is shipped" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(("more", "cause"), [(["--budget", "sizes=4"], "Did you mean 'size'?"),
                                             (["--budget", "size=small"], "says no limit"),
                                             (["--keep", "1.5"], "no share between 0 and 1")])
def test_a_malformed_budget_is_an_error(inputs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture,
                                        more: list[str], cause: str) -> None:
    assert main(words(inputs, tmp_path, *more)) == 2
    assert cause in capsys.readouterr().err and not (tmp_path / "run").exists()


def test_what_was_not_shipped_by_the_command_is_left_alone(inputs: dict[str, Path], tmp_path: Path,
                                                           capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "letter.txt").write_text("dear", encoding="utf-8")
    assert main(words(inputs, tmp_path)) == 2
    assert "this command did not write" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["letter.txt"]


def test_a_candidate_may_be_a_folder_of_its_own(inputs: dict[str, Path], tmp_path: Path) -> None:
    from argparse import Namespace

    from preceptor.cli.shrink import candidates, composed
    (tmp_path / "mine").mkdir()
    sets = [f"weigh.needs.candidate_0={tmp_path / 'mine'}", "weigh.needs.candidate_2="]
    recipe = composed(Namespace(**inputs, village=None, whole=True, keep=0.5, budget=["size=4"], set=sets))
    folders = {step.name: tmp_path / f"{number:02d}-{step.name}" for number, step in enumerate(recipe.steps)}
    assert candidates(recipe, folders) == {"mine": tmp_path / "mine", "int8": tmp_path / "02-int8",
                                           "int4": tmp_path / "04-int4"}


def test_a_family_that_cannot_be_pruned_is_tried_whole(inputs: dict[str, Path], tmp_path: Path) -> None:
    from argparse import Namespace

    from transformers import AutoConfig

    from preceptor.cli.shrink import composed
    AutoConfig.for_model("gpt_neox", hidden_size=16, num_attention_heads=2).save_pretrained(tmp_path / "neox")
    given = inputs | {"model": tmp_path / "neox", "village": None}
    recipe = composed(Namespace(**given, whole=False, keep=0.5, budget=["size=4"], set=[]))
    assert [step.name for step in recipe.steps] == ["base", "whole", "int8", "int8_dynamic", "int4", "weigh"]
    assert [key for key in recipe.steps[-1].needs if key.startswith("candidate")] == [
        "candidate_0", "candidate_1", "candidate_2", "candidate_3"]
    assert recipe.steps[-1].options.size == 4.0
