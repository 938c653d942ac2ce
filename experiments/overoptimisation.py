"""How far a proxy reward can be pushed before the truth falls (Gao et al. 2022, arXiv 2210.10760), on the village.

    python experiments/overoptimisation.py [--json] [--quick] [--seeds 0 1 2]

Gold is the village's oracle. Proxies are reward models of several sizes, each pretrained on the village's corpus, that
learn from several numbers of rankings by the oracle, without noise. Each proxy pushes the fine-tuned model

    best_of_n   choosing the best of n of its answers, n up to 64 (each n from all subsets of the answers sampled)
    rl          by PPO without a penalty for divergence; gold is what the oracle says of the answers it learns from

Rewards are less their mean over the model's own answers, and over their deviation; d is the square root of the
divergence from that model in nats an answer (k3; best of n: log n - (n - 1)/n, an upper bound where answers repeat).
For each curve, averaged over seeds: `alpha`, `beta` and `r2` of d (alpha - beta d) and d (alpha - beta log d), the
highest gold and where it is, and the proxy's accuracy on held-out rankings by the oracle. The plots draw both over d.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any

import yaml
from foundation import asked, folder_of, foundation, html_page, legend, run_script, told

from preceptor.data.jsonl import read_jsonl, write_jsonl
from preceptor.data.ranked import HELD_OUT
from preceptor.data.records import Comparison, Prompt, Response
from preceptor.data.reward import Reward
from preceptor.generate.decoder import Request, Sampling
from preceptor.generate.local import LocalDecoder
from preceptor.learn.fit import fit
from preceptor.metrics.overoptimisation import best_of_n, fit_frontier, kl_best_of_n
from preceptor.models.causal import load_causal
from preceptor.models.reward_model import RewardModel
from preceptor.models.scalar import scalar_from_causal
from preceptor.recipe.load import load_recipe
from preceptor.recipe.runner import run_recipe
from preceptor.report.figures import Line, line_chart
from preceptor.reward.measure import ranked_by
from preceptor.rlhf.algorithms import ppo
from preceptor.rlhf.batches import RolloutBatches
from preceptor.rlhf.networks import Networks
from preceptor.rlhf.options import PpoOptions
from preceptor.rlhf.rollouts import Rollouts
from preceptor.run.files import read_json, write_json, write_text
from preceptor.run.log import Log, read_log
from preceptor.run.progress import Progress
from preceptor.tokenizer.chat import load_tokenizer
from preceptor.village.stage import load_oracle

TEMPERATURE = 0.7
FULL = {"widths": (32, 64, 128), "rankings": (40, 200, 1000), "steps": 1000, "prompts": 100, "answers": 64,
        "iterations": 60}
QUICK = {"widths": (16, 32), "rankings": (12, 40), "steps": 20, "prompts": 8, "answers": 8, "iterations": 4}
Point = dict[str, float]  # d, gold, proxy


def recipe_of(base: Path, data: Path, size: dict[str, Any]) -> dict[str, Any]:
    """For each width a base model, and for each number of rankings a proxy from it."""
    village, tokenizer = folder_of(base, "village"), folder_of(base, "tokenizer")
    steps: list[dict[str, Any]] = []
    for width in size["widths"]:
        steps.append({"name": f"base_{width}", "stage": "pretrain",
                      "needs": {"corpus": str(village / "corpus.jsonl"), "tokenizer": str(tokenizer)},
                      "options": {"width": width, "layers": 2 if width < 64 else 4, "heads": max(2, width // 32),
                                  "feed_forward": 2 * width, "rows": 4, "steps": size["steps"]}})
        steps += [{"name": f"proxy_{width}_{count}", "stage": "reward",
                   "needs": {"model": f"base_{width}", "comparisons": str(data / str(count))},
                   "options": {"rows": 2, "learning_rate": 1e-3}} for count in size["rankings"]]
    return {"name": "overoptimisation", "description": "Proxy rewards of several sizes.", "steps": steps}


def gold_rankings(base: Path, data: Path, counts: Sequence[int]) -> None:
    """The answers of the comparisons step in the oracle's order, by the number of prompts."""
    oracle, source = load_oracle(folder_of(base, "village")), folder_of(base, "comparisons")
    sides = {name: [ranked_by(oracle, one) for one in read_jsonl(source / name, Comparison)]
             for name in ("comparisons.train.jsonl", HELD_OUT["same_labelers"])}
    for count in counts:
        for name, rankings in sides.items():
            write_jsonl(data / str(count) / name, rankings[:count] if "train" in name else rankings)


