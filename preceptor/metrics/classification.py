"""Labels against labels: accuracy, precision, recall and F1 (macro, micro), and the rank of the right answer.

A label is anything hashable. Of a class c with tp right, fp wrongly given and fn missed:

    precision = tp / (tp + fp),  recall = tp / (tp + fn),  F1 = 2 tp / (2 tp + fp + fn)

A quotient with nothing below the line is 0, as scikit-learn has it with `zero_division=0`.
"""

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Scores:
    """Precision, recall and F1 of a class, or their average; `support` counts the gold labels behind it."""

    precision: float
    recall: float
    f1: float
    support: int

    def to_dict(self) -> dict[str, float]:
        """A JSON object."""
        return asdict(self)


def accuracy(gold: Sequence[Hashable], guessed: Sequence[Hashable]) -> float | None:
    """The share of equal labels; None where there is none."""
    pairs = list(zip(gold, guessed, strict=True))
    return sum(one == other for one, other in pairs) / len(pairs) if pairs else None


def scores_of(right: int, guessed: int, gold: int) -> Scores:
    """Precision, recall and F1 from the counts of what is right, what was guessed and what was wanted."""
    return Scores(right / guessed if guessed else 0.0, right / gold if gold else 0.0,
                  2 * right / (guessed + gold) if guessed + gold else 0.0, gold)


def by_class(gold: Sequence[Hashable], guessed: Sequence[Hashable]) -> dict[Hashable, Scores]:
    """The scores of every label that occurs on either side, in the order of occurrence, gold first."""
    right = Counter(one for one, other in zip(gold, guessed, strict=True) if one == other)
    wanted, given = Counter(gold), Counter(guessed)
    return {label: scores_of(right[label], given[label], wanted[label]) for label in dict.fromkeys([*gold, *guessed])}


def macro(classes: Iterable[Scores]) -> Scores:
    """The plain mean over classes: a rare class weighs as much as a common one."""
    found = list(classes)
    means = (math.fsum(getattr(one, name) for one in found) / max(len(found), 1)
             for name in ("precision", "recall", "f1"))
    return Scores(*means, sum(one.support for one in found))


def micro(gold: Sequence[Hashable], guessed: Sequence[Hashable], labels: Iterable[Hashable] | None = None) -> Scores:
    """The scores of all decisions together. Over all labels it is the accuracy; without a class "none" it is not.

    Args:
        labels: the classes that count; None counts all.
    """
    counted = set(gold) | set(guessed) if labels is None else set(labels)
    return scores_of(sum(one == other and one in counted for one, other in zip(gold, guessed, strict=True)),
                     sum(label in counted for label in guessed), sum(label in counted for label in gold))


def reciprocal_rank(ranked: Sequence[Hashable], right: Iterable[Hashable]) -> float:
    """1 / the place of the first right one among the ranked, best first; 0 where none is (Voorhees 1999)."""
    wanted = set(right)
    return next((1 / place for place, one in enumerate(ranked, start=1) if one in wanted), 0.0)


def mean_reciprocal_rank(ranked: Sequence[Sequence[Hashable]], right: Sequence[Iterable[Hashable]]) -> float | None:
    """The mean reciprocal rank over questions; None where there is none."""
    values = [reciprocal_rank(one, wanted) for one, wanted in zip(ranked, right, strict=True)]
    return math.fsum(values) / len(values) if values else None
