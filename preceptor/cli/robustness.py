"""`preceptor evaluate MODEL --robustness PROMPTS`: what spoilt prompts do to each model's answers."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from preceptor.cli.evaluate import models, say
from preceptor.run.errors import UserError


def robustness(options: argparse.Namespace) -> None:
    """Measure every model; prints a table or one JSON object, and writes OUT/robustness.json.

    Raises:
        UserError: a model, the prompts or the village cannot be read, and what to do.
    """
    from transformers.utils.logging import disable_progress_bar

    from preceptor.data.jsonl import read_jsonl
    from preceptor.data.records import Prompt
    from preceptor.evaluate.robustness.measure import robustness as measured
    from preceptor.evaluate.robustness.village import VillageVariants
    from preceptor.models.rewards import load_reward
    from preceptor.run.files import write_json
    from preceptor.village.stage import load_oracle
    if options.judge or options.labels or options.task:
        raise UserError("--judge, --labels and --task belong to suites, not to --robustness.", "Leave them out.")
    disable_progress_bar()
    prompts = read_jsonl(options.robustness, Prompt)
    village = VillageVariants(load_oracle(options.village)) if options.village else None
    prompts = [prompt for prompt in prompts if village is None or village.suits(prompt)]
    reward = load_reward(options.reward) if options.reward else None
    found = {}
    for name, address, form in models(options.models, options.form):
        found[name] = measured(prompts[:options.limit or None], _answers(name, address, form, options.seed),
                               seed=options.seed, village=village, reward=reward)
        say(f"{name} done")
    out = (options.out or Path("evaluations") / "robustness") / "robustness.json"
    write_json(out, found)
    print(json.dumps(found) if options.json else table(found))
    say(f"written: {out}")


def _answers(name: str, address: str, form: str, seed: int) -> Any:
    """A function from prompts to greedy answers of a model."""
    from preceptor.evaluate.suites.examinee import examinee
    from preceptor.generate.decoder import Request, Sampling
    model = examinee(address, name, form)
    sampling = Sampling(temperature=0.0, max_tokens=64, stop=("\n",) if form == "plain" else ())

    def answers(prompts: Sequence[Any]) -> list[str]:
        found = model.decoder.answers([Request(prompt, sampling, seed) for prompt in prompts])
        return [one.response.text.strip() for one in found]
    return answers


def table(found: dict[str, dict[str, dict[str, Any]]]) -> str:
    """A line for each kind of prompt and figure, a column for each model; half the width of the interval beside it."""
    kinds = {kind: list(dict.fromkeys(name for figures in found.values() for name in figures.get(kind, {})))
             for kind in dict.fromkeys(kind for figures in found.values() for kind in figures)}
    rows = [["prompts", "figure", *found]]
    for kind, names in kinds.items():
        for number, name in enumerate(names):
            rows.append(["" if number else kind, name, *(_cell(figures.get(kind, {}).get(name))
                                                         for figures in found.values())])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(cell.ljust(width) if place < 2 else cell.rjust(width) for place, (cell, width)
                               in enumerate(zip(row, widths, strict=True))).rstrip() for row in rows)


def _cell(figure: dict[str, float] | None) -> str:
    return "-" if figure is None else f"{figure['mean']:.3f} ±{(figure['high'] - figure['low']) / 2:.3f}"
