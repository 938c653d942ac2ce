"""What a labeler says about an item: drafts, rankings that are submitted, and rankings that are taken back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import uuid4

import sqlalchemy as sql

from preceptor.data.records import Comparison, Prompt, Response
from preceptor.feedback.assign import finish, reopen, shown_order
from preceptor.feedback.audit import note
from preceptor.feedback.labelers import hold
from preceptor.feedback.records import item_content, item_row, label_row
from preceptor.feedback.store import Store, insert_new
from preceptor.feedback.tables import drafts, items, labelers, labels
from preceptor.feedback.writings import add_corrections, drop_corrections
from preceptor.run.errors import UserError

FLAGS = ("fails_task", "inappropriate", "hallucination", "satisfies_constraint", "sexual", "violent",
         "encourages_harm", "denigrates", "harmful_advice", "opinion", "moral_judgment")
"""The metadata of InstructGPT's Table 3 that are yes or no."""
PROMPT_FLAGS = ("unclear", "sensitive")
AXES = ("accuracy", "relevance", "naturalness", "concision")
MOST = {"overall": 7, **dict.fromkeys(AXES, 5)}  # every scale starts at 1
LONGEST_COMMENT = 4000
MINE = sql.and_(drafts.c.item == sql.bindparam("which"), drafts.c.labeler == sql.bindparam("who"))
DRAFT = sql.select(drafts.c.content).where(MINE)
KIND = sql.select(labelers.c.kind).where(labelers.c.name == sql.bindparam("who"))


@dataclass(frozen=True, slots=True)
class Judgement:
    """A ranking of an item's answers, in the item's order, with what was said of each of them.

    `corrections` are answers as they should have been, by their numbers in the item.
    """

    ranking: list[list[int]]
    scores: list[dict[str, int]] = field(default_factory=list)
    flags: list[list[str]] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)
    corrections: Mapping[int, str] = field(default_factory=dict)
    prompt_flags: list[str] = field(default_factory=list)
    seconds: float | None = None


def check(judgement: Judgement, answers: int) -> None:
    """Whether a judgement is one that the page can make.

    Raises:
        UserError: the ranking does not name each answer once, or a score, flag or comment is out of its range.
    """
    if sorted(index for group in judgement.ranking for index in group) != list(range(answers)) \
            or [] in judgement.ranking:
        raise UserError(f"The ranking must name each of the {answers} answers once.", "Rank every answer.")
    for name in ("scores", "flags", "comments"):
        if len(getattr(judgement, name)) not in (0, answers):
            raise UserError(f"There must be {answers} {name}, one for each answer.", "Send one for each answer.")
    for scores in judgement.scores:
        for name, value in scores.items():
            if name not in MOST or type(value) is not int or not 1 <= value <= MOST[name]:
                raise UserError(f"There is no score '{name}' of {value}.", "Give whole scores on the scales shown.")
    wrong = {flag for flags in judgement.flags for flag in flags} - set(FLAGS)
    wrong |= set(judgement.prompt_flags) - set(PROMPT_FLAGS)
    if wrong:
        raise UserError(f"There is no flag '{min(wrong)}'.", f"Choose among: {', '.join((*FLAGS, *PROMPT_FLAGS))}.")
    if not set(judgement.corrections) <= set(range(answers)):
        raise UserError("A correction is of no answer that there is.", "Name an answer of the item.")
    if any(len(comment) > LONGEST_COMMENT for comment in judgement.comments):
        raise UserError(f"A comment has more than {LONGEST_COMMENT} characters.", "Shorten it.")


def submit(store: Store, labeler: str, item: str, judgement: Judgement) -> str:
    """Keep a judgement; returns its id. When the call returns, it is on the disk; sent again, it is kept once. It is
    kept as well where the labeler had passed the item on: nothing that was sent is lost.

    Raises:
        KeyError: there is no such item.
        UserError: the judgement is not one that the page can make.
    """
    with store.writing() as connection:
        row = item_row(connection, item)
        prompt, responses = item_content(store, item)
        check(judgement, len(responses))
        if not finish(store, connection, labeler, item):
            hold(connection, labeler)
            mine = sql.and_(labels.c.item == item, labels.c.labeler == labeler, labels.c.withdrawn.is_(None))
            said = connection.scalar(sql.select(labels.c.key).where(mine).order_by(labels.c.place.desc()))
            if said is not None:
                return said
            note(store, connection, labeler, "late", item)  # passed on in one window, and ranked in another
        kind = connection.scalar(KIND, {"who": labeler}) or "person"
        comparison = _record(store, labeler, kind, prompt, responses, row, judgement)
        connection.execute(labels.insert(), label_row(comparison, item, row["split"]))
        connection.execute(drafts.delete().where(MINE), {"who": labeler, "which": item})
        add_corrections(store, connection, labeler, comparison.id, prompt, judgement.corrections)
        note(store, connection, labeler, "ranked", item, label=comparison.id)
    return comparison.id


def _record(store: Store, labeler: str, kind: str, prompt: Prompt, responses: Sequence[Response], row: dict[str, Any],
            judgement: Judgement) -> Comparison:
    """The judgement as a record; what was not judged is absent."""
    count = len(responses)
    scores = judgement.scores or [{}] * count
    flags, comments = judgement.flags or [[]] * count, judgement.comments or [""] * count
    judged = [replace(response, scores={name: float(value) for name, value in scores[index].items()} or None,
                      flags=sorted(set(flags[index]), key=FLAGS.index) or None, comment=comments[index] or None)
              for index, response in enumerate(responses)]
    return Comparison(
        id=uuid4().hex, prompt=prompt, responses=judged,
        ranking=[sorted(group) for group in judgement.ranking], labeler=labeler, kind=kind,
        shown=shown_order(row["key"], labeler, count), prompt_flags=sorted(set(judgement.prompt_flags)) or None,
        gold=True if row["gold"] else None, round=row["round"], seconds=judgement.seconds, created=store.moment())


def withdraw(store: Store, labeler: str, label: str, lease: float = 3600.0) -> str | None:
    """Take a ranking back: it and its corrections stay in the store, marked, and the labeler holds its item again.

    Returns:
        The item; None where the labeler has no such ranking.
    """
    with store.writing() as connection:
        mine = sql.and_(labels.c.key == label, labels.c.labeler == labeler, labels.c.withdrawn.is_(None))
        item = connection.scalar(sql.select(labels.c.item).where(mine))
        if item is not None:
            connection.execute(labels.update().where(mine).values(withdrawn=store.moment()))
            drop_corrections(store, connection, label)
            reopen(connection, labeler, item, store.now() + lease)
            note(store, connection, labeler, "withdrawn", item, label=label)
    return item


def save_draft(store: Store, labeler: str, item: str, content: dict[str, Any]) -> None:
    """Keep what is not submitted yet, in place of what was kept before.

    Raises:
        KeyError: there is no such item.
    """
    with store.writing() as connection:
        if connection.scalar(sql.select(items.c.key).where(items.c.key == item)) is None:
            raise KeyError(item)
        connection.execute(drafts.delete().where(drafts.c.item == item, drafts.c.labeler == labeler))
        insert_new(connection, drafts, [{"item": item, "labeler": labeler, "content": content, "saved": store.now()}])


def draft_of(store: Store, labeler: str, item: str) -> dict[str, Any] | None:
    """What a labeler had filled in when he left the item."""
    with store.reading() as connection:
        return connection.scalar(DRAFT, {"who": labeler, "which": item})
