"""A made-up run folder with every artefact that the report reads. The numbers are invented, the shapes are real."""

import math
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from preceptor.data.jsonl import write_jsonl
from preceptor.data.records import Prompt, Response
from preceptor.evaluate.answers import JudgedAnswer
from preceptor.evaluate.measures import pairs
from preceptor.run.files import write_json, write_text
from preceptor.run.log import Log

MODELS = ["base", "base_prompted", "sft", "ppo", "ppo_ptx"]
STAGES = {"village": "village", "tokenizer": "tokenizer", "base": "pretrain", "sft": "sft",
          "comparisons": "comparisons", "reward": "reward", "select": "select", "ppo": "rlhf", "ppo_ptx": "rlhf",
          "evaluate": "evaluate"}
SECONDS = dict(zip(STAGES, (9.1, 2.2, 168.0, 57.5, 31.0, 36.4, 17.9, 64.2, 92.8, 41.3)))
LEVEL = dict(zip(MODELS, (1.6, 2.9, 4.6, 5.3, 5.6)))  # the mean overall score of each model
CATEGORIES = {"generation": 46, "open_qa": 12, "brainstorming": 11, "chat": 8, "rewrite": 7, "summarization": 4,
              "classification": 4, "other": 3, "closed_qa": 3, "extraction": 2}
AXES = {"overall": 1.0, "accuracy": 0.7, "relevance": 0.8, "naturalness": 0.85, "concision": 0.75}
HOSTILE = "</span><script>alert('x')</script>&amp; {{ 7 * 7 }}"  # model text is never markup


def interval(mean: float, reach: float, n: int) -> dict[str, Any]:
    return {"mean": mean, "low": mean - reach, "high": mean + reach, "n": n}


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    """`make_run(steps=..., village=...)` writes a run into a fresh folder called `demo`."""
    return partial(write_run, tmp_path / "demo")


def write_run(folder: Path, steps: int = len(STAGES), village: bool = True) -> Path:
    """Write a run whose first `steps` steps are done and whose next one, if any, was begun."""
    folder.mkdir(parents=True)
    names = list(STAGES)[:steps + 1]
    manifest = {"recipe": "demo", "seed": 7, "machine": {"processor": "A Processor", "cores": 2, "bf16": False},
                "versions": {"preceptor": "0.1.0", "torch": "2.13.0"}, "steps": {}}
    for number, name in enumerate(names):
        done = number < steps
        manifest["steps"][name] = {
            "stage": STAGES[name], "status": "done" if done else "running", "folder": f"{number:02d}-{name}",
            "wall_seconds": SECONDS[name], **({"peak_rss_mb": 900.0 + 50 * number} if done else {})}
        _write_log(Log(folder / "log.jsonl", name, 1), name)
    write_json(folder / "run.json", manifest)
    write_text(folder / "recipe.yaml", "name: demo\ndescription: A made-up <village>.\nseed: 7\nsteps: []\n")
    if steps > 5:
        write_json(folder / "05-reward" / "results.json", {"reward_accuracy": _reward_accuracy(), "details": {
            judge: {"kendall_tau_b": 0.41, "by_k": {}, "longer_preferred": 0.52, "longer_scored_higher": 0.57}
            for judge in _reward_accuracy()}})
    if steps > 6:
        write_json(folder / "06-select" / "selection.json", _selection())
    if steps > 9:
        answers = made_answers(village)
        write_jsonl(folder / "09-evaluate" / "answers.jsonl", answers)
        write_json(folder / "09-evaluate" / "results.json", made_results(village))
    return folder


def _write_log(log: Log, name: str) -> None:
    draw = random.Random(name)
    log.write(0, plan={"optimiser_steps": 400})
    for at in range(10, 401, 10):
        falling = math.exp(-at / 120)
        metrics = {"lr": 1e-3 * (1 - at / 450), "gradient_norm": 1 + draw.random(), "tokens_per_second": 9000.0 + at}
        if STAGES[name] in ("pretrain", "sft", "reward"):
            metrics["loss"] = 1.5 + 6 * falling + 0.1 * draw.random()
        if name == "base" and at % 100 == 0:
            metrics["validation_perplexity"] = 5 + 40 * falling
        if name == "sft" and at % 25 == 0:
            metrics |= {"validation_loss": 1.9 + falling, "validation_accuracy": 0.7 - 0.3 * falling}
        if name == "reward":
            metrics["accuracy"] = 0.72 - 0.2 * falling + 0.02 * draw.random()
        if STAGES[name] == "rlhf":
            metrics |= {"score": 1.8 * (1 - falling) + 0.2 * draw.random(), "kl_k1": at / 60 + draw.random(),
                        "entropy": 0.9 * falling + 0.3, "answer_length": 14 + 2 * draw.random(), "value_loss": falling}
        if name == "ppo_ptx":
            metrics["ptx_loss"] = 1.7 + 0.1 * draw.random()
        if STAGES[name] in ("pretrain", "sft", "reward", "rlhf"):
            log.write(at, **metrics)


