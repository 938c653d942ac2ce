"""The section on a smaller model: the dots are where the figures are, and the verdict is in words of both languages."""

import re
from html import unescape
from typing import Any

import pytest

from preceptor.report.figures import scatter_chart
from preceptor.report.frontier import frontier
from preceptor.report.text import both

CANDIDATES = {"int8": {"size": 3.7, "speed": 2.5, "memory": 2.0, "perplexity": 1.001, "win_rate": 0.5},
              "int4": {"size": 6.0, "speed": 3.5, "memory": 3.0, "perplexity": 1.01, "win_rate": 0.48},
              "slow": {"size": 3.0, "speed": 1.0, "memory": 1.0, "perplexity": 1.2, "win_rate": 0.2}}
RESULTS: dict[str, Any] = {
    "budget": {"size": 4.0, "perplexity": 1.02}, "best": "int4", "candidates": CANDIDATES,
    "figures": {name: {"bytes": 1_000_000 * number} for number, name in enumerate(["original", *CANDIDATES], start=1)},
    "broken": {"int8": [{"figure": "size", "measured": 3.7, "limit": 4.0}], "int4": [],
               "slow": [{"figure": "size", "measured": 3.0, "limit": 4.0},
                        {"figure": "perplexity", "measured": 1.2, "limit": 1.02}]}}


def test_dots_lie_in_the_order_of_their_figures_and_the_line_goes_through_the_best() -> None:
    points = {name: (one["size"], one["perplexity"]) for name, one in CANDIDATES.items()}
    drawn = scatter_chart(points, ["int8", "int4"])
    places = [tuple(map(float, pair)) for pair in re.findall(r'cx="([\d.]+)" cy="([\d.]+)"', drawn)]
    (x8, y8), (x4, y4), (x, y) = places
    assert x < x8 < x4 and y < y4 < y8  # up is a greater perplexity, and y counts downwards
    line = re.search(r'polyline class="line tone-1" points="([^"]*)"', drawn)
    assert line and line.group(1) == f"{x8},{y8} {x4},{y4}"
    assert all(f">{name}</text>" in drawn for name in points)


def test_the_section_says_what_is_shipped_and_what_broke() -> None:
    section = frontier(RESULTS)
    said = unescape("".join(both(sentence) for sentence in section.panels[0].sentences))
    assert "int4 keeps the budget" in said and "int4 符合预算" in said
    assert "slow breaks it: times smaller 3.00 (limit 4.00), perplexity, over the original's 1.20 (limit 1.02)" in said
    assert "int8 超出预算：缩小的倍数 3.70（限度 4.00）。" in said
    head, (limits, *rows) = section.tables[0].head, section.tables[0].rows
    assert len(head) == len(limits) == len(rows[0]) == 2 + 5
    assert "≥ 4.00" in limits and "≤ 1.02" in limits and limits.count("") == 4
    assert [row[:2] for row in rows] == [["int8", "2.00"], ["int4", "3.00"], ["slow", "4.00"]]


def test_where_nothing_keeps_the_budget_the_section_says_so() -> None:
    results = {name: value for name, value in RESULTS.items() if name != "best"}
    assert "nothing is shipped" in both(frontier(results).panels[0].sentences[0])


@pytest.mark.parametrize("results", [{}, None])
def test_a_run_without_candidates_has_no_section(results: Any) -> None:
    assert frontier(results) is None
