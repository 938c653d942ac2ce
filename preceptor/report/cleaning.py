"""The page on what cleaning did: rates by rule and source, and examples of what was dropped, changed and kept."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path

from markupsafe import Markup

from preceptor.data.cleaning.run import kept_documents
from preceptor.data.cleaning.summary import EXAMPLE, CleaningSummary
from preceptor.data.records import Document
from preceptor.report.blocks import Panel, Section, Table
from preceptor.report.figures import Row, bar_chart
from preceptor.report.template import render
from preceptor.report.text import Text, both, percent, text
from preceptor.run.files import write_text

SOURCES = 6  # columns of the table; further sources are added up in one
KEPT = 6


def build_cleaning_report(folder: Path, summary: CleaningSummary) -> Path:
    """Write `report.html` into the folder of a cleaned corpus; returns its path."""
    read, kept = summary.read.total(), summary.kept.total()
    tiles = [(text("cleaning.read"), f"{read:,}"), (text("cleaning.kept"), percent(kept / max(1, read))),
             (text("cleaning.size"), f"{summary.bytes_read / 1e6:,.1f} MB"),
             (text("cleaning.problems"), f"{summary.problems.total():,}")]
    page = render(
        "cleaning.html", name=folder.resolve().name, tiles=tiles, sections=_sections(summary),
        examples=summary.examples, rules=_ordered(summary), kept=_kept(folder, kept), excerpt=EXAMPLE)
    path = folder / "report.html"
    write_text(path, page)
    return path


def _ordered(summary: CleaningSummary) -> list[tuple[str, str, int]]:
    """(rule, `dropped` or `changed`, documents), the rules that did most first."""
    rules = [(rule, "dropped", counts.total()) for rule, counts in summary.dropped.items()]
    rules += [(rule, "changed", counts.total()) for rule, counts in summary.changed.items()]
    return sorted(rules, key=lambda one: (one[1] != "dropped", -one[2], one[0]))


def _sections(summary: CleaningSummary) -> list[Section]:
    """The figures that there is something for."""
    read = max(1, summary.read.total())
    found = []
    for name, rules in (("dropped", summary.dropped), ("changed", summary.changed)):
        if rules:
            counts = {rule: sources.total() for rule, sources in rules.items()}
            found.append(Section(f"cleaning_{name}", [Panel(_bars(counts, read), caption=text(f"cleaning.{name}_how"))],
                                 [_by_source(rules, summary.read)]))
    small = [Panel(_bars(counts, max(1, sum(counts.values()))), title=text(f"cleaning.{name}"))
             for name, counts in (("languages", summary.languages), ("files", summary.files)) if counts]
    tables = []
    if summary.problems:
        tables.append(Table([both("cleaning.problem"), both("cleaning.times")],
                            [[what, f"{count:,}"] for what, count in summary.problems.most_common()]))
    found.append(Section("cleaning_sources", small, tables))
    return found


def _bars(counts: Mapping[str, int], whole: int) -> Markup:
    ordered = sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    return bar_chart([Row(Markup("{}").format(name or "?"), f"{count:,} · {percent(count / whole)}", count)
                      for name, count in ordered])


def _by_source(rules: Mapping[str, Counter[str]], read: Counter[str]) -> Table:
    """A line a rule, a column a source: the share of the source's documents."""
    largest = [source for source, _ in read.most_common(SOURCES)]
    columns: list[tuple[Text | str, Sequence[str]]] = [(source, [source]) for source in largest]
    if others := [source for source in read if source not in largest]:
        columns.append((text("cleaning.others"), others))
    names = (both(name) if callable(name) else Markup("{}").format(name) for name, _ in columns)
    head = [both("cleaning.rule"), *names]
    rows = []
    for rule, counts in sorted(rules.items(), key=lambda one: -one[1].total()):
        shares = (sum(counts[source] for source in sources) / max(1, sum(read[source] for source in sources))
                  for _, sources in columns)
        rows.append([rule, *(percent(share) if share else "" for share in shares)])
    return Table(head, rows)


def _kept(folder: Path, count: int) -> list[Document]:
    """Some of what was kept, evenly from front to end."""
    return list(islice(kept_documents(folder), 0, None, max(1, count // KEPT)))[:KEPT]
