"""The section on what going on with a model gained and what it forgot, source by source, step by step."""

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from preceptor.report.blocks import Panel, Section, Table
from preceptor.report.text import Text, both, number, percent, text


def domain(steps: Mapping[str, Any]) -> Section | None:
    """What each step gained most and forgot most in a sentence, and a line for each source of each step.

    Args:
        steps: learned.json by the step's name; none gives no section.
    """
    if not steps:
        return None
    sentences = [one for name, found in steps.items() for one in _sentences(name, found)]
    return Section("domain", [Panel(Markup(), sentences, text("domain.how"))], [_table(steps)])


def _sentences(name: str, found: Mapping[str, Any]) -> list[Text]:
    weights = percent(found["learned_weights"] / found["weights"])
    sentences = [text("domain.kind", step=name, kind=text(f"domain.{found['adapter']}"), weights=weights)]
    sources = {source: one["change"] for source, one in found["bits_per_byte"].items() if source}
    best, worst = min(sources, key=sources.__getitem__, default=""), max(sources, key=sources.__getitem__, default="")
    if best and sources[best] < 0:
        sentences.append(text("domain.gained", source=best, change=percent(-sources[best])))
    if worst and sources[worst] > 0:
        sentences.append(text("domain.lost", source=worst, change=percent(sources[worst])))
    elif worst:
        sentences.append(text("domain.kept"))
    return sentences


def _table(steps: Mapping[str, Any]) -> Table:
    heads = ("step", "source", "before", "after", "change", "verdict")
    rows = []
    for name, found in steps.items():
        for source, one in found["bits_per_byte"].items():
            verdict = "learned" if one["change"] < 0 else "forgotten" if one["change"] > 0 else "unchanged"
            rows.append([name, source or both("domain.all"), number(one["before"]), number(one["after"]),
                         percent(one["change"]), both(f"domain.{verdict}")])
    return Table([both(f"domain.{head}") for head in heads], rows)
