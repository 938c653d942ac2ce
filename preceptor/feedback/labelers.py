"""Labelers: people, models and programs, by name; who may do what, and whose labels count."""

import getpass
from typing import Any

import sqlalchemy as sql

from preceptor.data.records import LABELER_KINDS
from preceptor.feedback.audit import note
from preceptor.feedback.store import Store, insert_new
from preceptor.feedback.tables import labelers
from preceptor.run.errors import UserError, nearest

ROLES = ("candidate", "labeler", "reviewer", "admin")  # each may do what those before it may
LONGEST_NAME = 60
HOLD = sql.select(labelers.c.name).where(labelers.c.name == sql.bindparam("who")).with_for_update(
    key_share=True)  # sessions, which name him, may still be opened


def add_labeler(store: Store, name: str, *, kind: str = "person", role: str = "labeler",
                who: str = "preceptor") -> bool:
    """Add a labeler; one who is there already stays as he is. Returns whether there is a new one.

    Raises:
        UserError: the name is empty, too long or not printable, or the kind or role is unknown.
    """
    check_name(name)
    if kind not in LABELER_KINDS:
        raise UserError(f"Unknown kind of labeler '{kind}'.", nearest(kind, LABELER_KINDS))
    if role not in ROLES:
        raise UserError(f"Unknown role '{role}'.", nearest(role, ROLES))
    row = {"name": name, "kind": kind, "role": role, "excluded": False, "created": store.moment()}
    with store.writing() as connection:
        added = insert_new(connection, labelers, [row])
        if added:
            note(store, connection, who, "labeler added", name, kind=kind, role=role)
    return bool(added)


def hold(connection: sql.Connection, name: str) -> None:
    """Let others who are about to change what this labeler said wait until the transaction ends.

    So of two changes at once, as by a button that is pressed twice, the later one sees what the earlier one did. In
    SQLite writers take turns anyway.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(HOLD, {"who": name})


def account_name() -> str:
    """Who sits at this machine, as its account says."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # an account without a name
        return "admin"


def check_name(name: str) -> None:
    """A name that a person can read in a list.

    Raises:
        UserError: it is empty, too long, has white space at its ends, or characters that cannot be printed.
    """
    if not name or len(name) > LONGEST_NAME or name != name.strip() or not name.isprintable():
        raise UserError(f"A labeler's name has 1 to {LONGEST_NAME} printable characters, no space at its ends.",
                        "Give another name.")


def all_labelers(store: Store) -> dict[str, dict[str, Any]]:
    """Every labeler by name: `{name, kind, role, excluded, created}`."""
    columns = [labelers.c[name] for name in ("name", "kind", "role", "excluded", "created")]
    with store.reading() as connection:
        rows = connection.execute(sql.select(*columns).order_by(labelers.c.name)).mappings()
        return {row["name"]: dict(row) for row in rows}


def exclude(store: Store, name: str, excluded: bool, who: str, reason: str = "") -> None:
    """Let the labels of a labeler count no longer, or again. Nothing is deleted; the log says who did it and why.

    Raises:
        UserError: there is no such labeler.
    """
    with store.writing() as connection:
        changed = connection.execute(labelers.update().where(labelers.c.name == name).values(excluded=excluded))
        if not changed.rowcount:
            raise UserError(f"There is no labeler '{name}'.", "Check the name.")
        note(store, connection, who, "excluded" if excluded else "taken back in", name, reason=reason)


def set_role(store: Store, name: str, role: str, who: str) -> None:
    """Give a labeler another role.

    Raises:
        UserError: the labeler or the role does not exist.
    """
    if role not in ROLES:
        raise UserError(f"Unknown role '{role}'.", nearest(role, ROLES))
    with store.writing() as connection:
        changed = connection.execute(labelers.update().where(labelers.c.name == name).values(role=role))
        if not changed.rowcount:
            raise UserError(f"There is no labeler '{name}'.", "Check the name.")
        note(store, connection, who, "role changed", name, role=role)
