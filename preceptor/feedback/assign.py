"""Who labels what next: overlap, leases that expire, gold questions, and never an item twice for one labeler.

An assignment is taken by one update that changes the row only where nobody holds it; of two labelers who want the same
row, the database lets one have it, and the other looks further.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sql

from preceptor.data.records import Prompt, Response
from preceptor.feedback.audit import note
from preceptor.feedback.records import item_content
from preceptor.feedback.store import Store, insert_new
from preceptor.feedback.tables import assignments, drafts, items, labels

POOL = 256  # open items that a policy chooses among: who reads all of a large store for each labeler makes all wait
Policy = Callable[[Sequence[str], random.Random], Sequence[str]]  # open items, in the order in which to offer them


@dataclass(frozen=True, slots=True)
class Held:
    """What a labeler has before him: an item, its answers in the item's order, and the order in which to show them."""

    item: str
    prompt: Prompt
    responses: list[Response]
    shown: list[int]


def at_random(open_items: Sequence[str], draw: random.Random) -> Sequence[str]:
    """The policy without an opinion."""
    return draw.sample(open_items, len(open_items))


def shown_order(item: str, labeler: str, count: int) -> list[int]:
    """The order in which a labeler sees the answers of an item: random, and the same whenever he comes back."""
    return random.Random(f"shown/{item}/{labeler}").sample(range(count), count)


def next_item(store: Store, labeler: str, policy: Policy = at_random, *, lease: float = 3600.0,
              gold_share: float = 0.0, only_gold: bool = False) -> Held | None:
    """What `labeler` shall rank next: what he holds already, else a new item, which is his for `lease` seconds.

    Args:
        policy: puts the open items in order; the first that nobody snatches is taken.
        gold_share: probability of a gold question, while there are any that this labeler has not had.
        only_gold: gold questions and nothing else, as in the screening test.

    Returns:
        None when there is nothing left for this labeler.
    """
    with store.writing() as connection:
        until = store.now() + lease
        item = _held(connection, labeler, until)
        if item is None:
            done = connection.scalar(sql.select(sql.func.count()).where(assignments.c.labeler == labeler))
            draw = random.Random(f"next/{labeler}/{done}")
            gold = _unseen_gold(connection, labeler) if only_gold or draw.random() < gold_share else []
            if gold:
                item = _take_gold(connection, labeler, draw.choice(gold), until)
            elif not only_gold:
                item = _take(connection, store, labeler, policy, draw, until)
        if item is None:
            return None
        prompt, responses, _ = item_content(store, item)
    return Held(item, prompt, responses, shown_order(item, labeler, len(responses)))


def _held(connection: sql.Connection, labeler: str, until: float) -> str | None:
    """The item that a labeler left unfinished, the latest where there are several, with its lease renewed."""
    mine = sql.and_(assignments.c.labeler == labeler, assignments.c.finished.is_(False))
    item = connection.scalar(sql.select(assignments.c.item).where(mine).order_by(assignments.c.until.desc()).limit(1))
    if item is not None:
        renewed = assignments.update().where(mine, assignments.c.item == item).values(until=until)
        if not connection.execute(renewed).rowcount:  # another labeler has taken it over this very moment
            return None
    return item


def _free(now: float) -> sql.ColumnElement[bool]:
    """Assignments that nobody has finished or holds."""
    held = sql.and_(assignments.c.labeler.is_not(None), assignments.c.until >= now)
    return sql.and_(assignments.c.finished.is_(False), sql.not_(held))


def _new_to(labeler: str, now: float) -> sql.ColumnElement[bool]:
    """Free assignments, joined with their items, that a labeler may have: of no gold question, and of no item that he
    held or ranked before."""
    had = sql.union(sql.select(assignments.c.item).where(assignments.c.labeler == labeler),
                    sql.select(labels.c.item).where(labels.c.labeler == labeler))
    return sql.and_(_free(now), items.c.gold.is_(None), assignments.c.item.not_in(had))


def _take(connection: sql.Connection, store: Store, labeler: str, policy: Policy, draw: random.Random,
          until: float) -> str | None:
    now = store.now()
    wanted = _pool(connection, now, labeler, draw)
    for item in policy(wanted, draw) if wanted else ():
        places = sql.select(assignments.c.number).where(_free(now), assignments.c.item == item)
        for number in connection.scalars(places.order_by(assignments.c.number)).all():
            row = sql.and_(assignments.c.item == item, assignments.c.number == number, _free(now))
            try:
                with connection.begin_nested():
                    taken = connection.execute(assignments.update().where(row).values(labeler=labeler, until=until))
            except sql.exc.IntegrityError:  # the same labeler, in another window, has just got it
                break
            if taken.rowcount:
                return item
    return None


def _pool(connection: sql.Connection, now: float, labeler: str, draw: random.Random) -> list[str]:
    """Open items for a labeler: all, or where there are many, those that follow a random key. Keys are hashes, so
    that this is a draw which an index can answer."""
    query = sql.select(assignments.c.item).distinct().join(items, items.c.key == assignments.c.item)
    query = query.where(_new_to(labeler, now)).order_by(assignments.c.item)
    start = f"{draw.getrandbits(96):024x}"
    pool = list(connection.scalars(query.where(assignments.c.item >= start).limit(POOL)))
    if len(pool) < POOL:
        pool += connection.scalars(query.where(assignments.c.item < start).limit(POOL - len(pool)))
    return sorted(pool)


