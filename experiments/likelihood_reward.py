"""What a reward model gains by counting an answer's likelihood: its agreement with the oracle, by kind of pair.

    .venv/bin/python experiments/demo_seeds.py --seeds 0 1 2
    .venv/bin/python experiments/likelihood_reward.py --runs runs/demo-seed-0 runs/demo-seed-1 runs/demo-seed-2 --json

For each run of the demo its reward model is trained again on the same rankings with each weight of the likelihood, and
judged on the pairs of held-out answers that the oracle sets apart. The last row is no reward model: the log-likelihood
of an answer under the fine-tuned model. Intervals are Student's t over runs (95 %). Each training takes about a minute
and a half; what is there already, in RUN/likelihood/WEIGHT, is not trained again.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path

import yaml

from preceptor.data.jsonl import read_jsonl
from preceptor.data.records import Comparison
from preceptor.data.reward import Reward
from preceptor.metrics.intervals import interval_over_seeds
from preceptor.models.reward_model import RewardModel
from preceptor.models.scalar import scalar_from_causal, set_likelihood_weight
from preceptor.run.files import write_json
from preceptor.village.oracle import Oracle, Verdict
from preceptor.village.stage import load_panel

Tally = dict[str, tuple[float, int]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, nargs="+", required=True, help="runs of the demo, each of its own seed")
    parser.add_argument("--weights", type=float, nargs="+", default=[0.0, 0.05, 0.15, 0.3])
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    parser.add_argument("--quick", action="store_true", help="the first run and two weights")
    parser.add_argument("--out", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    runs, weights = (options.runs[:1], [0.0, 0.15]) if options.quick else (options.runs, options.weights)
    found: dict[str, list[Tally]] = {}
    for run in runs:
        oracle = load_panel(run / "00-village").oracle
        held_out = read_jsonl(run / "04-comparisons" / "comparisons.valid.jsonl", Comparison)
        for name, reward in rewards(run, weights):
            found.setdefault(name, []).append(tally(reward, held_out, oracle))
    figures = {name: over_runs(tallies) for name, tallies in found.items()}
    if options.out:
        write_json(options.out, figures)
    print(json.dumps(figures) if options.json else json.dumps(figures, indent=2))


def rewards(run: Path, weights: Sequence[float]) -> Iterator[tuple[str, Reward]]:
    """A reward model for each weight, and the likelihood alone."""
    for weight in weights:
        yield f"likelihood {weight:g}", RewardModel(trained(run, weight))
    yield "likelihood alone", likelihood_alone(run)


def trained(run: Path, weight: float) -> Path:
    """The folder of the run's reward model, trained again with this weight."""
    recipe = yaml.safe_load((run / "recipe.yaml").read_text(encoding="utf-8"))
    options = next(step["options"] for step in recipe["steps"] if step["name"] == "reward")
    needs = {"model": "03-sft", "comparisons": "04-comparisons", "village": "00-village",
             "demonstrations": "00-village/demonstrations.train.jsonl"}
    step = {"name": "reward", "stage": "reward", "options": {**options, "likelihood": weight},
            "needs": {key: str((run / path).resolve()) for key, path in needs.items()}}
    folder = run / "likelihood" / f"{weight:g}"
    folder.parent.mkdir(exist_ok=True)
    path = folder.with_suffix(".yaml")
    path.write_text(yaml.safe_dump({"name": "likelihood", "description": "One weight of the likelihood.",
                                    "seed": recipe["seed"], "steps": [step]}), encoding="utf-8")
    subprocess.run([sys.executable, "-m", "preceptor.cli.main", "run", str(path), "--out", str(folder)], check=True,
                   stdout=sys.stderr)
    return folder / "00-reward" / "model"


def likelihood_alone(run: Path) -> RewardModel:
    """Log p(answer | prompt) under the fine-tuned model, as a reward: a head of zeros beside a weight of one."""
    reward = RewardModel(trained(run, 0.0))
    model = scalar_from_causal(run / "03-sft" / "model")
    model.score.weight.data.zero_()
    set_likelihood_weight(model, 1.0)
    reward.model = model.eval()
    return reward


def tally(reward: Reward, comparisons: Sequence[Comparison], oracle: Oracle) -> Tally:
    """Of the pairs that the oracle sets apart, how many the reward orders as it does, by kind: (right, of)."""
    tallies: Tally = {}
    for one in comparisons:
        scores = reward.score([one.prompt] * len(one.responses), one.responses)
        verdicts = [oracle.judge(one.prompt, response.text) for response in one.responses]
        for i, j in combinations(range(len(scores)), 2):
            gap = verdicts[i].overall - verdicts[j].overall
            if gap:
                right = 0.5 if scores[i] == scores[j] else float((scores[i] > scores[j]) == (gap > 0))
                for kind in ("all", differs_in(verdicts[i], verdicts[j])):
                    before = tallies.get(kind, (0.0, 0))
                    tallies[kind] = (before[0] + right, before[1] + 1)
    return tallies


def differs_in(one: Verdict, other: Verdict) -> str:
    """Whether two answers differ in accuracy alone, in concision alone, or otherwise."""
    names = ("accuracy", "relevance", "naturalness", "concision", "harmless")
    differing = [name for name in names if getattr(one, name) != getattr(other, name)]
    return f"{differing[0]} alone" if differing in (["accuracy"], ["concision"], ["relevance"]) else "more than one"


def over_runs(tallies: Sequence[Tally]) -> dict[str, dict[str, object]]:
    """Share of pairs in the oracle's order, by kind: each run's, and their interval."""
    figures = {}
    for kind in sorted({kind for one in tallies for kind in one}):
        values = [one[kind][0] / one[kind][1] for one in tallies if kind in one]
        figures[kind] = {"values": values, "pairs": sum(one[kind][1] for one in tallies if kind in one)}
        if len(values) > 1:
            figures[kind] |= interval_over_seeds(values).to_dict()
    return figures


if __name__ == "__main__":
    main()
