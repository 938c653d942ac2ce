"""The section on reading texts: an encoder and a language model side by side, and the router over both."""

from collections.abc import Mapping
from typing import Any

from preceptor.report.blocks import SHARES, Panel, Section, Table, model_name, model_rows
from preceptor.report.figures import Line, dot_chart, line_chart
from preceptor.report.text import Text, both, interval, number, percent, percent_interval, text


def understanding(results: Mapping[str, Any]) -> Section | None:
    """Quality with intervals, quality against cost along the router's curve, and everything in a table.

    Args:
        results: results.json of a compare step; empty gives no section.
    """
    if not results:
        return None
    qualities = {name: model["quality"] for name, model in results["models"].items()}
    chart = dot_chart(model_rows(qualities, percent_interval), SHARES, as_percent=True)
    measure = text(f"understanding.{results['task']}")
    panels = [Panel(chart, [_recommended(results)], text("understanding.figure", n=results["test"]), measure)]
    points = [(point["cost_per_thousand"], point["quality"]) for point in results["router"]["curve"]]
    panels.append(Panel(line_chart([Line("router", sorted(points))]), [_routed(results)],
                        text("understanding.curve_figure", price=number(results["price"])),
                        text("understanding.curve")))
    return Section("understanding", panels, [_table(results, measure)])


def _dear(results: Mapping[str, Any]) -> str:
    [name] = [name for name in results["models"] if name != results["cheaper"]]
    return name


def _recommended(results: Mapping[str, Any]) -> Text:
    chosen = results["recommended"]
    gain = chosen["dearer_less_cheaper"]
    points = {part: 100 * gain[part] for part in ("mean", "low", "high")}
    return text(f"understanding.take_{chosen['because'].replace(' ', '_')}", model=model_name(chosen["model"]),
                cheap=model_name(results["cheaper"]), dear=model_name(_dear(results)),
                ratio=number(results["faster"]), points=interval(points, 1))


def _routed(results: Mapping[str, Any]) -> Text:
    router = results["router"]
    points = {part: 100 * router["against_best"][part] for part in ("mean", "low", "high")}
    return text("understanding.routed", dear=model_name(_dear(results)), asked=percent(router["asked"]),
                quality=percent(router["quality"]), points=interval(points, 1), cost=percent(router["cost_share"]))


def _table(results: Mapping[str, Any], measure: Text) -> Table:
    heads = [both("tax.model"), both(measure), *(both(f"understanding.{name}") for name in (
        "all_right", "latency", "rate", "memory", "cost"))]
    rows = [[both(model_name(name)), percent_interval(model["quality"]),
             percent_interval(model["details"]["all_right"]),
             *(interval(model[key]) for key in ("latency_ms", "requests_per_second", "memory_mb", "cost_per_thousand"))]
            for name, model in results["models"].items()]
    return Table(heads, rows)