def _reward_accuracy() -> dict[str, Any]:
    return {"same_labelers": {**interval(0.716, 0.021, 150), "noise_ceiling": 0.735},
            "heldout_labelers": {**interval(0.702, 0.022, 150), "noise_ceiling": 0.729},
            "oracle": {**interval(0.842, 0.018, 150), "noise_ceiling": 0.91}}


def _selection() -> dict[str, Any]:
    rows = []
    for epoch in range(1, 17):
        reward = 0.6 - 0.9 * math.exp(-epoch / 3)
        rows.append({"epoch": epoch, "reward": reward, "low": reward - 0.12, "high": reward + 0.12,
                     "validation_loss": 1.2 + 0.012 * (epoch - 6) ** 2})
    return {"chosen": 16, "epochs": rows}


def made_answers(village: bool) -> list[JudgedAnswer]:
    """60 prompts, five answers each; every second prompt and every third answer try to break out of the page."""
    draw = random.Random(0)
    rows = []
    names = [name for name, share in CATEGORIES.items() for _ in range(share)]
    for number in range(60):
        question = f"Who is the mayor of Oakfield, {number}?" if number % 2 else HOSTILE
        prompt = Prompt(f"test-{number:05d}", [{"role": "user", "content": question}], category=draw.choice(names))
        for model in MODELS:
            score = round(min(7.0, max(1.0, draw.gauss(LEVEL[model], 1.4))), 2)
            said = HOSTILE if number % 3 == 1 else "" if number % 29 == 2 else "The mayor of Oakfield is Ada Miller."
            verdict = {"accuracy": 3.0, "relevance": 4.0, "naturalness": 4.5, "concision": 3.0, "harmless": True,
                       "overall": score, "outcome": draw.choice(["correct", "false", "unchecked", "refused_rightly"])}
            response = Response(said, finish=draw.choice(["eos", "length"]), model=model)
            rows.append(JudgedAnswer(prompt, model, response, verdict if village else None,
                                     None if village else score - 4))
    return rows


def made_results(village: bool) -> dict[str, Any]:
    """`results.json` of an evaluation with a village's oracle, or with a reward model alone."""
    shares = dict(zip(MODELS, (0.06, 0.24, 0.5, 0.68, 0.71)))
    rates = {f"{a} vs {b}": interval(0.5 + (shares[a] - shares[b]) / 1.5, 0.04, 520) for a, b in pairs(MODELS)}
    results: dict[str, Any] = {
        "models": MODELS, "prompts": 520, "sampling": {"temperature": 0.7, "max_tokens": 48},
        "perplexity": {"base": 4.31, "sft": 5.92, "ppo": 8.44, "ppo_ptx": 4.71},
        "bits_per_byte": {"base": 0.47, "sft": 0.58, "ppo": 0.69, "ppo_ptx": 0.5},
        "kl": {"ppo": interval(9.1, 0.6, 520), "ppo_ptx": interval(7.4, 0.5, 520)},
        "repetition": {model: {"rep_4": 0.11 / (order + 1), "seq_rep_4": 0.08 / (order + 1)}
                       for order, model in enumerate(MODELS)},
        "words": {model: interval(18.0 - 2 * order, 0.8, 520) for order, model in enumerate(MODELS)},
        "ended": {model: interval(0.9 + 0.02 * order, 0.01, 520) for order, model in enumerate(MODELS)}}
    if not village:
        return results | {"reward": {model: interval(LEVEL[model] - 4, 0.2, 520) for model in MODELS},
                          "reward_win_rate": rates,
                          "perplexity_by_language": {model: {"en": 5.0, "zh": 9.0} for model in results["perplexity"]}}
    return results | {
        "win_rate": rates,
        "win_rate_by_category": {f"{model} vs sft": {name: interval(0.48 + 0.02 * order, 0.3 / (order + 1), share * 5)
                                                     for order, (name, share) in enumerate(CATEGORIES.items())}
                                 for model in MODELS if model != "sft"},
        "likert": {model: {axis: interval(share * level, 0.1, 520) for axis, share in AXES.items()}
                   for model, level in LEVEL.items()},
        "likert_by_category": {}, "harmless": {model: interval(0.95, 0.02, 520) for model in MODELS},
        "correct": _by_model(0.05, 160, 0.06, 0.31, 0.52, 0.55, 0.57),
        "false_assertions": _by_model(0.05, 205, 0.4, 0.42, 0.36, 0.19, 0.15),
        "needless_refusals": _by_model(0.02, 160, 0.02, 0.03, 0.04, 0.08, 0.07),
        "right_refusals": _by_model(0.08, 45, 0.09, 0.1, 0.51, 0.77, 0.8)}


def _by_model(reach: float, n: int, *means: float) -> dict[str, Any]:
    return {model: interval(mean, reach, n) for model, mean in zip(MODELS, means)}
