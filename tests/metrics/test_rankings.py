"""Agreement on rankings: by hand, by brute force, and Kendall's tau against scipy."""

import math

import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from preceptor.data.records import Comparison, Prompt, Response
from preceptor.metrics.rankings import accuracy, accuracy_by_k, kendall_tau_b, labeler_agreement, pair_agreement
from preceptor.run.errors import UserError


def comparison(prompt, ranking, labeler="ann", texts=None):
    k = sum(len(group) for group in ranking)
    texts = texts or [f"answer {index}" for index in range(k)]
    return Comparison(
        id=f"{prompt}-{labeler}",
        prompt=Prompt(id=prompt, messages=[{"role": "user", "content": "?"}]),
        responses=[Response(text=text) for text in texts],
        ranking=ranking,
        labeler=labeler,
        kind="person",
    )


def test_pair_agreement_by_hand():
    assert pair_agreement([3.0, 2.0, 1.0], [0, 1, 2]) == (3, 3)
    assert pair_agreement([3.0, 2.0, 1.0], [2, 1, 0]) == (0, 3)
    assert pair_agreement([3.0, 2.0, 1.0], [0, 0, 1]) == (2, 2)  # the tied pair is left out
    assert pair_agreement([1.0, 1.0, 1.0], [0, 1, 2]) == (1.5, 3)  # scores that do not decide: a coin
    assert pair_agreement([1.0, 2.0], [0, 0]) == (0, 0)


def test_accuracy_weighs_pairs_and_counts_prompts():
    comparisons = [comparison("p", [[0], [1], [2]]), comparison("q", [[1], [0]]), comparison("q", [[1], [0]], "bob")]
    found = accuracy(comparisons, [[3, 2, 1], [1, 0], [1, 0]])
    assert found.mean == pytest.approx(3 / 5) and found.n == 2


def test_accuracy_by_k():
    comparisons = [
        comparison("p", [[0], [1], [2]]),
        comparison("q", [[1], [0]]),
        comparison("r", [[1], [0]]),
        comparison("s", [[0, 1, 2, 3]]),
    ]
    found = accuracy_by_k(comparisons, [[3, 1, 2], [0, 1], [1, 0], [1, 2, 3, 4]])
    assert list(found) == [2, 3]  # the four that are all tied judge nothing
    assert found[2].mean == 0.5 and found[2].n == 2
    assert found[3].mean == pytest.approx(2 / 3) and found[3].n == 1


def test_accuracy_refuses_what_it_cannot_judge():
    with pytest.raises(UserError, match="sets two answers apart"):
        accuracy([comparison("p", [[0, 1]])], [[1, 2]])
    with pytest.raises(UserError, match="not a number"):
        accuracy([comparison("p", [[0], [1]])], [[1, math.nan]])
    with pytest.raises(ValueError):
        accuracy([comparison("p", [[0], [1]])], [[1, 2, 3]])
    assert accuracy_by_k([comparison("p", [[0, 1]])], [[1, 2]]) == {}


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=9))
def test_kendall_tau_b_is_that_of_scipy(pairs):
    x, y = zip(*pairs)
    expected = scipy.stats.kendalltau(x, y).statistic
    found = kendall_tau_b(x, y)
    if math.isnan(expected):
        assert found is None
    else:
        assert found == pytest.approx(expected, abs=1e-12)


def test_two_labelers_by_hand():
    """Pairs (0, 1) and (0, 2) agree, (1, 2) does not."""
    found = labeler_agreement([comparison("p", [[0], [1], [2]]), comparison("p", [[0], [2], [1]], "bob")])
    assert found.mean == pytest.approx(2 / 3) and found.n == 1


def test_ties_of_either_labeler_are_left_out():
    found = labeler_agreement([comparison("p", [[0], [1], [2]]), comparison("p", [[0, 1], [2]], "bob")])
    assert found.mean == 1.0
    found = labeler_agreement([comparison("p", [[0, 1], [2]]), comparison("p", [[2], [0], [1]], "bob")])
    assert found.mean == 0.0


def test_three_labelers_make_three_pairs():
    """ann and bob agree; cid is against both."""
    comparisons = [comparison("p", [[0], [1]]), comparison("p", [[0], [1]], "bob"), comparison("p", [[1], [0]], "cid")]
    assert labeler_agreement(comparisons).mean == pytest.approx(1 / 3)


def test_answers_are_matched_by_text_and_not_by_place():
    one = comparison("p", [[0], [1]], texts=["good", "bad"])
    other = comparison("p", [[1], [0]], "bob", texts=["bad", "good"])
    assert labeler_agreement([one, other]).mean == 1.0


def test_a_labeler_asked_twice_votes_once_and_contradictions_are_left_out():
    twice = [comparison("p", [[0], [1]]), comparison("p", [[0], [1]])]
    assert labeler_agreement(twice) is None  # no labeler agrees with herself here
    torn = [comparison("p", [[0], [1]]), comparison("p", [[1], [0]]), comparison("p", [[0], [1]], "bob")]
    assert labeler_agreement(torn) is None


def test_other_prompts_and_other_answers_are_not_compared():
    assert labeler_agreement([comparison("p", [[0], [1]]), comparison("q", [[0], [1]], "bob")]) is None
    other = comparison("p", [[0], [1]], "bob", texts=["x", "y"])
    assert labeler_agreement([comparison("p", [[0], [1]]), other]) is None
    same_text = comparison("p", [[0], [1]], "bob", texts=["x", "x"])
    assert labeler_agreement([same_text, comparison("p", [[0], [1]], texts=["x", "x"])]) is None


rankings = st.lists(st.lists(st.integers(0, 3), min_size=4, max_size=4), min_size=2, max_size=4)


@settings(max_examples=50, deadline=None)
@given(rankings)
def test_agreement_equals_a_count_over_all(ranks_of_labelers):
    """The ranks of 4 answers by each labeler; counted over ordered labelers and ordered answers."""
    def grouped(ranks):
        return [[i for i, rank in enumerate(ranks) if rank == level] for level in sorted(set(ranks))]

    agreed, judged = 0, 0
    for a, one in enumerate(ranks_of_labelers):
        for b, other in enumerate(ranks_of_labelers):
            for i in range(4):
                for j in range(4):
                    if a != b and one[i] < one[j] and other[i] != other[j]:
                        judged += 1
                        agreed += other[i] < other[j]
    found = labeler_agreement([comparison("p", grouped(r), f"l{n}") for n, r in enumerate(ranks_of_labelers)])
    assert (found is None) if not judged else found.mean == pytest.approx(agreed / judged)
