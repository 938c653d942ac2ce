"""Our scores are those of lm-evaluation-harness, by its own class for Hugging Face models and by our adapter."""

import json
from pathlib import Path
from typing import Any

import pytest

from preceptor.data.jsonl import write_jsonl
from preceptor.evaluate.suites.description import Task
from preceptor.evaluate.suites.examinee import LocalExaminee
from preceptor.evaluate.suites.items import arms
from preceptor.evaluate.suites.scorers import SCORERS

ROWS = [{"id": f"q{n}", "query": f"{word} went to the {place} and", "gold": n % 3, "said": f"home {n}",
         "choices": [f"the {place} was {n}", "did not come back", f"saw a {word}"]}
        for n, (word, place) in enumerate((word, place) for word in ("cat", "miller", "Ada", "old dog")
                                          for place in ("market", "well", "church", "mill"))]


def _theirs(model: Any, rows: Path, kind: str) -> dict[str, Any]:
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager
    config: dict[str, Any] = {
        "task": "ours", "dataset_path": "json", "dataset_kwargs": {"data_files": {"test": str(rows)}},
        "test_split": "test", "doc_to_text": "{{query}}", "num_fewshot": 0}
    if kind == "choice":
        config |= {"output_type": "multiple_choice", "doc_to_choice": "choices", "doc_to_target": "gold",
                   "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}]}
    else:
        config |= {"output_type": "generate_until", "doc_to_target": "{{said}}",
                   "generation_kwargs": {"until": ["\n"], "max_gen_toks": 8, "do_sample": False},
                   "metric_list": [{"metric": "exact_match"}]}
    manager = TaskManager(include_defaults=False)  # its own tasks are thousands of files to read
    return simple_evaluate(model=model, tasks=[config], task_manager=manager, bootstrap_iters=0, log_samples=True)


def test_scores_agree(models: dict[str, Path], tmp_path: Path) -> None:
    pytest.importorskip("lm_eval", reason="lm-evaluation-harness is not installed: this test compares with it")
    from lm_eval.models.huggingface import HFLM

    from preceptor.evaluate.suites.harness import harness_model
    rows, folder = tmp_path / "rows.jsonl", models["sft"] / "model"
    write_jsonl(rows, ROWS)
    task = Task(name="ours", file="rows.jsonl", scorer="choice", prompts={"basic": "{{ query }}"}, options="choices",
                gold="gold")
    [arm] = arms(task, tmp_path, 0, 0)
    examinee = LocalExaminee(folder, "sft", "plain")
    ours = SCORERS["choice"](task, arm, examinee, {}, 0).values
    nats = [one for one, _ in examinee.likelihoods([(item.prompt, " " + option) for item in arm.items
                                                    for option in item.options])]
    for model in (HFLM(pretrained=str(folder), batch_size=1, device="cpu"), harness_model(folder)):
        found = _theirs(model, rows, "choice")
        figures = found["results"]["ours"]
        assert figures["acc,none"] == pytest.approx(sum(ours["accuracy"]) / len(ROWS))
        assert figures["acc_norm,none"] == pytest.approx(sum(ours["accuracy_norm"]) / len(ROWS))
        samples = sorted(found["samples"]["ours"], key=lambda one: one["doc_id"])
        theirs = [float(said[0][0]) for one in samples for said in one["resps"]]
        assert theirs == pytest.approx(nats, abs=1e-3)
    written = [_theirs(model, rows, "answer")["samples"]["ours"] for model in
               (HFLM(pretrained=str(folder), batch_size=1, device="cpu"), harness_model(folder))]
    texts = [[one["resps"][0][0].strip() for one in sorted(some, key=lambda one: one["doc_id"])] for some in written]
    assert texts[0] == texts[1], json.dumps(texts)
