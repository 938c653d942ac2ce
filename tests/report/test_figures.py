"""Figures put their data where it belongs."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markupsafe import Markup

from preceptor.report.figures import Line, Row, bar_chart, dot_chart, line_chart, outward_ticks, thin, ticks

numbers = st.floats(-1e6, 1e6, allow_subnormal=False)


@settings(deadline=None)
@given(numbers, st.floats(1e-3, 1e6))
def test_ticks_are_round_even_and_within(low: float, span: float) -> None:
    found = ticks(low, low + span)
    steps = {round((b - a) / span, 6) for a, b in zip(found, found[1:])}
    assert 2 <= len(found) <= 5 and len(steps) == 1
    assert low - 1e-6 * span <= found[0] and found[-1] <= low + span * (1 + 1e-6)


@settings(deadline=None)
@given(numbers, st.floats(1e-3, 1e6))
def test_outward_ticks_cover_the_data(low: float, span: float) -> None:
    found = outward_ticks(low, low + span)
    assert found[0] <= low + 1e-9 * abs(low) and found[-1] >= low + span - 1e-9 * abs(low + span)
    assert len(found) <= 7


def test_thinning_keeps_the_ends_and_the_mean() -> None:
    points = [(float(x), float(x % 7)) for x in range(5000)]
    thinned = thin(points, 300)
    assert len(thinned) <= 300 and thinned[0] == points[0] and thinned[-1] == points[-1]
    assert sum(y for _, y in thinned) / len(thinned) == pytest.approx(3.0, abs=0.1)
    assert thin(points[:300], 300) == points[:300]


def test_a_line_runs_from_corner_to_corner_and_higher_is_up() -> None:
    drawn = line_chart([Line("loss", [(0, 1.0), (10, 3.0)])])
    (x0, y0), (x1, y1) = (tuple(map(float, pair.split(","))) for pair in
                          re.search(r'points="([^"]+)"', drawn).group(1).split())
    assert x0 == 50 and x1 == 428 and y0 > y1  # SVG counts downwards


def test_a_line_of_one_value_and_one_point_can_be_drawn() -> None:
    assert "nan" not in line_chart([Line("flat", [(1, 2.0), (2, 2.0)]), Line("point", [(1, 2.0)])])


def test_names_of_metrics_are_escaped() -> None:
    assert "<b>" not in line_chart([Line("<b>", [(0, 0.0), (1, 1.0)])])


def test_dots_stand_at_their_share_of_the_axis() -> None:
    drawn = dot_chart([Row(Markup("a"), "", 0.25, 0.0, 1.0, mark=0.5)], (0.0, 0.5, 1.0), reference=0.5)
    assert '<circle cx="26.00%"' in drawn  # 2 % of room at either end
    assert '<line class="span" x1="2.00%" x2="98.00%"' in drawn
    assert drawn.count('x1="50.00%"') == 2  # the reference and the mark
    assert re.findall(r'<text x="([^"]+)"', drawn) == ["2.00%", "50.00%", "98.00%"]


def test_the_longest_bar_fills_the_width() -> None:
    drawn = bar_chart([Row(Markup("a"), "1", 1.0), Row(Markup("b"), "4", 4.0)])
    assert re.findall(r'width="([^"]+)%"', drawn) == ["25.00", "100.00"]
    assert "nan" not in bar_chart([Row(Markup("a"), "0", 0.0)])