def _unseen_gold(connection: sql.Connection, labeler: str) -> list[str]:
    had = sql.select(assignments.c.item).where(assignments.c.labeler == labeler)
    query = sql.select(items.c.key).where(items.c.gold.is_not(None), items.c.key.not_in(had))
    return list(connection.scalars(query.order_by(items.c.key)))


def _take_gold(connection: sql.Connection, labeler: str, item: str, until: float) -> str | None:
    """A place of its own: every labeler may have every gold question."""
    return item if _new_place(connection, item, labeler, until, finished=False) else None


def _new_place(connection: sql.Connection, item: str, labeler: str | None, until: float | None, finished: bool) -> bool:
    """Add a place to an item; false where the labeler has one there. Two who add at once try the next number."""
    while True:
        number = connection.scalar(sql.select(sql.func.max(assignments.c.number)).where(assignments.c.item == item))
        row = {"item": item, "number": 0 if number is None else number + 1, "labeler": labeler, "until": until,
               "finished": finished}
        if insert_new(connection, assignments, [row]):
            return True
        mine = sql.and_(assignments.c.item == item, assignments.c.labeler == labeler)
        if labeler is not None and connection.scalar(sql.select(assignments.c.item).where(mine)):
            return False


def finish(store: Store, connection: sql.Connection, labeler: str, item: str) -> bool:
    """Mark a labeler's assignment as done, also when its lease has run out and another holds its place meanwhile.

    Returns:
        False where it was done before: the same ranking was sent twice.
    """
    mine = sql.and_(assignments.c.item == item, assignments.c.labeler == labeler)
    done = connection.execute(assignments.update().where(mine, assignments.c.finished.is_(False)).values(finished=True))
    if done.rowcount:
        return True
    if _new_place(connection, item, labeler, store.now(), finished=True):
        note(store, connection, labeler, "late", item)
        return True
    return False


def reopen(connection: sql.Connection, labeler: str, item: str, until: float) -> None:
    """Give an item back to the labeler who had finished it."""
    mine = sql.and_(assignments.c.item == item, assignments.c.labeler == labeler)
    connection.execute(assignments.update().where(mine).values(finished=False, until=until))


def keep_open(store: Store, wanted: Mapping[str, int]) -> None:
    """Have at least so many unfinished places in each of these items.

    They lack where rankings that had filled them count no longer, as those of a labeler who was excluded.
    """
    unfinished = sql.select(sql.func.count()).select_from(assignments).where(assignments.c.finished.is_(False))
    with store.reading() as connection:
        lacking = {item: count - connection.scalar(unfinished.where(assignments.c.item == item))
                   for item, count in wanted.items()}
    if any(count > 0 for count in lacking.values()):
        with store.writing() as connection:
            for item, count in lacking.items():
                for _ in range(count):
                    _new_place(connection, item, None, None, finished=False)


def skip(store: Store, labeler: str, item: str, reason: str) -> None:
    """Let an item go: this labeler does not get it again, and another one takes his place."""
    with store.writing() as connection:
        mine = sql.and_(assignments.c.item == item, assignments.c.labeler == labeler,
                        assignments.c.finished.is_(False))
        if connection.execute(assignments.update().where(mine).values(finished=True)).rowcount:
            if connection.scalar(sql.select(items.c.gold.is_(None)).where(items.c.key == item)):
                _new_place(connection, item, None, None, finished=False)
            connection.execute(drafts.delete().where(drafts.c.item == item, drafts.c.labeler == labeler))
            note(store, connection, labeler, "skipped", item, reason=reason)


def left_to_do(store: Store, labeler: str, most: int | None = None) -> int:
    """How many items there still are for a labeler, what he holds included; gold questions come unannounced.

    Args:
        most: count no further, for a page that everybody waits for.
    """
    query = sql.select(assignments.c.item).distinct().join(items, items.c.key == assignments.c.item)
    query = query.where(assignments.c.finished.is_(False),
                        sql.or_(assignments.c.labeler == labeler, _new_to(labeler, store.now())))
    with store.reading() as connection:
        return connection.scalar(sql.select(sql.func.count()).select_from(query.limit(most).subquery()))


def gold_to_do(store: Store, labeler: str) -> int:
    """How many gold questions a labeler has not finished."""
    had = sql.select(assignments.c.item).where(assignments.c.labeler == labeler, assignments.c.finished)
    query = sql.select(sql.func.count()).where(items.c.gold.is_not(None), items.c.key.not_in(had))
    with store.reading() as connection:
        return connection.scalar(query.select_from(items))


def waiting(store: Store) -> int:
    """How many rankings are still wanted, from anybody."""
    query = sql.select(sql.func.count()).select_from(assignments).where(assignments.c.finished.is_(False))
    with store.reading() as connection:
        return connection.scalar(query)


def done_by(store: Store, labeler: str) -> int:
    """How many rankings of a labeler count."""
    mine = sql.and_(labels.c.labeler == labeler, labels.c.withdrawn.is_(None))
    with store.reading() as connection:
        return connection.scalar(sql.select(sql.func.count()).where(mine).select_from(labels))
