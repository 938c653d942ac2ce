"""Krippendorff's alpha against the library of that name, and on cases with a known answer."""

import numpy as np
import pytest

from preceptor.data.records import Comparison, Prompt, Response
from preceptor.metrics.agreement import krippendorff_alpha, likert_units, pair_units


@pytest.mark.parametrize("metric", ["nominal", "ordinal", "interval"])
@pytest.mark.parametrize("seed", range(3))
def test_it_is_that_of_the_library(metric: str, seed: int) -> None:
    krippendorff = pytest.importorskip("krippendorff")
    draw = np.random.default_rng(seed)
    truth = draw.integers(1, 8, size=30)
    table = np.clip(truth + draw.integers(-1, 2, size=(5, 30)), 1, 7).astype(float)
    table[draw.random(table.shape) < 0.4] = np.nan
    units = [column[~np.isnan(column)].tolist() for column in table.T]
    assert krippendorff_alpha(units, metric) == pytest.approx(
        krippendorff.alpha(reliability_data=table, level_of_measurement=metric), abs=1e-10)


def test_known_cases() -> None:
    assert krippendorff_alpha([[1, 1], [2, 2, 2], [1]]) == 1
    assert krippendorff_alpha([[1, 2]] * 2) == pytest.approx(-0.5)  # worse than chance: 1 - 1 / (2/3)
    assert krippendorff_alpha([[1, 1], [1, 1]]) is None and krippendorff_alpha([[1], [2]]) is None
    with pytest.raises(ValueError, match="metric"):
        krippendorff_alpha([[1, 2]], "ratio")


def test_units_of_rankings_do_not_depend_on_the_order_of_the_record() -> None:
    prompt = Prompt("p", [{"role": "user", "content": "?"}])
    a, b = Response("a", scores={"overall": 7.0}), Response("b")
    units = pair_units([Comparison("1", prompt, [a, b], [[0], [1]], "x", "person"),
                        Comparison("2", prompt, [b, a], [[1], [0]], "y", "person"),
                        Comparison("3", prompt, [b, a], [[0, 1]], "z", "person")])
    assert units == {("p", "a", "b"): [1, 1, 0]}
    assert likert_units([Comparison("1", prompt, [a, b], [[0], [1]], "x", "person")]) == {("p", "a"): [7]}
