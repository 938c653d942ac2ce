"""The dashboard of labelers: how far they agree, how far each can be trusted, and what speaks against whom.

Nothing is decided here. Who is suspected, and why, is shown to an admin, who may exclude the labeler; that is logged
and reversible (`labelers.exclude`).
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import NormalDist, fmean, median

from preceptor.data.records import Comparison
from preceptor.feedback.signs import Sign, company_signs, length_signs, position_signs
from preceptor.feedback.trust import Trust, trust
from preceptor.metrics.agreement import krippendorff_alpha, likert_units, pair_units
from preceptor.metrics.intervals import Interval
from preceptor.metrics.rankings import kendall_tau_b, labeler_agreement, pair_agreement

FEWEST = 5            # rankings below which nothing is held against a labeler
FALSE_ALARMS = 0.05   # probability that any labeler at all is suspected by a z-value though none is at fault
LOW_TRUST = 0.4       # of the median trust
REFERENCE = {"training": 0.726, "heldout": 0.773}  # agreement among the labelers of InstructGPT
REASONS = ("reversed", "random", "position", "length", "company", "gold")


@dataclass(frozen=True, slots=True)
class Agreement:
    """How labelers of the same answers agree. What cannot be measured is None."""

    pairs: Interval | None          # share of pairs ordered alike, ties out
    alpha: float | None             # Krippendorff's, nominal, over pairs, ties as a third value
    likert_alpha: float | None      # Krippendorff's, ordinal, over overall scores
    tau: float | None               # mean Kendall tau-b of two labelers over the same answers
    rankings: int


@dataclass(frozen=True, slots=True)
class LabelerQuality:
    """One labeler; `reasons` name what speaks against him, in the order of `REASONS`."""

    labeler: str
    rankings: int
    agreement: float | None         # share of pairs on which he and another labeler agree
    trust: float                    # beta, 1 for the median labeler
    trust_error: float
    position: Sign | None
    length: Sign | None
    company: tuple[str, Sign] | None  # the labeler with whom he agrees most beyond what is to be expected
    gold: float | None              # share of pairs of gold questions in the right order
    seconds: float | None           # median time for a ranking
    reasons: tuple[str, ...]


def agreement(rankings: Sequence[Comparison], seed: int = 0) -> Agreement:
    """How far the labelers of these rankings agree."""
    taus = [tau for some in _same_answers(rankings).values() for tau in some]
    return Agreement(labeler_agreement(rankings, seed=seed) if rankings else None,
                     krippendorff_alpha(pair_units(rankings).values()),
                     krippendorff_alpha(likert_units(rankings).values(), "ordinal"),
                     fmean(taus) if taus else None, len(rankings))


def agreement_by_category(rankings: Sequence[Comparison], seed: int = 0) -> dict[str, Agreement]:
    """`agreement` among the prompts of each use case; prompts without one are under ''."""
    groups: dict[str, list[Comparison]] = defaultdict(list)
    for one in rankings:
        groups[one.prompt.category or ""].append(one)
    return {category: agreement(groups[category], seed) for category in sorted(groups)}


def labeler_table(rankings: Sequence[Comparison], gold: Mapping[tuple[str, ...], Mapping[str, int]] | None = None,
                  fitted: Trust | None = None) -> list[LabelerQuality]:
    """Every labeler of these rankings, the least trusted first.

    Args:
        gold: the right rank of each answer by text, for each gold question by `answers_of`.
        fitted: the trust model, where it is fitted already.
    """
    if not rankings:
        return []
    fitted = fitted or trust(rankings)
    typical = median(fitted.beta.values()) if median(fitted.beta.values()) > 0 else 1.0
    positions, lengths = position_signs(rankings), length_signs(rankings, fitted.quality)
    company = company_signs(rankings, fitted.quality)
    agreed = _agreement_of_each(rankings)
    by_labeler: dict[str, list[Comparison]] = defaultdict(list)
    for one in rankings:
        by_labeler[one.labeler].append(one)
    table = []
    for name, some in by_labeler.items():
        beta, error = fitted.beta[name] / typical, fitted.error[name] / typical
        friend = max(company.get(name, {}).items(), key=lambda pair: pair[1].z, default=None)
        right = gold_accuracy(some, gold or {})
        seconds = [one.seconds for one in some if one.seconds is not None]
        signs = (positions.get(name), lengths.get(name), friend)
        table.append(LabelerQuality(name, len(some), agreed.get(name), beta, error, *signs, right,
                                    median(seconds) if seconds else None,
                                    _reasons(len(some), len(by_labeler), beta, error, *signs, right)))
    return sorted(table, key=lambda row: row.trust)


def _reasons(rankings: int, labelers: int, beta: float, error: float, position: Sign | None, length: Sign | None,
             friend: tuple[str, Sign] | None, right: float | None) -> tuple[str, ...]:
    if rankings < FEWEST:
        return ()
    limit = NormalDist().inv_cdf(1 - FALSE_ALARMS / 4 / labelers)  # two signs, each in both directions
    company_limit = NormalDist().inv_cdf(1 - FALSE_ALARMS / max(1, labelers * (labelers - 1) / 2))
    found = {"reversed": beta + 2 * error < 0,
             "random": beta + 2 * error >= 0 and beta + error < LOW_TRUST,
             "position": position is not None and abs(position.z) > limit,
             "length": length is not None and abs(length.z) > limit,
             "company": friend is not None and friend[1].z > company_limit,
             "gold": right is not None and right < 0.5}
    return tuple(reason for reason in REASONS if found[reason])


def answers_of(comparison: Comparison) -> tuple[str, ...]:
    """What tells an item from others, whatever the order of its answers: the prompt's id and the texts."""
    return comparison.prompt.id, *sorted(response.text for response in comparison.responses)