class Pool:
    """Many answers of the model to each of some prompts, with the oracle's word; the scale on which all is drawn."""

    def __init__(self, base: Path, prompts: int, answers: int, seed: int) -> None:
        folder = folder_of(base, "sft") / "model"
        tested = read_jsonl(folder_of(base, "village") / "prompts.test.jsonl", Prompt)
        self.others = tested[prompts:]
        """Prompts of the same kind, which no proxy has seen either."""
        self.answers, self.prompts = answers, [prompt for prompt in tested[:prompts] for _ in range(answers)]
        sampling = Sampling(temperature=TEMPERATURE)
        decoder = LocalDecoder(load_causal(folder), load_tokenizer(folder))
        requests = [Request(prompt, sampling, seed * 1_000_003 + n) for n, prompt in enumerate(self.prompts)]
        self.responses = [answer.response for answer in decoder.answers(requests)]
        self.gold = load_oracle(folder_of(base, "village")).score(self.prompts, self.responses)

    def curve(self, proxy: Sequence[float]) -> list[Point]:
        """Gold and proxy of the best of n, n in powers of two."""
        gold, found = scaled(self.gold, self.gold), []
        proxy = scaled(proxy, proxy)
        for n in (2 ** power for power in range(self.answers.bit_length())):
            spans = [slice(first, first + self.answers) for first in range(0, len(gold), self.answers)]
            found.append({"d": kl_best_of_n(n) ** 0.5,
                          "gold": fmean(best_of_n(proxy[span], gold[span], n) for span in spans),
                          "proxy": fmean(best_of_n(proxy[span], proxy[span], n) for span in spans)})
        return found


def scaled(values: Sequence[float], reference: Sequence[float]) -> list[float]:
    """In deviations from the mean of the reference."""
    mean, deviation = fmean(reference), pstdev(reference) or 1.0
    return [(value - mean) / deviation for value in values]


class Watched:
    """A proxy that a policy learns from, while the oracle is asked as well."""

    def __init__(self, proxy: Reward, oracle: Reward) -> None:
        self.proxy, self.oracle = proxy, oracle
        self.scores: list[tuple[list[float], list[float]]] = []

    def score(self, prompts: Sequence[Prompt], responses: Sequence[Response]) -> list[float]:
        found = self.proxy.score(prompts, responses)
        self.scores.append((found, self.oracle.score(prompts, responses)))
        return found


def pushed(base: Path, proxy: RewardModel, pool: Pool, pool_scores: Sequence[float], folder: Path, iterations: int,
           seed: int) -> list[Point]:
    """Gold and proxy along a run of PPO without a penalty for divergence, one point an iteration."""
    shutil.rmtree(folder, ignore_errors=True)  # what the oracle said is in no checkpoint, so that a run begins anew
    folder.mkdir(parents=True)
    model = folder_of(base, "sft") / "model"
    tokenizer = load_tokenizer(model)
    options = PpoOptions(iterations=iterations, kl_coefficient=0.0, temperature=TEMPERATURE, ema=0.0,
                         missing_end_penalty=0.0, score_scale="reference")
    networks = Networks(load_causal(model), load_causal(model), scalar_from_causal(model, seed))
    watched = Watched(proxy, load_oracle(folder_of(base, "village")))
    rollouts = Rollouts(networks, LocalDecoder(networks.policy, tokenizer, rows=options.episodes), watched, ppo,
                        options, tokenizer.pad_token_id)
    batches = RolloutBatches(rollouts, pool.others, options, seed)
    fit(networks, batches, batches.loss, options, folder=folder, log=Log(folder / "log.jsonl", "rl", 1),
        progress=Progress(folder.name, batches.total), rates={"value": options.value_learning_rate},
        after_step=lambda number: batches.end_step())
    logged = [line["kl_k3"] for _, line in sorted(read_log(folder / "log.jsonl")["rl"].items()) if "kl_k3" in line]
    return [{"d": kl ** 0.5, "gold": fmean(scaled(gold, pool.gold)),
             "proxy": fmean(scaled(said, pool_scores))}
            for kl, (said, gold) in zip(logged, watched.scores, strict=True)]


