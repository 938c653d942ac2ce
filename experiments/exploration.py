"""Exploration against exploitation: PPO over a grid of sampling temperatures and entropy bonuses.

    .venv/bin/python experiments/exploration.py runs/demo --json

Every cell is a step of one recipe that begins at the selected model of a finished demo, so that a sweep which was
killed goes on, and a cell that is done is not redone. Each policy is then asked the village's test prompts at
temperature 1, several times each: `gold` is what the oracle says of its answers, `proxy` what the reward model says
(intervals of 95 % over prompts), `distinct` the share of a prompt's answers that differ from each other; `kl` and
`entropy` are those of the last iteration, at the temperature of its own sampling.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import yaml
from foundation import folder_of, run_script

from preceptor.data.jsonl import read_jsonl
from preceptor.data.records import Prompt
from preceptor.generate.decoder import Request, Sampling
from preceptor.generate.local import LocalDecoder
from preceptor.metrics.intervals import bootstrap_mean
from preceptor.models.causal import load_causal
from preceptor.models.rewards import load_reward
from preceptor.recipe.load import load_recipe
from preceptor.recipe.runner import run_recipe
from preceptor.report.figures import Line, line_chart
from preceptor.run.files import write_json, write_text
from preceptor.run.log import read_log
from preceptor.tokenizer.chat import load_tokenizer
from preceptor.village.oracle import Oracle
from preceptor.village.stage import load_oracle

TEMPERATURES, ENTROPIES = (0.5, 0.7, 1.0, 1.3), (0.0, 0.003, 0.01, 0.03)
ANSWERS = 4  # to each prompt, from which `distinct` is counted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("demo", type=Path, help="folder of a finished run of the demo")
    parser.add_argument("--out", type=Path, default=Path("runs/exploration"))
    parser.add_argument("--iterations", type=int, default=25)
    parser.add_argument("--prompts", type=int, default=200, help="test prompts that each policy is asked")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    parser.add_argument("--quick", action="store_true", help="two temperatures, two bonuses, two iterations")
    options = parser.parse_args()
    grid = [(t, e) for t in TEMPERATURES for e in ENTROPIES]
    if options.quick:
        grid, options.iterations, options.prompts = [(t, e) for t in (0.7, 1.0) for e in (0.0, 0.03)], 2, 20
    oracle = load_oracle(folder_of(options.demo, "village"))  # before hours of work, not after
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "exploration.yaml"
    write_text(path, yaml.safe_dump(recipe_of(options.demo, grid, options.iterations), sort_keys=False))
    run_recipe(load_recipe(str(path)), options.out)
    rows = [measured(options.demo, options.out, *cell, options.prompts, oracle) for cell in grid]
    write_json(options.out / "exploration.json", {"rows": rows})
    write_text(options.out / "exploration.html", page(rows))
    print(json.dumps({"rows": rows}) if options.json else table(rows))


def name_of(temperature: float, entropy: float) -> str:
    return f"temperature_{temperature:g}_entropy_{entropy:g}"


def recipe_of(demo: Path, grid: Sequence[tuple[float, float]], iterations: int) -> dict[str, Any]:
    """One step of PPO for each cell, all from the same model, reward and prompts."""
    needs = {"policy": str(folder_of(demo, "select")), "reward": str(folder_of(demo, "reward")),
             "prompts": str(folder_of(demo, "village") / "prompts.train.jsonl")}
    return {"name": "exploration", "description": "PPO over sampling temperatures and entropy bonuses.",
            "steps": [{"name": name_of(t, e), "stage": "rlhf", "needs": needs,
                       "options": {"temperature": t, "entropy_coefficient": e, "iterations": iterations,
                                   "kl_coefficient": 0.05}} for t, e in grid]}


def measured(demo: Path, out: Path, temperature: float, entropy: float, count: int, oracle: Oracle) -> dict[str, Any]:
    """The row of one cell."""
    name = name_of(temperature, entropy)
    folder = folder_of(out, name) / "model"
    every = read_jsonl(folder_of(demo, "village") / "prompts.test.jsonl", Prompt)
    prompts = [prompt for prompt in every[:count] for _ in range(ANSWERS)]
    decoder = LocalDecoder(load_causal(folder), load_tokenizer(folder))
    answers = [answer.response for answer in decoder.answers(
        [Request(prompt, Sampling(), seed) for seed, prompt in enumerate(prompts)])]
    groups = [{answer.text for answer in answers[first:first + ANSWERS]} for first in range(0, len(answers), ANSWERS)]
    ids = [prompt.id for prompt in prompts]
    last = [line for line in read_log(out / "log.jsonl")[name].values() if "score" in line][-1]
    return {"temperature": temperature, "entropy_coefficient": entropy,
            "gold": bootstrap_mean(oracle.score(prompts, answers), ids).to_dict(),
            "proxy": bootstrap_mean(load_reward(folder_of(demo, "reward")).score(prompts, answers), ids).to_dict(),
            "distinct": fmean(len(group) / ANSWERS for group in groups), "kl": last["kl_k1"],
            "entropy": last["entropy"]}


def table(rows: Sequence[dict[str, Any]]) -> str:
    lines = ["temperature   bonus                gold   proxy  distinct     KL  entropy"]
    for row in rows:
        gold = f"{row['gold']['mean']:.2f} [{row['gold']['low']:.2f}, {row['gold']['high']:.2f}]"
        lines.append(f"{row['temperature']:>11g}  {row['entropy_coefficient']:>6g}  {gold:>18}  "
                     f"{row['proxy']['mean']:>6.2f}  {row['distinct']:>8.2f}  {row['kl']:>5.2f}  "
                     f"{row['entropy']:>7.2f}")
    return "\n".join(lines)


COLOURS = ("#3b6fb6", "#b65c3b", "#4d8f4d", "#8a5bb0")
STYLE = """body {max-width: 44em; margin: 2em auto; font: 16px sans-serif} text {font-size: 11px}
.line {fill: none; stroke-width: 2} .grid {stroke: #ccc}"""


def page(rows: Sequence[dict[str, Any]]) -> str:
    """Gold score over the entropy bonus, a line for each temperature, as a page that needs nothing else."""
    lines, style, names = [], [STYLE], []
    for order, temperature in enumerate(sorted({row["temperature"] for row in rows})):
        cells = [row for row in rows if row["temperature"] == temperature]
        lines.append(Line(f"temperature {temperature:g}",
                          [(row["entropy_coefficient"], row["gold"]["mean"]) for row in cells],
                          [(row["gold"]["low"], row["gold"]["high"]) for row in cells]))
        style.append(f".tone-{order} {{stroke: {COLOURS[order]}; color: {COLOURS[order]}}}")
        names.append(f'<span class="tone-{order}">{lines[-1].name}</span>')
    return (f"<!doctype html><meta charset=utf-8><title>Exploration</title><style>{' '.join(style)}</style>"
            f"<h1>Gold score by entropy bonus</h1>{line_chart(lines)}<p>{', '.join(names)}</p><pre>{table(rows)}</pre>")


if __name__ == "__main__":
    run_script(main)
