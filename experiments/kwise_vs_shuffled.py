"""All pairs of a prompt as one element of a batch, against pairs that are shuffled: which overfits?

    python experiments/kwise_vs_shuffled.py [--json] [--quick] [--seeds 0 1 2]

InstructGPT (arXiv 2203.02155, section 3.5): shuffled into one data set, the C(K, 2) pairs of a prompt make the reward
model overfit within a pass, as each answer is in K - 1 gradients; kept together they do not. Both are trained here on
the same rankings of the village's labelers, from the same fine-tuned model, with the same learning rate, as many
optimiser steps, and as many pairs in each. `kwise` has rows of a prompt with its K answers, `pairs` rows of a prompt
with two. After 1, 2 and 4 passes:

    train, valid    share of pairs in the labelers' order, of training prompts and of held-out ones
    train_nats, valid_nats    mean of -log sigmoid(r_w - r_l) over these pairs; 0.693 knows nothing
    lead            kwise less pairs, on valid and valid_nats, by seed: mean and 95 % interval over seeds

The plot shows the loss on held-out pairs over the passes.
"""

import math
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from statistics import fmean
from typing import Any

import yaml
from foundation import asked, folder_of, foundation, html_page, legend, over_seeds, run_script, told

from preceptor.data.jsonl import read_jsonl, write_jsonl
from preceptor.data.ranked import HELD_OUT
from preceptor.data.records import Comparison
from preceptor.metrics.rankings import accuracy
from preceptor.models.rewards import load_reward
from preceptor.recipe.load import load_recipe
from preceptor.recipe.runner import run_recipe
from preceptor.report.figures import Line, line_chart
from preceptor.reward.measure import score_comparisons
from preceptor.run.files import write_text

PASSES = (1, 2, 4)
LAYOUTS = ("kwise", "pairs")
ROWS = 4  # prompts in a batch of `kwise`
FIGURES = ("train", "valid", "train_nats", "valid_nats")


def as_pairs(comparison: Comparison) -> list[Comparison]:
    """Each pair that a ranking sets apart, as a ranking of its own."""
    ranks, found = comparison.ranks(), []
    for i, j in combinations(range(len(ranks)), 2):
        if ranks[i] != ranks[j]:
            said = [comparison.responses[i], comparison.responses[j]]
            found.append(Comparison(f"{comparison.id}/{i}/{j}", comparison.prompt, said,
                                    [[0], [1]] if ranks[i] < ranks[j] else [[1], [0]], comparison.labeler,
                                    comparison.kind))
    return found


def recipe_of(base: Path, data: dict[str, Path], rows: dict[str, int], passes: Sequence[int]) -> dict[str, Any]:
    """A reward step for each layout and number of passes."""
    steps = [{"name": f"{layout}_{count}", "stage": "reward",
              "needs": {"model": str(folder_of(base, "sft")), "comparisons": str(data[layout])},
              "options": {"rows": rows[layout], "epochs": count, "learning_rate": 1e-3}}
             for layout in LAYOUTS for count in passes]
    return {"name": "kwise_vs_shuffled", "description": "Pairs by prompt, and pairs shuffled.", "steps": steps}


def prepared(base: Path, out: Path) -> tuple[dict[str, Path], dict[str, int], dict[str, list[Comparison]]]:
    """The folders of comparisons, the rows of a batch, and what both layouts are measured on."""
    source = folder_of(base, "comparisons")
    train = read_jsonl(source / "comparisons.train.jsonl", Comparison)
    held = read_jsonl(source / HELD_OUT["same_labelers"], Comparison)
    pairs = [pair for one in train for pair in as_pairs(one)]
    data = {"kwise": out / "data" / "kwise", "pairs": out / "data" / "pairs"}
    for layout, records in (("kwise", train), ("pairs", pairs)):
        write_jsonl(data[layout] / "comparisons.train.jsonl", records)
        write_jsonl(data[layout] / HELD_OUT["same_labelers"], held)
    rankable = [one for one in train if len(one.ranking) > 1]
    rows = {"kwise": ROWS, "pairs": math.ceil(len(pairs) / math.ceil(len(rankable) / ROWS))}
    return data, rows, {"train": rankable[:len(held)], "valid": [one for one in held if len(one.ranking) > 1]}


