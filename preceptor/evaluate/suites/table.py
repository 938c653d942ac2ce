"""The results of a suite as a table for people: a line for each task, way of asking and metric, a column a model."""

from typing import Any

HIDDEN = ("_signature", "_chance")


def table(results: dict[str, Any]) -> str:
    """Aligned columns, each figure with half the width of its 95 % interval; the judges and what to know below."""
    models = results["models"]
    rows = [["task", "", "metric", *models, "n"]]
    for task, by_arm in results["tasks"].items():
        for arm, metrics in by_arm.items():
            for metric, figures in metrics.items():
                if not metric.split(" / ")[0].endswith(HIDDEN):
                    rows.append([task, arm, metric, *(_cell(figures.get(model)) for model in models), _count(figures)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines, before = [], ["", ""]
    for row in rows:
        shown = ["" if place < 2 and row[:place + 1] == before[:place + 1] else cell for place, cell in enumerate(row)]
        lines.append("  ".join(cell.ljust(width) if place < 3 else cell.rjust(width)
                               for place, (cell, width) in enumerate(zip(shown, widths, strict=True))).rstrip())
        before = row
    return "\n".join([*lines, *_judges(results), *_signatures(results), *_below(results)])


def _cell(figure: Any) -> str:
    if figure is None:
        return "-"
    if isinstance(figure, dict):
        return f"{figure['mean']:.3f} ±{(figure['high'] - figure['low']) / 2:.3f}"
    return f"{figure:.3f}" if isinstance(figure, float) else str(figure)


def _count(figures: dict[str, Any]) -> str:
    found = {figure["n"] for figure in figures.values() if isinstance(figure, dict)}
    return str(max(found)) if found else ""


def _judges(results: dict[str, Any]) -> list[str]:
    lines = []
    for name, measured in results["judges"].items():
        for where, one in (("held-out groups", measured), ("another source", measured.get("other_source"))):
            if one:
                lines.append(f"judge '{name}' on {where}: right on {one['accuracy']['mean']:.1%} of {one['labels']} "
                             f"human labels (the commoner label alone: {one['majority']:.1%}), AUC {one['auc']:.3f}")
    return ["", *lines] if lines else []


def _signatures(results: dict[str, Any]) -> list[str]:
    found = {f"{metric}: {text}" for by_arm in results["tasks"].values() for metrics in by_arm.values()
             for metric, figures in metrics.items() if metric.endswith("_signature") for text in figures.values()}
    return ["", *sorted(found)] if found else []


def _below(results: dict[str, Any]) -> list[str]:
    lines = [f"left out: {name}: {reason}" for name, reason in results["left_out"].items()]
    lines += [f"note: {note}" for note in results["notes"]]
    return ["", *lines] if lines else []
