"""The comparison as a table for a terminal."""

from collections.abc import Mapping
from typing import Any

MEASURES = {"classify": "accuracy", "tag": "span F1", "extract": "field F1"}


def table(results: Mapping[str, Any]) -> str:
    """The figures of both models with their intervals, the recommendation, and the router."""
    models = results["models"]
    rows = {f"{MEASURES[results['task']]} (%)": ("quality", 100, 1), "all of a text right (%)": ("all_right", 100, 1),
            "latency, one alone (ms)": ("latency_ms", 1, 2), "requests a second": ("requests_per_second", 1, 1),
            "memory (MB)": ("memory_mb", 1, 0),
            f"cost of 1,000 at {results['price']:g} an hour": ("cost_per_thousand", 1, 6)}
    lines = [f"{results['task']}, {results['test']:,} test texts, {results['labels']} labels",
             f"{'':<36}" + "".join(f"{name:>34}" for name in models),
             f"{'parameters':<36}" + "".join(f"{model['parameters']:>34,}" for model in models.values())]
    for name, (key, factor, decimals) in rows.items():
        cells = [_cell(model["details"][key] if key == "all_right" else model[key], factor, decimals)
                 for model in models.values()]
        lines.append(f"{name:<36}" + "".join(f"{cell:>34}" for cell in cells))
    return "\n".join([*lines, *_sentences(results)])


def _cell(figure: Mapping[str, float], factor: float, decimals: int) -> str:
    mean, low, high = (f"{figure[part] * factor:,.{decimals}f}" for part in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}]"


def _sentences(results: Mapping[str, Any]) -> list[str]:
    chosen, router = results["recommended"], results["router"]
    gain, gap = chosen["dearer_less_cheaper"], router["against_best"]
    [dear] = [name for name in results["models"] if name != results["cheaper"]]
    return [f"Recommended: {chosen['model']}, because it is {chosen['because']}. {dear} costs {results['faster']:.1f} "
            f"times as much; its quality less that of {results['cheaper']}: {_cell(gain, 100, 1)} points.",
            f"Router: asks {dear} for {router['asked']:.1%} of the texts; quality {100 * router['quality']:.1f}, "
            f"{_cell(gap, 100, 1)} points from always asking the better, at {router['cost_share']:.0%} of its cost."]
