"""Models and programs as labelers: they rank what people rank, in the same store, under names of their own."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import sqlalchemy as sql

from preceptor.data.records import Comparison, Prompt, Response
from preceptor.data.reward import Reward
from preceptor.feedback.records import add_comparisons, item_content, item_row
from preceptor.feedback.store import Store, key_of
from preceptor.feedback.tables import items, labels
from preceptor.run.errors import UserError

KINDS = ("model", "program")
AT_ONCE = 16  # items that a judge is asked about before its rankings are kept
DECIMALS = 6  # to which two scores must be equal to tie


def rank_with(store: Store, judge: Reward, labeler: str, kind: str,
              done: Callable[[int], None] = lambda _: None) -> int:
    """Have a judge (a reward model, a larger model, the oracle) rank every item that it has not ranked yet.

    Its rankings belong to the splits of their items, and count for nothing in assignment: the overlap is of people.
    They are kept as they come, so that a slow judge who is stopped loses few; `done` hears how many are ranked.

    Returns:
        How many items it ranked.

    Raises:
        UserError: the kind is a person's.
    """
    if kind not in KINDS:
        raise UserError(f"A judge is a model or a program, not a '{kind}'.", f"Choose one of: {', '.join(KINDS)}.")
    had, unseen = _seen(store, labeler)
    for some in _together(store, unseen):
        scores = iter(judge.score([prompt for _, prompt, responses, _ in some for _ in responses],
                                  [response for _, _, responses, _ in some for response in responses]))
        ranked: dict[str, list[Comparison]] = {}
        for item, prompt, responses, row in some:
            ranking = in_order([next(scores) for _ in responses])
            one = Comparison(key_of([item, labeler]), prompt, responses, ranking, labeler, kind, round=row["round"],
                             gold=True if row["gold"] else None, created=store.moment())
            ranked.setdefault(row["split"], []).append(one)
        for split, rankings in ranked.items():
            add_comparisons(store, rankings, split=split, who=labeler)
        had += len(some)
        done(had)
    return len(unseen)


def _together(store: Store, keys: Sequence[str]) -> Iterator[list[tuple[str, Prompt, list[Response], dict[str, Any]]]]:
    """Items with their contents, a few at once, each of another prompt: a judge may compare the answers to one prompt.
    """
    some: list[tuple[str, Prompt, list[Response], dict[str, Any]]] = []
    for item in keys:
        with store.reading() as connection:
            one = (item, *item_content(store, item), item_row(connection, item))
        if len(some) == AT_ONCE or any(one[1].id == other[1].id for other in some):
            yield some
            some = []
        some.append(one)
    if some:
        yield some


def in_order(scores: Sequence[float]) -> list[list[int]]:
    """Groups of indices, the highest score first; equal scores are tied."""
    groups: dict[float, list[int]] = {}
    for index, score in enumerate(scores):
        groups.setdefault(round(score, DECIMALS), []).append(index)
    return [groups[score] for score in sorted(groups, reverse=True)]


def _seen(store: Store, labeler: str) -> tuple[int, list[str]]:
    """How many items a labeler has ranked, and the others."""
    query = sql.select(labels.c.item).where(labels.c.labeler == labeler)
    with store.reading() as connection:
        had = set(connection.scalars(query))
        every = list(connection.scalars(sql.select(items.c.key).order_by(items.c.place)))
    return len(had), [item for item in every if item not in had]
