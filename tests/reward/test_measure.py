"""What is measured of a reward model, against hand-made rankings."""

from collections.abc import Sequence

import pytest

from preceptor.data.records import Comparison, Prompt, Response
from preceptor.reward.measure import length_bias, ranked_by, ranking_details, score_comparisons

PROMPT = Prompt("p", [{"role": "user", "content": "Hi"}])


class Length:
    """A reward: the number of characters."""

    def score(self, prompts: Sequence[Prompt], responses: Sequence[Response]) -> list[float]:
        return [float(len(response.text)) for response in responses]


def ranked(texts: list[str], ranking: list[list[int]], id: str = "c") -> Comparison:
    return Comparison(id, PROMPT, [Response(text) for text in texts], ranking, "l", "person")


def test_scores_come_back_in_the_shape_of_the_comparisons() -> None:
    rows = score_comparisons(Length(), [ranked(["a", "bb"], [[0, 1]]), ranked(["", "dddd", "e"], [[0, 1, 2]])])
    assert rows == [[1.0, 2.0], [0.0, 4.0, 1.0]]


def test_the_judges_order_ties_equal_scores() -> None:
    judged = ranked_by(Length(), ranked(["a", "ccc", "b", "dd"], [[0, 1, 2, 3]]))
    assert judged.ranking == [[1], [3], [0, 2]] and judged.labeler == "oracle"


def test_length_bias_counts_pairs_apart_in_rank_and_length() -> None:
    one = ranked(["a", "ccc", "bb"], [[1], [0], [2]])
    found = length_bias([one], [[0.0, 1.0, 2.0]])
    # (a, bb): longer is worse, scored higher. (a, ccc): longer better, higher. (bb, ccc): longer better, scored lower.
    assert found == {"longer_preferred": pytest.approx(2 / 3), "longer_scored_higher": pytest.approx(2 / 3)}
    assert length_bias([ranked(["aa", "bb"], [[0], [1]]), ranked(["a", "bb"], [[0, 1]])], [[1, 2], [1, 2]]) == {}


def test_details_of_a_perfect_and_of_a_reversed_reward() -> None:
    comparisons = [ranked(["a", "bb", "ccc"], [[2], [1], [0]]), ranked(["a", "bb"], [[1], [0]])]
    right = ranking_details(comparisons, score_comparisons(Length(), comparisons), 0)
    assert right["kendall_tau_b"] == 1 and right["by_k"]["3"]["mean"] == right["by_k"]["2"]["mean"] == 1
    assert right["longer_preferred"] == right["longer_scored_higher"] == 1
    wrong = ranking_details(comparisons, [[3, 2, 1], [2, 1]], 0)
    assert wrong["kendall_tau_b"] == -1 and wrong["by_k"]["3"]["mean"] == 0 and wrong["longer_scored_higher"] == 0