def gold_accuracy(rankings: Sequence[Comparison], gold: Mapping[tuple[str, ...], Mapping[str, int]]) -> float | None:
    """Share of the pairs of gold questions that the rankings order rightly; a pair that is tied counts one half."""
    right = pairs = 0.0
    for one in rankings:
        if known := gold.get(answers_of(one)):
            scores = [-float(rank) for rank in one.ranks()]
            agreed, judged = pair_agreement(scores, [known[response.text] for response in one.responses])
            right, pairs = right + agreed, pairs + judged
    return right / pairs if pairs else None


def _same_answers(rankings: Sequence[Comparison]) -> dict[tuple[str, ...], list[float]]:
    """Kendall tau-b of every two rankings of the same answers by different labelers."""
    ballots: dict[tuple[str, ...], list[tuple[str, dict[str, float]]]] = defaultdict(list)
    for one in rankings:
        liked = dict(zip((response.text for response in one.responses), (-float(rank) for rank in one.ranks())))
        ballots[answers_of(one)].append((one.labeler, liked))
    taus: dict[tuple[str, ...], list[float]] = {}
    for key, some in ballots.items():
        found = [kendall_tau_b(list(a.values()), [b[text] for text in a])
                 for (first, a), (second, b) in combinations(some, 2) if first != second]
        taus[key] = [tau for tau in found if tau is not None]
    return taus


def _agreement_of_each(rankings: Sequence[Comparison]) -> dict[str, float]:
    """For each labeler, the share of pairs on which he and another labeler of the same answers agree, ties out."""
    groups: dict[tuple[str, ...], list[Comparison]] = defaultdict(list)
    for one in rankings:
        groups[answers_of(one)].append(one)
    right: dict[str, float] = defaultdict(float)
    pairs: dict[str, int] = defaultdict(int)
    for some in groups.values():
        for one in some:
            for other in some:
                if other.labeler != one.labeler:
                    agreed, judged = _untied(one, other)
                    right[one.labeler] += agreed
                    pairs[one.labeler] += judged
    return {name: right[name] / pairs[name] for name in pairs if pairs[name]}


def _untied(one: Comparison, other: Comparison) -> tuple[int, int]:
    ranks = dict(zip((response.text for response in other.responses), other.ranks()))
    mine = dict(zip((response.text for response in one.responses), one.ranks()))
    texts = list(mine)
    products = [(mine[a] - mine[b]) * (ranks[a] - ranks[b]) for n, a in enumerate(texts) for b in texts[n + 1:]]
    return sum(product > 0 for product in products), sum(product != 0 for product in products)
