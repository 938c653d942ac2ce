"""The alignment tax: what PPO costs in language, and which of two ways takes it back (InstructGPT, figures 33 and 34).

    python experiments/alignment_tax.py [--json] [--quick] [--seeds 0 1 2]

From the fine-tuned model that the demo selects PPO learns with the demo's reward model, at each coefficient of the
pretraining mix (gamma) with the demo's penalty for divergence, and at each coefficient of that penalty (beta) without a
mix. Columns are those of standing.py: `tax` is the rise in log-perplexity of held-out pretraining text over the model
that PPO began from, so that below 0 the mix gave back what fine-tuning had taken. Intervals of 95 % are over seeds.
`recovered` compares the most of either: the tax without a mix, at the demo's penalty, less the tax at the largest
gamma, and at the largest beta; what that cost in preference stands in the rows. A cell that is done is not done again.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from foundation import asked, foundation, html_page, legend, over_seeds, run_script, told
from standing import TEMPERATURE, Village, needs, stood

from preceptor.report.figures import Line, line_chart

GAMMAS, BETAS, BETA = (0.0, 0.1, 0.3, 1.0, 3.0), (0.01, 0.1, 0.3, 1.0, 3.0), 0.1
FULL = {"iterations": 50, "episodes": 64, "test": 400}
QUICK = {"iterations": 1, "episodes": 16, "test": 12}


def cells() -> list[tuple[float, float]]:
    """(gamma, beta), the one that both sweeps share once."""
    return list(dict.fromkeys([*((gamma, BETA) for gamma in GAMMAS), *((0.0, beta) for beta in BETAS)]))


def name_of(gamma: float, beta: float) -> str:
    return f"gamma_{gamma:g}_beta_{beta:g}"


def step_of(base: Path, gamma: float, beta: float, size: dict[str, int]) -> dict[str, Any]:
    """The step of one cell."""
    options = {"temperature": TEMPERATURE, "iterations": size["iterations"], "episodes": size["episodes"],
               "kl_coefficient": beta}
    inputs = needs(base, ("policy", "reward", "prompts"))
    if gamma:
        options, inputs = options | {"ptx_coefficient": gamma, "ptx_rows": 4}, inputs | needs(base, ("corpus",))
    return {"name": name_of(gamma, beta), "stage": "rlhf", "needs": inputs, "options": options}


def one_seed(out: Path, seed: int, size: dict[str, int], quick: bool) -> dict[str, dict[str, float]]:
    """{cell: figures} of one world."""
    base = foundation(out, seed, "select", quick)
    village, folder = Village(base, seed, size["test"]), out / f"seed-{'quick-' if quick else ''}{seed}"
    return {name_of(*cell): stood(village, folder / name_of(*cell), step_of(base, *cell, size), seed)
            for cell in cells()}


COLUMNS = ("gold", "win_rate", "kl", "perplexity", "tax")


def collected(seeds: Sequence[dict[str, dict[str, float]]]) -> dict[str, Any]:
    rows = [{"gamma": gamma, "beta": beta, **{key: over_seeds([seed[name_of(gamma, beta)][key] for seed in seeds])
                                              for key in COLUMNS}} for gamma, beta in cells()]
    plain = [seed[name_of(0.0, BETA)]["tax"] for seed in seeds]
    recovered = {name: over_seeds([before - seed[name_of(*cell)]["tax"] for before, seed in zip(plain, seeds)])
                 for name, cell in (("gamma", (GAMMAS[-1], BETA)), ("beta", (0.0, BETAS[-1])))}
    return {"seeds": len(seeds), "rows": rows, "recovered": recovered}


def table(found: dict[str, Any]) -> str:
    lines = ["gamma   beta" + "".join(f"{name:>13}" for name in COLUMNS)]
    lines += [f"{row['gamma']:>5g}{row['beta']:>7g}" + "".join(f"{row[name]['mean']:>13.3f}" for name in COLUMNS)
              for row in found["rows"]]
    return "\n".join(lines)


STYLE = ".line {fill: none; stroke-width: 2} .grid {stroke: #ccc}\n"
COLOURS = ("#3b6fb6", "#b65c3b")


def page(found: dict[str, Any]) -> str:
    """Preference over the tax, a line for each sweep: up and to the left is better."""
    lines = []
    for name, rows in (("gamma", [row for row in found["rows"] if row["beta"] == BETA]),
                       ("beta", [row for row in found["rows"] if not row["gamma"]])):
        lines.append(Line(f"{name} from {min(row[name] for row in rows):g} to {max(row[name] for row in rows):g}",
                          [(row["tax"]["mean"], row["win_rate"]["mean"]) for row in rows]))
    return html_page("Alignment tax", "Win rate over the rise in log-perplexity", line_chart(lines) + legend(lines),
                     table(found), STYLE, [f"stroke: {tone}; color: {tone}" for tone in COLOURS])


def main() -> None:
    options = asked(__doc__, "alignment_tax", "one small world, one iteration of PPO")
    size = QUICK if options.quick else FULL
    found = collected([one_seed(options.out, seed, size, options.quick) for seed in options.seeds])
    told(found, options, "alignment_tax", table(found), page(found))


if __name__ == "__main__":
    run_script(main)
