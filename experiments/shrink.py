"""How much smaller and faster does a model become within two per cent of its perplexity?

    python experiments/shrink.py --quick --json      the demo's size, trained for a minute
    python experiments/shrink.py --json              that and a network of 27 million weights, about an hour
    python experiments/shrink.py --model runs/demo/08-ppo_ptx --text train.jsonl --validation valid.jsonl --json

Each model goes through `preceptor shrink` with a budget of 1.02 on the perplexity; `size`, `speed` and `perplexity` are
those of what it ships, the smallest that keeps the budget (of the last model, where there are several). `speed` is
against the fp32 network in PyTorch, eager, in the same decoder, one answer at a time (64 tokens after 16). `models`
holds the same for each model, every candidate's figures, and `reached`: the names of those that are at least four times
smaller and three times faster within the budget. Measure on a quiet machine: the figures are of the clock.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from preceptor.cli.main import main as preceptor
from preceptor.recipe.load import load_recipe
from preceptor.recipe.runner import run_recipe
from preceptor.run.files import read_json
from preceptor.run.manifest import read_manifest

sys.path.insert(0, str(Path(__file__).parents[1]))
from experiments.foundation import QUICK, folder_of, upto

SIZES = {
    "demo": ("base.steps=1700",),
    "27M": ("base.width=512", "base.layers=8", "base.heads=8", "base.feed_forward=1408", "base.steps=300",
            "base.learning_rate=1e-3"),
}
SHORT = tuple(one for one in QUICK if not one.startswith("base.")) + ("base.steps=120",)
GOAL = {"size": 4.0, "speed": 3.0, "perplexity": 1.02}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    parser.add_argument("--quick", action="store_true", help="the demo's size alone, trained and recovered less")
    parser.add_argument("--model", type=Path, help="weigh this causal model instead (with --text and --validation)")
    parser.add_argument("--text", type=Path, help="documents (.jsonl) to score weights and recover on")
    parser.add_argument("--validation", type=Path, help="documents (.jsonl) for the perplexity")
    parser.add_argument("--out", type=Path, default=Path("runs/experiments/shrink"))
    options = parser.parse_args()
    if options.model:
        if not (options.text and options.validation):
            parser.error("--model needs --text and --validation")
        asked = {options.model.resolve().name: (options.model, options.text, options.validation)}
    else:
        asked = {name: trained(name, options.out, options.quick) for name in list(SIZES)[:1 if options.quick else None]}
    found = {name: shrunk(options.out / name, *given, options.quick) for name, given in asked.items()}
    last = found[list(found)[-1]]
    figures = {**{name: last[name] for name in GOAL}, "models": found}
    print(json.dumps(figures) if options.json else json.dumps(figures, indent=2))


def trained(name: str, out: Path, quick: bool) -> tuple[Path, Path, Path]:
    """The base of the demo in some size: its folder, its corpus and its validation text."""
    folder = out / f"{name}-base{'-quick' if quick else ''}"
    run_recipe(upto(load_recipe("demo", sets=SHORT if quick else SIZES[name]), "base"), folder)
    village = folder_of(folder, "village")
    return folder_of(folder, "base"), village / "corpus.jsonl", village / "corpus_valid.jsonl"


def shrunk(out: Path, model: Path, text: Path, validation: Path, quick: bool) -> dict[str, Any]:
    """What `preceptor shrink` makes of a model."""
    run = out / "run"
    less = ("--set", "recover.steps=40", "--set", "weigh.rounds=1") if quick else ()
    code = preceptor(["shrink", str(model), "--text", str(text), "--validation", str(validation), "--budget",
                      f"perplexity={GOAL['perplexity']}", "--out", str(run), "--to", str(out / "shipped"), *less])
    results = read_json(run / read_manifest(run)["steps"]["weigh"]["folder"] / "results.json")
    candidates = results["candidates"]
    reached = [name for name, one in candidates.items() if one["size"] >= GOAL["size"]
               and one["speed"] >= GOAL["speed"] and one["perplexity"] <= GOAL["perplexity"]]
    best = results.get("best") or min(candidates, key=lambda name: candidates[name]["perplexity"])
    return {**{name: candidates[best][name] for name in GOAL}, "candidate": best, "shipped": code == 0,
            "reached": reached, "original": results["figures"]["original"], "candidates": candidates}


if __name__ == "__main__":
    main()