def measured(folder: Path, sides: dict[str, list[Comparison]]) -> dict[str, float]:
    """Accuracy and loss of one reward model on training and held-out prompts."""
    reward, row = load_reward(folder), {}
    for side, comparisons in sides.items():
        scores = score_comparisons(reward, comparisons)
        row[side] = accuracy(comparisons, scores).mean
        row[f"{side}_nats"] = fmean(nats for one, values in zip(comparisons, scores) for nats in losses(one, values))
    return row


def losses(comparison: Comparison, scores: Sequence[float]) -> list[float]:
    """-log sigmoid(r_w - r_l) of each pair that the ranking sets apart."""
    ranks = comparison.ranks()
    margins = [(scores[i] - scores[j]) * (1 if ranks[i] < ranks[j] else -1)
               for i, j in combinations(range(len(ranks)), 2) if ranks[i] != ranks[j]]
    return [max(0.0, -margin) + math.log1p(math.exp(-abs(margin))) for margin in margins]


def one_seed(out: Path, seed: int, passes: Sequence[int], quick: bool) -> dict[str, dict[str, float]]:
    """{layout_passes: figures} of one world."""
    base = foundation(out, seed, "comparisons", quick)
    folder = out / f"seed-{'quick-' if quick else ''}{seed}"
    data, rows, sides = prepared(base, folder)
    write_text(folder / "recipe.yaml", yaml.safe_dump(recipe_of(base, data, rows, passes), sort_keys=False))
    run_recipe(load_recipe(str(folder / "recipe.yaml"), sets=[f"seed={seed}"]), folder)
    return {f"{layout}_{count}": measured(folder_of(folder, f"{layout}_{count}"), sides)
            for layout in LAYOUTS for count in passes}


def collected(seeds: Sequence[dict[str, dict[str, float]]], passes: Sequence[int]) -> dict[str, Any]:
    rows = [{"layout": layout, "passes": count,
             **{name: over_seeds([seed[f"{layout}_{count}"][name] for seed in seeds]) for name in FIGURES}}
            for layout in LAYOUTS for count in passes]
    lead = [{"passes": count, **{name: over_seeds([seed[f"kwise_{count}"][name] - seed[f"pairs_{count}"][name]
                                                   for seed in seeds]) for name in ("valid", "valid_nats")}}
            for count in passes]
    return {"seeds": len(seeds), "rows": rows, "lead": lead}


def table(found: dict[str, Any]) -> str:
    lines = ["layout  passes   train   valid  train nats  valid nats"]
    lines += [f"{row['layout']:<8}{row['passes']:>6}{row['train']['mean']:>8.1%}{row['valid']['mean']:>8.1%}"
              f"{row['train_nats']['mean']:>12.3f}{row['valid_nats']['mean']:>12.3f}" for row in found["rows"]]
    return "\n".join(lines)


STYLE = ".line {fill: none; stroke-width: 2} .grid {stroke: #ccc}\n"
COLOURS = ("#3b6fb6", "#b65c3b")


def page(found: dict[str, Any]) -> str:
    """The loss on held-out pairs over the passes, a line for each layout, as a page that needs nothing else."""
    lines = []
    for layout in LAYOUTS:
        rows = [row for row in found["rows"] if row["layout"] == layout]
        lines.append(Line(layout, [(row["passes"], row["valid_nats"]["mean"]) for row in rows],
                          [(one["low"], one["high"]) for row in rows if "low" in (one := row["valid_nats"])]))
    return html_page("Pairs by prompt or shuffled", "Loss on held-out pairs, in nats, by passes",
                     line_chart(lines) + legend(lines), table(found), STYLE,
                     [f"stroke: {tone}; color: {tone}" for tone in COLOURS])


def main() -> None:
    options = asked(__doc__, "kwise_vs_shuffled", "one small world, one pass")
    passes = PASSES[:1] if options.quick else PASSES
    found = collected([one_seed(options.out, seed, passes, options.quick) for seed in options.seeds], passes)
    told(found, options, "kwise_vs_shuffled", table(found), page(found))


if __name__ == "__main__":
    run_script(main)
