"""The verdict on a learning curve: each kind on curves that are plainly so, with the numbers that show it."""

import math

import pytest

from preceptor.report.verdict import verdict

FALLING = [(at, 3.0 - at / 100) for at in range(10, 101, 10)]


@pytest.mark.parametrize("validation, kind, evidence", [
    ([(20, 2.8), (40, 2.5), (60, 2.6), (80, 2.7), (100, 2.8)], "Over-fit", ["2.5", "step 40", "12"]),
    ([(20, 2.8), (40, 2.7), (60, 2.6), (80, 2.5), (100, 2.4)], "Under-fit", ["7.7", "2.4"]),
    ([(20, 2.8), (40, 2.5), (60, 2.41), (80, 2.4), (100, 2.4)], "Healthy", ["2.4", "step 80"]),
])
def test_a_plain_curve_is_called_by_its_name(validation, kind: str, evidence: list[str]) -> None:
    said = verdict({"loss": FALLING, "validation_loss": validation})("en")
    assert said.startswith(kind) and all(word in said for word in evidence), said
    of_perplexity = [(at, math.exp(loss)) for at, loss in validation]
    assert verdict({"loss": FALLING, "validation_perplexity": of_perplexity})("en") == said
    assert verdict({"loss": FALLING, "validation_loss": validation})("zh") != said


def test_a_rise_of_both_losses_is_no_over_fit() -> None:
    rising = [(20, 2.0), (40, 2.5), (60, 2.7), (80, 2.7), (100, 2.7)]
    assert verdict({"loss": rising, "validation_loss": rising})("en").startswith("Healthy")


def test_two_points_are_no_curve() -> None:
    assert verdict({"loss": FALLING, "validation_loss": FALLING[:2]}) is None
    assert verdict({"validation_loss": FALLING}) is None
