"""How well scores, and labelers among themselves, agree on rankings of answers.

Agreement is counted over pairs of answers, as in InstructGPT (arXiv 2203.02155): the share of pairs that a ranking
sets apart and that the other puts in the same order. Tied answers make no pair; equal scores on a pair count one
half. Intervals draw prompts, not pairs (see `intervals`).
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from itertools import combinations

from preceptor.data.records import Comparison
from preceptor.metrics.intervals import Interval, bootstrap_ratio, bootstrap_ratio_difference
from preceptor.run.errors import UserError


def pair_agreement(scores: Sequence[float], ranks: Sequence[int]) -> tuple[float, int]:
    """Of the pairs that `ranks` sets apart, how many the scores put in the same order, and how many there are.

    Args:
        scores: [K], higher is better.
        ranks: [K], smaller is better, equal is a tie (`Comparison.ranks()`).
    """
    right, pairs = 0.0, 0
    for (score_a, rank_a), (score_b, rank_b) in combinations(zip(scores, ranks, strict=True), 2):
        if rank_a != rank_b:
            better, worse = (score_a, score_b) if rank_a < rank_b else (score_b, score_a)
            right += 1.0 if better > worse else 0.5 if better == worse else 0.0
            pairs += 1
    return right, pairs


def accuracy(comparisons: Sequence[Comparison], scores: Sequence[Sequence[float]], seed: int = 0) -> Interval:
    """Share of ranked pairs that the scores order as the labelers did, each pair of the same weight.

    Comparisons of one prompt, by one labeler or several, are one cluster of the bootstrap; n counts prompts.

    Args:
        comparisons: the rankings.
        scores: for each comparison one score for each of its responses.

    Raises:
        UserError: a score is not a number, or no ranking sets two answers apart.
    """
    right: dict[str, float] = defaultdict(float)
    pairs: dict[str, int] = defaultdict(int)
    for comparison, row in zip(comparisons, scores, strict=True):
        if any(math.isnan(score) for score in row):
            raise UserError(f"A score of comparison '{comparison.id}' is not a number.",
                            "Check the reward that gave it; one that diverged in training needs a lower learning rate.")
        agreed, judged = pair_agreement(row, comparison.ranks())
        right[comparison.prompt.id] += agreed
        pairs[comparison.prompt.id] += judged
    if not any(pairs.values()):
        raise UserError(f"None of the {len(comparisons)} rankings sets two answers apart.",
                        "Give comparisons whose ranking has at least two groups.")
    return bootstrap_ratio(list(right.values()), list(pairs.values()), seed=seed)


def accuracy_gap(first: Sequence[Comparison], first_scores: Sequence[Sequence[float]], second: Sequence[Comparison],
                 second_scores: Sequence[Sequence[float]], seed: int = 0) -> Interval | None:
    """The accuracy on `first` less that on `second`, over the prompts that both rank; n counts these prompts.

    How much better a reward model predicts the labelers whom it learned from than others who ranked the same prompts:
    72.4 % against 69.6 % in InstructGPT. Prompts are drawn for both at once, so that hard ones do not pass for a gap.

    Returns:
        None where no prompt is set apart by both.
    """
    tables = []
    for comparisons, rows in ((first, first_scores), (second, second_scores)):
        counts: dict[str, tuple[float, int]] = {}
        for comparison, row in zip(comparisons, rows, strict=True):
            right, pairs = pair_agreement(row, comparison.ranks())
            before = counts.get(comparison.prompt.id, (0.0, 0))
            counts[comparison.prompt.id] = (before[0] + right, before[1] + pairs)
        tables.append({prompt: count for prompt, count in counts.items() if count[1]})
    shared = [prompt for prompt in tables[0] if prompt in tables[1]]
    if not shared:
        return None
    one, other = (tuple(zip(*(table[prompt] for prompt in shared))) for table in tables)
    return bootstrap_ratio_difference(one, other, seed=seed)


def accuracy_by_k(
    comparisons: Sequence[Comparison], scores: Sequence[Sequence[float]], seed: int = 0
) -> dict[int, Interval]:
    """`accuracy` among the comparisons of K answers, for each K; a K whose rankings are all ties is absent."""
    by_k: dict[int, list[tuple[Comparison, Sequence[float]]]] = defaultdict(list)
    for comparison, row in zip(comparisons, scores, strict=True):
        if len(comparison.ranking) > 1:
            by_k[len(comparison.responses)].append((comparison, row))
    return {k: accuracy(*zip(*by_k[k]), seed=seed) for k in sorted(by_k)}


def kendall_tau_b(x: Sequence[float], y: Sequence[float]) -> float | None:
    """(C - D) / sqrt((pairs not tied in x)(pairs not tied in y)), C concordant and D discordant pairs.

    Kendall 1945. Both must point the same way: give minus the rank to compare ranks with scores.

    Returns:
        From -1 to 1; None when x or y is constant, as nothing is ordered then.
    """
    order, apart_x, apart_y = 0, 0, 0
    for (x_a, y_a), (x_b, y_b) in combinations(zip(x, y, strict=True), 2):
        sign_x, sign_y = (x_a > x_b) - (x_a < x_b), (y_a > y_b) - (y_a < y_b)
        order += sign_x * sign_y
        apart_x += sign_x != 0
        apart_y += sign_y != 0
    return order / math.sqrt(apart_x * apart_y) if apart_x and apart_y else None


def labeler_agreement(comparisons: Sequence[Comparison], seed: int = 0) -> Interval | None:
    """Share of pairs of answers on which two labelers agree, over all pairs of labelers who ranked the same prompt.

    The figure that InstructGPT reports as 72.6 % (its labelers) and 77.3 % (held-out ones). Answers are matched by
    their text, whatever their order in the record. A pair that either labeler ties is left out, and so is a pair on
    which one labeler, asked twice, has given both orders. n counts prompts.

    Returns:
        None when no two labelers have set apart the same pair.
    """
    votes: dict[str, dict[str, dict[tuple[str, str], int]]] = defaultdict(lambda: defaultdict(lambda: defaultdict(int)))
    for comparison in comparisons:
        ballot = votes[comparison.prompt.id][comparison.labeler]
        ranked = list(zip((response.text for response in comparison.responses), comparison.ranks(), strict=True))
        for (text_a, rank_a), (text_b, rank_b) in combinations(sorted(ranked), 2):
            if text_a != text_b:
                ballot[text_a, text_b] += (rank_a < rank_b) - (rank_a > rank_b)
    agreed, judged = [], []
    for ballots in votes.values():
        products = [
            one[pair] * other[pair]
            for one, other in combinations(ballots.values(), 2)
            for pair in one.keys() & other.keys()
            if one[pair] and other[pair]
        ]
        agreed.append(sum(product > 0 for product in products))
        judged.append(len(products))
    return bootstrap_ratio(agreed, judged, seed=seed) if any(judged) else None
