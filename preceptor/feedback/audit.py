"""The audit log: who did what and when. Rows are added in the transaction of what they tell of, and never changed."""

from typing import Any

import sqlalchemy as sql

from preceptor.feedback.store import Store
from preceptor.feedback.tables import audit


def note(store: Store, connection: sql.Connection, who: str, what: str, about: str | None = None,
         **details: Any) -> None:
    """Add a line to the log, as part of the transaction that does what the line tells."""
    connection.execute(audit.insert(), {"at": store.moment(), "who": who, "what": what, "about": about,
                                        "details": details or None})


def history(store: Store, last: int = 200) -> list[dict[str, Any]]:
    """The newest lines of the log, the newest first: `{place, at, who, what, about, details}`."""
    query = sql.select(audit).order_by(audit.c.place.desc()).limit(last)
    with store.reading() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]
