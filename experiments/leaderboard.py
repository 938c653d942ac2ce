"""Every algorithm on the village, at equal compute: which of them makes the best assistant, and at what price?

    python experiments/leaderboard.py [--json] [--quick] [--seeds 0 1 2]

All begin at the fine-tuned model that the demo selects, with the demo's reward model or the rankings that it learned
from. Compute is counted in passes over a prompt with its answer: writing one, scoring it, reading it for the reference
or for a value network 1 each, learning from it 3 for each network that learns. The budget is that of the demo's PPO;
each algorithm has as many iterations, prompts or epochs as come nearest to it, and `compute` is what it used, PPO being
1. Neither labels nor the reward model, which some need and others do not, are counted.

Columns are those of standing.py; `tokens_per_second` are tokens read, written or learned from (those passes, each of
the mean length of a prompt with its answer) a second of processor time. Intervals of 95 % are over seeds, each a world
of its own. The plot has the oracle's score over the square root of the divergence. What is done is not done again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from foundation import asked, folder_of, foundation, html_page, legend, over_seeds, run_script, told
from standing import TEMPERATURE, Village, needs, stood

from preceptor.data.jsonl import read_jsonl, write_jsonl
from preceptor.data.records import Comparison, Prompt
from preceptor.report.figures import Line, line_chart
from preceptor.tokenizer.chat import encode_prompt, load_tokenizer

FULL = {"iterations": 50, "episodes": 64, "answers": 8, "test": 400}
QUICK = {"iterations": 1, "episodes": 16, "answers": 2, "test": 12}
DEMO = {"temperature": TEMPERATURE, "kl_coefficient": 0.1}
DR_GRPO = {"averaging": "constant", "divide_by_deviation": False, "kl_coefficient": 0.0, "kl_loss": "none"}
DAPO = {"averaging": "token", "clip_high": 0.28, "resampling_rounds": 1, "overlong_tokens": 8, "kl_coefficient": 0.0,
        "kl_loss": "none"}
# Of an episode: written and scored, then what reads it without learning, and how many networks learn from it.
ONLINE: dict[str, tuple[dict[str, Any], int, int]] = {
    "ppo": (DEMO, 2, 2), "ppo_ptx": (DEMO | {"ptx_coefficient": 1.0, "ptx_rows": 4}, 2, 2), "nlpo": (DEMO, 3, 2),
    "a2c": (DEMO, 2, 2), "rloo": (DEMO, 1, 1), "grpo": (DEMO, 1, 1),
    "dr_grpo": (DEMO | DR_GRPO, 0, 1), "dapo": (DEMO | DAPO, 2, 1)}  # dapo: groups written again, all at most
RANKED = {"dpo": True, "ipo": True, "kto": True, "orpo": False, "simpo": False, "ilql": False}  # is there a reference?
CHOSEN = ("best_of_n", "rejection_sampling")
ALGORITHM = {"ppo_ptx": "ppo", "dr_grpo": "grpo", "dapo": "grpo"}
NAMES = (*ONLINE, *RANKED, *CHOSEN)
PTX_TOKENS = 4 * 4 * 256  # rows, minibatches and context of the demo's PPO-ptx: pretraining tokens of an iteration
EPOCHS = 2  # over the chosen answers; of rejection sampling, which keeps more than one, as if it kept one


@dataclass(frozen=True)
class Plan:
    """What an algorithm is told, on how many prompts, and how many passes it makes of it."""

    options: dict[str, Any]
    passes: float
    prompts: int = 0
    """Of those that are answered anew; 0: all."""


def budget(size: dict[str, int]) -> float:
    """Passes of the demo's PPO."""
    return passes("ppo", 0.0) * size["episodes"] * size["iterations"]


def passes(name: str, ptx: float) -> float:
    """Passes of an online algorithm over an episode; `ptx`: pretraining text learned from beside it, in episodes."""
    _, reading, learning = ONLINE[name]
    return 2 + reading + 3 * learning + (3 * ptx if name == "ppo_ptx" else 0)


def planned(name: str, size: dict[str, int], answers: int, tokens: float) -> Plan:
    """What brings an algorithm nearest to the budget, with `answers` ranked answers of `tokens` with their prompts."""
    if name in ONLINE:
        ptx = PTX_TOKENS / (tokens * size["episodes"])
        each = passes(name, ptx) * size["episodes"]
        count = max(1, round(budget(size) / each))
        return Plan(ONLINE[name][0] | {"iterations": count, "episodes": size["episodes"]}, count * each)
    if name in RANKED:
        epochs = max(1, round((budget(size) / answers - RANKED[name]) / 3))
        return Plan({"epochs": epochs}, (RANKED[name] + 3 * epochs) * answers)
    each = 2 * size["answers"] + 3 * EPOCHS
    prompts = max(1, round(budget(size) / each))
    return Plan({"answers": size["answers"], "epochs": EPOCHS, "temperature": TEMPERATURE, "rows": 4},
                prompts * each, prompts)


