"""What a section of the page is made of, and the small pieces that several sections share."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from preceptor.report.figures import Row, dot_chart
from preceptor.report.text import Text, both, named

SHARES = (0.0, 0.5, 1.0)  # ticks of an axis of shares


@dataclass(frozen=True, slots=True)
class Table:
    """Cells are ready to be shown; the first column holds names."""

    head: Sequence[Markup]
    rows: Sequence[Sequence[Markup | str]]


@dataclass(frozen=True, slots=True)
class Panel:
    """A figure: what is drawn, the sentences that say what it shows, how to read it, and the names of its lines."""

    figure: Markup
    sentences: Sequence[Text] = ()
    caption: Text | None = None
    title: Text | None = None
    legend: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Section:
    """A heading of the page with its figures and tables; `name` is its key in the catalogue and its anchor."""

    name: str
    panels: Sequence[Panel] = ()
    tables: Sequence[Table] = ()


def model_name(model: str) -> Text:
    """What people call a model id."""
    return named("model", model)


def last_and_before(models: Sequence[str]) -> tuple[str, str]:
    """The two models that the page speaks of: SFT (or else the first) and the last one."""
    return "sft" if "sft" in models else models[0], models[-1]


def model_rows(figures: Mapping[str, Mapping[str, float]], shown: Callable[[Any], str]) -> list[Row]:
    """A row for each model with its interval."""
    return [Row(both(model_name(model)), shown(figure), figure["mean"], figure["low"], figure["high"],
                tone=f"model-{model}") for model, figure in figures.items()]


def model_table(columns: Mapping[str, Mapping[str, Any]], heads: Mapping[str, Text],
                shown: Callable[[Any], str]) -> Table:
    """A line for each model, a column for each measure; a measure that a model lacks leaves its cell empty."""
    models = dict.fromkeys(model for column in columns.values() for model in column)
    rows = [[both(model_name(model)), *(shown(column[model]) if model in column else "" for column in columns.values())]
            for model in models]
    return Table([both("tax.model"), *(both(heads[name]) for name in columns)], rows)


def share_chart(figures: Mapping[str, Mapping[str, float]], shown: Callable[[Any], str],
                reference: float | None = None) -> Markup:
    """Shares of 0 to 1 by model."""
    return dot_chart(model_rows(figures, shown), SHARES, reference=reference, as_percent=True)
