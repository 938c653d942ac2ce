"""Models and programs as labelers: they rank what people rank, in the same store, under names of their own."""

from collections.abc import Sequence

import sqlalchemy as sql

from preceptor.data.records import Comparison
from preceptor.data.reward import Reward
from preceptor.feedback.records import add_comparisons, item_content
from preceptor.feedback.store import Store, key_of
from preceptor.feedback.tables import items, labels
from preceptor.run.errors import UserError

KINDS = ("model", "program")
DECIMALS = 6  # to which two scores must be equal to tie


def rank_with(store: Store, judge: Reward, labeler: str, kind: str) -> int:
    """Have a judge (a reward model, a larger model, the oracle) rank every item that it has not ranked yet.

    Its rankings belong to the splits of their items, and count for nothing in assignment: the overlap is of people.

    Returns:
        How many items it ranked.

    Raises:
        UserError: the kind is a person's.
    """
    if kind not in KINDS:
        raise UserError(f"A judge is a model or a program, not a '{kind}'.", f"Choose one of: {', '.join(KINDS)}.")
    ranked: dict[str, list[Comparison]] = {}
    for item in _unseen(store, labeler):
        prompt, responses, row = item_content(store, item)
        ranking = in_order(judge.score([prompt] * len(responses), responses))
        one = Comparison(key_of([item, labeler]), prompt, responses, ranking, labeler, kind, round=row["round"],
                         gold=True if row["gold"] else None, created=store.moment())
        ranked.setdefault(row["split"], []).append(one)
    return sum(add_comparisons(store, some, split=split, who=labeler) for split, some in ranked.items())


def in_order(scores: Sequence[float]) -> list[list[int]]:
    """Groups of indices, the highest score first; equal scores are tied."""
    groups: dict[float, list[int]] = {}
    for index, score in enumerate(scores):
        groups.setdefault(round(score, DECIMALS), []).append(index)
    return [groups[score] for score in sorted(groups, reverse=True)]


def _unseen(store: Store, labeler: str) -> list[str]:
    had = sql.select(labels.c.item).where(labels.c.labeler == labeler)
    with store.reading() as connection:
        return list(connection.scalars(sql.select(items.c.key).where(items.c.key.not_in(had)).order_by(items.c.place)))
