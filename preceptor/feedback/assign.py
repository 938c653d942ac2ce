"""Who labels what next: overlap, leases that expire, gold questions, and never an item twice for one labeler.

An assignment is taken by one update of a row that nobody holds; of two labelers who want the same row, the database
lets one have it, and the other looks further.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import sqlalchemy as sql

from preceptor.data.records import Prompt, Response
from preceptor.feedback.audit import note
from preceptor.feedback.labelers import hold
from preceptor.feedback.records import item_content
from preceptor.feedback.store import Store, insert_new
from preceptor.feedback.tables import assignments, drafts, items, labels

POOL = 256  # open items that a policy chooses among: who reads all of a large store for each labeler makes all wait
UNBOUNDED = 2**31 - 1  # of the databases' integers
Policy = Callable[[Sequence[str], random.Random], Sequence[str]]  # open items, in the order in which to offer them
WHO, WHICH, NOW, TILL = (sql.bindparam(name) for name in ("who", "which", "now", "till"))  # of the statements below


@dataclass(frozen=True, slots=True)
class Held:
    """What a labeler has before him: an item, its answers in the item's order, the order in which to show them, and
    whether he had it before, so that there may be a draft."""

    item: str
    prompt: Prompt
    responses: list[Response]
    shown: list[int]
    again: bool = field(default=False, compare=False)


def at_random(open_items: Sequence[str], draw: random.Random) -> Sequence[str]:
    """The policy without an opinion."""
    return draw.sample(open_items, len(open_items))


def shown_order(item: str, labeler: str, count: int) -> list[int]:
    """The order in which a labeler sees the answers of an item: random, and the same whenever he comes back."""
    return random.Random(f"shown/{item}/{labeler}").sample(range(count), count)


def next_item(store: Store, labeler: str, policy: Policy = at_random, *, pool: int = 0, lease: float = 3600.0,
              gold_share: float = 0.0, only_gold: bool = False) -> Held | None:
    """What `labeler` shall rank next: what he holds already, else a new item, which is his for `lease` seconds.

    Args:
        policy: puts the open items in order; the first that nobody snatches is taken.
        pool: how many open items the policy chooses among; 0 takes `POOL`.
        gold_share: probability of a gold question, while there are any that this labeler has not had.
        only_gold: gold questions and nothing else, as in the screening test.

    Returns:
        None when there is nothing left for this labeler.
    """
    with store.writing() as connection:
        hold(connection, labeler)  # in another window he may be about to take the same item
        until = store.now() + lease
        item, had = _held(connection, labeler, until)
        again = item is not None
        if item is None:
            draw = random.Random(f"next/{labeler}/{had}")
            gold = _unseen_gold(connection, labeler) if only_gold or draw.random() < gold_share else []
            if gold:
                item = _take_gold(connection, labeler, draw.choice(gold), until)
            elif not only_gold:
                item = _take(connection, store, labeler, policy, pool or POOL, draw, until)
    if item is None:
        return None
    prompt, responses = item_content(store, item)
    return Held(item, prompt, responses, shown_order(item, labeler, len(responses)), again)


def _held(connection: sql.Connection, labeler: str, until: float) -> tuple[str | None, int]:
    """The item that a labeler left unfinished, the latest where there are several, with its lease renewed; and how many
    items he has had."""
    item, had = connection.execute(HELD, {"who": labeler}).one()
    if item is not None:
        renewed = connection.execute(RENEW, {"who": labeler, "which": item, "till": until})
        if not renewed.rowcount:  # another labeler has taken it over this very moment
            return None, had
    return item, had


def _take(connection: sql.Connection, store: Store, labeler: str, policy: Policy, pool: int, draw: random.Random,
          until: float) -> str | None:
    now = store.now()
    wanted = _open_items(connection, now, labeler, draw, pool)
    for item in policy(wanted, draw) if wanted else ():
        if connection.scalar(CLAIM, {"who": labeler, "which": item, "now": now, "till": until}) is not None:
            return item
    return None


def _open_items(connection: sql.Connection, now: float, labeler: str, draw: random.Random, most: int) -> list[str]:
    """Open items for a labeler: all, or where there are many, those that follow a random key. Keys are hashes, so
    that this is a draw which an index can answer."""
    start = {"who": labeler, "now": now, "start": f"{draw.getrandbits(96):024x}"}
    found = list(connection.scalars(BEHIND, start | {"most": most}))
    if len(found) < most:
        found += connection.scalars(BEFORE, start | {"most": most - len(found)})
    return sorted(found)


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
        False where it was done before: the same ranking was sent twice, or the item was passed on.
    """
    done = connection.execute(FINISH, {"who": labeler, "which": item})
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