def one_row(name: str, plan: Plan, base: Path, folder: Path, village: Village) -> dict[str, float]:
    """Train one algorithm, and say how its policy stands."""
    inputs = needs(base, ("policy", "comparisons") if name in RANKED else ("policy", "reward", "prompts"))
    if name == "ppo_ptx":
        inputs |= needs(base, ("corpus",))
    if plan.prompts:
        some = read_jsonl(Path(inputs["prompts"]), Prompt)[:plan.prompts]
        inputs["prompts"] = str((folder / f"prompts.{name}.jsonl").resolve())
        write_jsonl(Path(inputs["prompts"]), some)
    step = {"name": name, "stage": "rlhf", "needs": inputs,
            "options": {"algorithm": ALGORITHM.get(name, name), **plan.options}}
    return stood(village, folder / name, step, village.seed)


def one_seed(out: Path, seed: int, size: dict[str, int], quick: bool) -> dict[str, dict[str, float]]:
    """{algorithm: figures} of one world."""
    base = foundation(out, seed, "select", quick)
    village = Village(base, seed, size["test"])
    folder = out / f"seed-{'quick-' if quick else ''}{seed}"
    rankings = read_jsonl(folder_of(base, "comparisons") / "comparisons.train.jsonl", Comparison)
    answers, tokens = sum(len(one.responses) for one in rankings), mean_tokens(village.start, rankings)
    found = {}
    for name in NAMES:
        plan = planned(name, size, answers, tokens)
        row = one_row(name, plan, base, folder, village)
        found[name] = row | {"compute": plan.passes / budget(size),
                             "tokens_per_second": plan.passes * tokens / row["seconds"]}
    return found


def mean_tokens(model: Path, rankings: Sequence[Comparison]) -> float:
    """Tokens of a prompt with one of its answers."""
    tokenizer = load_tokenizer(model)
    return fmean(len(encode_prompt(tokenizer, one.prompt)) + len(answer.token_ids or ())
                 for one in rankings for answer in one.responses[:1])


COLUMNS = ("compute", "gold", "win_rate", "kl", "perplexity", "tax", "tokens_per_second", "megabytes")


def collected(seeds: Sequence[dict[str, dict[str, float]]]) -> dict[str, Any]:
    """A row for each algorithm, best first."""
    rows = [{"algorithm": name, **{key: over_seeds([seed[name][key] for seed in seeds]) for key in COLUMNS}}
            for name in seeds[0]]
    return {"seeds": len(seeds), "rows": sorted(rows, key=lambda row: -row["gold"]["mean"])}


def table(found: dict[str, Any]) -> str:
    lines = [f"{'algorithm':<20}" + "".join(f"{name:>18}" for name in COLUMNS)]
    lines += [f"{row['algorithm']:<20}" + "".join(f"{row[name]['mean']:>18.3f}" for name in COLUMNS)
              for row in found["rows"]]
    return "\n".join(lines)


STYLE = """body {max-width: 60em} .line {fill: none; stroke: none} .grid {stroke: #ccc}
.dot {fill: currentColor} .bar {stroke: currentColor}
"""


def page(found: dict[str, Any]) -> str:
    """The oracle's score over the square root of the divergence, a dot for each algorithm."""
    lines = [Line(row["algorithm"], [(max(row["kl"]["mean"], 0.0) ** 0.5, row["gold"]["mean"])],
                  [(row["gold"].get("low", row["gold"]["mean"]), row["gold"].get("high", row["gold"]["mean"]))])
             for row in found["rows"]]
    tones = [f"color: hsl({360 * place // len(lines)} 60% 40%)" for place in range(len(lines))]
    return html_page("Leaderboard", "The oracle's score over the square root of nats from the start",
                     line_chart(lines) + legend(lines), table(found), STYLE, tones)


def main() -> None:
    options = asked(__doc__, "leaderboard", "one small world, one iteration of PPO")
    size = QUICK if options.quick else FULL
    found = collected([one_seed(options.out, seed, size, options.quick) for seed in options.seeds])
    told(found, options, "leaderboard", table(found), page(found))


if __name__ == "__main__":
    run_script(main)
