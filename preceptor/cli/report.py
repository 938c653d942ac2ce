"""`preceptor report RUN`: the page and the figures of a run, built anew from what is in its folder."""

from pathlib import Path

from preceptor.report.page import build_report
from preceptor.report.summary import write_summary


def print_report(run: Path, as_json: bool) -> None:
    """Write `report.html` and `summary.json`; print where the page is, or with `as_json` the figures themselves."""
    figures, page = write_summary(run), build_report(run)
    print(figures.read_text(encoding="utf-8").rstrip() if as_json else f"Report: {page}")
