"""`summary.json`: the headline figures of a run for programs. What was not measured is absent, never null."""

from pathlib import Path
from typing import Any

from preceptor.report.artefacts import RunFolder
from preceptor.run.files import write_json

# The keys that the evaluation and the reward stage write under the same name, in the same shape.
OF_EVALUATION = ("win_rate", "false_assertions", "needless_refusals", "correct", "repetition", "perplexity")


def summary(run: Path) -> dict[str, Any]:
    """The figures of a run folder, finished or not.

    Raises:
        UserError: the folder is no run.
    """
    folder = RunFolder(run)
    evaluation, reward, ladder = (folder.results(stage) for stage in ("evaluate", "reward", "ladder"))
    figures: dict[str, Any] = {
        "wall_seconds": {name: entry["wall_seconds"] for name, entry in folder.steps.items()},
        "tokens_per_second": {name: rates[-1][1] for name in folder.steps
                              if (rates := folder.series(name).get("tokens_per_second"))},
        **{key: evaluation[key] for key in OF_EVALUATION if key in evaluation},
        "kl": {model: figure["mean"] for model, figure in evaluation.get("kl", {}).items()},
        "reward_accuracy": reward.get("reward_accuracy", {}),
        "ladder": {model: found["bradley_terry"] for model, found in ladder.get("scores", {}).items()},
        "ladder_oracle": ladder.get("oracle", {}),
        "peak_rss_mb": max((entry["peak_rss_mb"] for entry in folder.steps.values() if "peak_rss_mb" in entry),
                           default=None),
        "seed": folder.manifest.get("seed"), "machine": folder.manifest.get("machine")}
    return {key: value for key, value in figures.items() if value not in (None, {})}


def write_summary(run: Path) -> Path:
    """Write `summary.json` into the run folder; returns its path."""
    path = run / "summary.json"
    write_json(path, summary(run))
    return path