def one_seed(out: Path, seed: int, size: dict[str, Any], quick: bool) -> dict[str, Any]:
    """{proxy: accuracy, and the points of both curves} of one world; a proxy that is done is not done again."""
    base = foundation(out, seed, "comparisons", quick)
    folder = out / f"seed-{'quick-' if quick else ''}{seed}"
    gold_rankings(base, folder / "data", size["rankings"])
    write_text(folder / "recipe.yaml", yaml.safe_dump(recipe_of(base, folder / "data", size), sort_keys=False))
    run_recipe(load_recipe(str(folder / "recipe.yaml"), sets=[f"seed={seed}"]), folder)
    pool, found = Pool(base, size["prompts"], size["answers"], seed), {}
    for name in [f"proxy_{width}_{count}" for width in size["widths"] for count in size["rankings"]]:
        done = folder / "curves" / f"{name}.json"
        if not done.exists():
            step = folder_of(folder, name)
            proxy = RewardModel(step / "model")
            scores = proxy.score(pool.prompts, pool.responses)
            accuracy = read_json(step / "results.json")["reward_accuracy"].get("same_labelers", {}).get("mean", 0.5)
            write_json(done, {"accuracy": accuracy, "best_of_n": pool.curve(scores), "rl": pushed(
                base, proxy, pool, scores, folder / "rl" / name, size["iterations"], seed)})
        found[name] = read_json(done)
    return found


def averaged(curves: Sequence[Sequence[Point]]) -> list[Point]:
    """Point by point over seeds."""
    return [{key: fmean(point[key] for point in points) for key in ("d", "gold", "proxy")}
            for points in zip(*curves, strict=True)]


def collected(seeds: Sequence[dict[str, Any]], size: dict[str, Any]) -> dict[str, Any]:
    rows = []
    for width in size["widths"]:
        for count in size["rankings"]:
            runs = [seed[f"proxy_{width}_{count}"] for seed in seeds]
            for method in ("best_of_n", "rl"):
                points = averaged([run[method] for run in runs])
                best = max(points, key=lambda point: point["gold"])
                rows.append({"method": method, "width": width, "rankings": count,
                             "accuracy": fmean(run["accuracy"] for run in runs),
                             **fit_frontier([p["d"] for p in points], [p["gold"] for p in points], method).to_dict(),
                             "peak_gold": best["gold"], "peak_d": best["d"], "last_gold": points[-1]["gold"],
                             "points": points})
    return {"seeds": len(seeds), "rows": rows}


def table(found: dict[str, Any]) -> str:
    lines = ["method     width  rankings  accuracy   alpha    beta     R2  peak gold  at d  last gold"]
    lines += [f"{row['method']:<10}{row['width']:>6}{row['rankings']:>10}{row['accuracy']:>10.1%}{row['alpha']:>8.3f}"
              f"{row['beta']:>8.3f}{row['r2']:>7.2f}{row['peak_gold']:>11.3f}{row['peak_d']:>6.2f}"
              f"{row['last_gold']:>11.3f}" for row in found["rows"]]
    return "\n".join(lines)


COLOURS = ("#3b6fb6", "#b65c3b", "#4d8f4d", "#8a5bb0", "#888833", "#338888")
STYLE = ".line {fill: none; stroke-width: 2} .grid {stroke: #ccc}\n"


def page(found: dict[str, Any]) -> str:
    """Gold and proxy over d, for each method and number of rankings, as a page that needs nothing else."""
    parts = []
    for method in ("best_of_n", "rl"):
        for count in sorted({row["rankings"] for row in found["rows"]}):
            rows = [row for row in found["rows"] if (row["method"], row["rankings"]) == (method, count)]
            lines = [Line(f"{kind}, width {row['width']}", sorted((p["d"], p[kind]) for p in row["points"]))
                     for row in rows for kind in ("gold", "proxy")]
            parts.append(f"<h2>{method}, {count} rankings, over d</h2>{line_chart(lines)}{legend(lines)}")
    return html_page("Over-optimisation", "Gold and proxy reward", "".join(parts), table(found), STYLE,
                     [f"stroke: {tone}; color: {tone}" for tone in COLOURS])


def main() -> None:
    options = asked(__doc__, "overoptimisation", "one small world, two sizes, four iterations")
    size = QUICK if options.quick else FULL
    found = collected([one_seed(options.out, seed, size, options.quick) for seed in options.seeds], size)
    told(found, options, "overoptimisation", table(found), page(found))


if __name__ == "__main__":
    run_script(main)
