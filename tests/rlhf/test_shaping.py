"""What an answer is paid: the scale of scores, and what is taken off for the answer's form."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from preceptor.rlhf.shaping import ScoreScale, overlong, payments, repeated_share
from tests.rlhf.tiny import tiny_options

SCORES = torch.tensor([1.0, 3.0, -20.0])
ANSWERS = [[5, 6, 0], [5, 6, 7, 5, 6, 7], [9, 0]]
ENDED = torch.tensor([True, False, True])


def paid(scale: ScoreScale | None = None, **changes: float) -> list[float]:
    options = tiny_options(**{"missing_end_penalty": 0.0, **changes})
    return payments(SCORES, ANSWERS, ENDED, scale or ScoreScale("raw"), options).tolist()


def test_without_options_an_answer_is_paid_its_score() -> None:
    assert paid() == SCORES.tolist()


@pytest.mark.parametrize(("option", "value", "expected"), [
    ("missing_end_penalty", 2.0, [1.0, 1.0, -20.0]),
    ("length_penalty", 0.5, [-0.5, 0.0, -21.0]),
    ("score_clip", 2.0, [1.0, 2.0, -2.0]),
    ("repetition_penalty", 4.0, [1.0, 2.0, -20.0]),  # of four 3-grams the last has been said
    ("overlong_tokens", 4, [0.75, 2.0, -20.0]),  # of six tokens at most, the last four
])
def test_each_option_takes_off_what_it_says(option: str, value: float, expected: list[float]) -> None:
    assert paid(**{option: value}) == pytest.approx(expected)


def test_scores_are_scaled_before_they_are_cut_and_penalties_are_in_the_new_units() -> None:
    scale = ScoreScale("running")
    scale.take_in(SCORES)
    mean, deviation = SCORES.mean(), SCORES.std(unbiased=False)
    white = ((SCORES - mean) / deviation).clamp(-1, 1)
    assert paid(scale, score_clip=1.0, missing_end_penalty=0.5) == pytest.approx((white - 0.5 * ~ENDED).tolist())


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=6), min_size=1, max_size=5))
def test_the_running_scale_is_that_of_all_scores_so_far_also_after_a_checkpoint(batches) -> None:
    scale = ScoreScale("running")
    for batch in batches:
        again = ScoreScale("running")
        again.restore(scale.state())
        scale = again
        scale.take_in(torch.tensor(batch))
    every = torch.cat([torch.tensor(batch) for batch in batches]).double()
    assert scale.mean == pytest.approx(every.mean().item(), abs=1e-6)
    assert (scale.squares / scale.count) ** 0.5 == pytest.approx(every.std(unbiased=False).item(), rel=1e-5, abs=1e-4)


def test_the_scale_of_the_reference_is_that_of_the_first_iteration() -> None:
    scale, first = ScoreScale("reference"), torch.tensor([1.0, 2.0, 6.0])
    scale.take_in(first)
    scale.take_in(torch.tensor([100.0]))
    white = scale.scaled(first)
    assert white.mean().item() == pytest.approx(0, abs=1e-6) and white.std(unbiased=False).item() == pytest.approx(1)
    assert torch.equal(ScoreScale("raw").scaled(first), first)


def test_scores_that_never_differ_are_nothing() -> None:
    scale = ScoreScale("running")
    scale.take_in(torch.full((4,), 3.0))
    assert scale.scaled(torch.full((4,), 3.0)).tolist() == [0, 0, 0, 0]


def test_penalties_of_form_by_hand() -> None:
    lengths = torch.tensor([1, 12, 13, 16, 20])
    assert overlong(lengths, 20, 8).tolist() == [0, 0, 0.125, 0.5, 1]
    assert overlong(lengths, 20, 0).tolist() == [0] * 5
    assert repeated_share([1, 1, 1, 1, 1]) == pytest.approx(2 / 3) and repeated_share([1, 2]) == 0
