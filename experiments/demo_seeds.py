"""The demo over several seeds: win rates, correct answers, false assertions and perplexity with intervals over seeds.

    .venv/bin/python experiments/demo_seeds.py --seeds 0 1 2 --json

Each seed is a world, a corpus, labelers and training runs of its own, in `runs/demo-seed-N`; a run that is there
already is gone on with. The interval is Student's t over seeds (95 %), so one seed has none.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from preceptor.metrics.intervals import interval_over_seeds
from preceptor.run.files import read_json, write_json


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--set", action="append", default=[], metavar="NAME.option=value", help="change an option")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    parser.add_argument("--quick", action="store_true", help="the recipe's setting `spark`")
    parser.add_argument("--out", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    summaries = [run_seed(seed, options.set, options.quick) for seed in options.seeds]
    figures = {"seeds": options.seeds, "machine": summaries[0]["machine"], **over_seeds(summaries)}
    if options.out:
        write_json(options.out, figures)
    print(json.dumps(figures) if options.json else json.dumps(figures, indent=2))


def run_seed(seed: int, sets: list[str], quick: bool) -> dict[str, Any]:
    """Run the demo with this seed, or go on with it; returns its summary."""
    run = Path("runs") / f"demo-{'spark-' if quick else ''}seed-{seed}"
    command = [sys.executable, "-m", "preceptor.cli.main", "run", "demo", "--out", str(run), "--set", f"seed={seed}"]
    command += ["--setting", "spark"] if quick else []
    subprocess.run(command + [word for change in sets for word in ("--set", change)], check=True)
    return read_json(run / "summary.json")


def over_seeds(summaries: list[dict[str, Any]]) -> dict[str, Any]:
    """Each figure that all seeds have, as its values and their interval."""
    flat = [dict(flattened(summary)) for summary in summaries]
    common = [key for key in flat[0] if all(key in one for one in flat)]
    figures = {}
    for key in common:
        values = [one[key] for one in flat]
        figures[key] = {"values": values}
        if len(values) > 1:
            figures[key] |= interval_over_seeds(values).to_dict()
    return figures


KEYS = ("wall_seconds", "perplexity", "kl", "reward_accuracy", "win_rate", "false_assertions", "needless_refusals",
        "correct", "repetition", "peak_rss_mb")


def flattened(summary: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """(path, number) of each headline figure; of an interval the mean."""

    def walk(path: str, value: Any) -> Iterator[tuple[str, float]]:
        if isinstance(value, dict) and "mean" in value:
            yield path, value["mean"]
            if "noise_ceiling" in value:
                yield f"{path}/noise_ceiling", value["noise_ceiling"]
        elif isinstance(value, dict):
            for key, part in value.items():
                yield from walk(f"{path}/{key}", part)
        elif isinstance(value, (int, float)):
            yield path, value

    for key in KEYS:
        yield from walk(key, summary.get(key, {}))


if __name__ == "__main__":
    main()