def left_to_do(store: Store, labeler: str, most: int = UNBOUNDED) -> int:
    """How many items there still are for a labeler, what he holds included; gold questions come unannounced.

    Args:
        most: count no further, for a page that everybody waits for.
    """
    with store.reading() as connection:
        return connection.scalar(LEFT, {"who": labeler, "now": store.now(), "most": most})


def standing(store: Store, labeler: str, most: int) -> tuple[int, int]:
    """`done_by` and `left_to_do` in one."""
    with store.reading() as connection:
        done, left = connection.execute(STANDING, {"who": labeler, "now": store.now(), "most": most}).one()
    return done, left


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
    with store.reading() as connection:
        return connection.scalar(DONE, {"who": labeler})


# Statements on the way of every page: to build one anew takes longer than to run it ---------------------------------

def _free(places: sql.FromClause = assignments) -> sql.ColumnElement[bool]:
    """Assignments that nobody has finished or holds."""
    held = sql.and_(places.c.labeler.is_not(None), places.c.until >= NOW)
    return sql.and_(places.c.finished.is_(False), sql.not_(held))


def _new() -> sql.ColumnElement[bool]:
    """Free assignments, joined with their items, that a labeler may have: of no gold question, and of no item that he
    held or ranked before."""
    had = sql.union(sql.select(assignments.c.item).where(assignments.c.labeler == WHO),
                    sql.select(labels.c.item).where(labels.c.labeler == WHO))
    return sql.and_(_free(), items.c.gold.is_(None), assignments.c.item.not_in(had))


def _items(*conditions: sql.ColumnElement[bool]) -> sql.Select:
    """At most so many different items that have such assignments."""
    query = sql.select(assignments.c.item).distinct().join(items, items.c.key == assignments.c.item)
    return query.where(*conditions).limit(sql.bindparam("most", type_=sql.Integer))


def _open(start: sql.ColumnElement[bool], also: sql.ColumnElement[bool]) -> sql.Select:
    """Open items from or up to a key, which is said of both tables: else the whole index of one would be read."""
    return _items(_new(), start, also).order_by(assignments.c.item)


def _claim() -> sql.Update:
    """Takes the first free place of an item that nobody else is taking, where there is one."""
    places = assignments.alias()
    first = sql.select(places.c.number).where(_free(places), places.c.item == WHICH).order_by(places.c.number)
    place = first.limit(1).with_for_update(skip_locked=True).scalar_subquery()
    row = sql.and_(assignments.c.item == WHICH, assignments.c.number == place)
    return assignments.update().where(row).values(labeler=WHO, until=TILL).returning(assignments.c.number)


UNFINISHED = sql.and_(assignments.c.labeler == WHO, assignments.c.finished.is_(False))
HELD = sql.select(
    sql.select(assignments.c.item).where(UNFINISHED).order_by(assignments.c.until.desc()).limit(1).scalar_subquery(),
    sql.select(sql.func.count()).select_from(assignments).where(assignments.c.labeler == WHO).scalar_subquery())
RENEW = assignments.update().where(UNFINISHED, assignments.c.item == WHICH).values(until=TILL)
FINISH = assignments.update().where(UNFINISHED, assignments.c.item == WHICH).values(finished=True)
CLAIM = _claim()
START = sql.bindparam("start")
BEHIND = _open(assignments.c.item >= START, items.c.key >= START)
BEFORE = _open(assignments.c.item < START, items.c.key < START)
LEFT = sql.select(sql.func.count()).select_from(_items(
    assignments.c.finished.is_(False), sql.or_(assignments.c.labeler == WHO, _new())).subquery())
DONE = sql.select(sql.func.count()).where(labels.c.labeler == WHO, labels.c.withdrawn.is_(None))
STANDING = sql.select(DONE.scalar_subquery(), LEFT.scalar_subquery())
