"""The section on a smaller model: what each candidate gained and lost, and which of them keeps the budget."""

from collections.abc import Mapping
from typing import Any

from preceptor.evaluate.budget import AT_LEAST, FIGURES, undominated
from preceptor.report.blocks import Panel, Section, Table
from preceptor.report.figures import scatter_chart
from preceptor.report.text import Text, both, joined, number, text

LOSS = "perplexity"
GAINS = ("size", "speed")


def frontier(results: Mapping[str, Any]) -> Section | None:
    """Perplexity against size and against speed, and a table of every figure.

    Args:
        results: results.json of a weigh step; empty gives no section.
    """
    if not results:
        return None
    candidates = results["candidates"]
    panels = []
    for gain in GAINS:
        points = {name: (figures[gain], figures[LOSS]) for name, figures in candidates.items()}
        panels.append(Panel(scatter_chart(points, undominated(candidates, gain, LOSS)),
                            _sentences(results) if gain == GAINS[0] else (),
                            text("frontier.figure", gain=text(f"frontier.{gain}")), text(f"frontier.by_{gain}")))
    return Section("frontier", panels, [_table(results)])


def _sentences(results: Mapping[str, Any]) -> list[Text]:
    """What is shipped, and what broke the budget."""
    found = [text("frontier.best", name=results["best"]) if "best" in results else text("frontier.nothing")]
    for name, breaches in results["broken"].items():
        if breaches:
            said = [text("frontier.breach", figure=text(f"frontier.{one['figure']}"), measured=number(one["measured"]),
                         limit=number(one["limit"])) for one in breaches]
            found.append(text("frontier.broken", name=name, breaches=joined(", ", said)))
    return found


def _table(results: Mapping[str, Any]) -> Table:
    """A line a candidate, a column a figure; beneath the names the limits of the budget."""
    candidates, budget = results["candidates"], results["budget"]
    shown = [name for name in FIGURES if any(name in figures for figures in candidates.values())]
    limits = [("≥ " if name in AT_LEAST else "≤ ") + number(budget[name]) if name in budget else "" for name in shown]
    sizes = {name: number(figures["bytes"] / 1e6) for name, figures in results["figures"].items()}
    rows = [[both("frontier.budget"), "", *limits],
            *([name, sizes[name], *(number(figures[column]) if column in figures else "" for column in shown)]
              for name, figures in candidates.items())]
    heads = ("candidate", "megabytes", *shown)
    return Table([both(f"frontier.{head}") for head in heads], rows)
