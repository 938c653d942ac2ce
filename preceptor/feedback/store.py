"""The store: one SQLite file, or a PostgreSQL database named by a URL, behind the same few calls.

Writers of a SQLite file take turns: each transaction that writes says so before it reads, so that none finds the file
locked half-way ("database is locked" is what labelers of other tools complain of most).
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sql
from sqlalchemy.dialects import postgresql, sqlite

from preceptor.feedback import tables
from preceptor.feedback.place import is_url
from preceptor.run.errors import UserError
from preceptor.run.files import hash_value

PATIENCE = 60_000  # milliseconds that a writer waits for its turn
REMEMBERED = 1000  # contents of items
IDLE = 5           # seconds after which a connection to PostgreSQL is tried before it is used
CONNECTIONS = 16   # to PostgreSQL, kept open: one that is opened for each of many at once costs more than what it does


class Store:
    """An open store. `now` gives seconds since 1970 and stands in for the clock in tests."""

    def __init__(self, engine: sql.Engine, now: Callable[[], float] = time.time) -> None:
        self.engine, self.now = engine, now
        single = {"isolation_level": "AUTOCOMMIT"} if engine.dialect.name == "postgresql" else {}
        self._reader = engine.execution_options(**single)  # no round trips to begin and end what changes nothing
        self._turn = threading.Lock()
        self._open = threading.local()
        self._known: dict[str, Any] = {}
        self._turn_of_known = threading.Lock()

    @contextmanager
    def reading(self) -> Iterator[sql.Connection]:
        """What changes nothing; within another one, or a transaction, of the same thread it is that one.

        In SQLite all of it sees one state of the store. In PostgreSQL each statement sees what was there when it began,
        so that what two of them find need not agree: contents never change, but a ranking may come in between.
        """
        outer = getattr(self._open, "connection", None)
        if outer is not None:
            yield outer
            return
        with self._reader.connect() as connection, connection.begin(), self._within(connection):
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sql.Connection]:
        """A transaction that changes all that is asked, or nothing; what it wrote is on the disk when it ends."""
        with self._turn if self.engine.dialect.name == "sqlite" else nullcontext():
            with self.engine.connect().execution_options(writing=True) as connection, connection.begin(), \
                    self._within(connection):
                yield connection

    @contextmanager
    def _within(self, connection: sql.Connection) -> Iterator[None]:
        outer = getattr(self._open, "connection", None)
        self._open.connection = connection
        try:
            yield
        finally:
            self._open.connection = outer

    def known(self, key: str, read: Callable[[], Any]) -> Any:
        """What a key that is the hash of a content stands for: read once, and remembered, as it cannot change."""
        found = self._known.get(key)
        if found is None:
            found = read()
            with self._turn_of_known:
                if len(self._known) >= REMEMBERED:
                    self._known.pop(next(iter(self._known)))
                self._known[key] = found
        return found

    def moment(self) -> str:
        """This moment as people and records write it, in UTC to the millisecond."""
        return datetime.fromtimestamp(self.now(), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def close(self) -> None:
        """Let go of the database."""
        self.engine.dispose()


def open_store(place: str | Path, now: Callable[[], float] = time.time, *, create: bool = True) -> Store:
    """Open the SQLite file at a path, or the database of a `postgresql://` URL; tables that lack are made.

    Raises:
        UserError: the database cannot be reached, its driver is not installed, or there is none and none may be made.
    """
    if is_url(place):
        engine = _postgresql(str(place))
    else:
        path = Path(place)
        if not create and not path.exists():
            raise UserError(f"There is no store of labels '{path}'.", "Label first, or name another file.")
        path.parent.mkdir(parents=True, exist_ok=True)
        engine = _sqlite(path)
    try:
        tables.metadata.create_all(engine)
    except sql.exc.DBAPIError as error:
        reason = " ".join(str(error.orig).split())
        raise UserError(f"The store of labels '{public_place(place)}' cannot be opened: {reason}.",
                        "Check that it is a store of Preceptor's, and that its database runs.") from None
    return Store(engine, now)


def public_place(place: str | Path) -> str:
    """The place of a store as it may be shown: a URL without its password."""
    return sql.make_url(str(place)).render_as_string() if is_url(place) else str(place)


def _postgresql(url: str) -> sql.Engine:
    try:
        import psycopg
    except ImportError:
        raise UserError("A PostgreSQL store needs the package psycopg.",
                        "Install it with: pip install 'preceptor[postgresql]'") from None
    place = sql.make_url(url)
    if not place.drivername.startswith("postgres"):
        raise UserError(f"A store of labels cannot be a database of '{place.drivername}'.",
                        "Give a path that ends in .sqlite, or a URL that starts with postgresql://.")
    place = place.set(drivername="postgresql+psycopg")
    engine = sql.create_engine(place, pool_size=CONNECTIONS, max_overflow=0, pool_use_lifo=True)

    @sql.event.listens_for(engine, "checkin")
    def _returned(_connection: Any, record: Any) -> None:
        record.info["since"] = time.monotonic()

    @sql.event.listens_for(engine, "checkout")
    def _taken(connection: Any, record: Any, _proxy: Any) -> None:
        """A connection that was idle may have died with its server; one that was just used has not."""
        if time.monotonic() - record.info.get("since", time.monotonic()) > IDLE:
            try:
                connection.execute("SELECT 1")
                connection.rollback()
            except psycopg.Error:
                raise sql.exc.DisconnectionError from None

    return engine


def _sqlite(path: Path) -> sql.Engine:
    settings = {"check_same_thread": False, "timeout": PATIENCE / 1000}
    engine = sql.create_engine(f"sqlite:///{path}", connect_args=settings)

    @sql.event.listens_for(engine, "connect")
    def _connected(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # or the driver would begin transactions by itself, and too late
        for setting in ("journal_mode=WAL", f"busy_timeout={PATIENCE}", "foreign_keys=ON", "synchronous=FULL"):
            connection.execute(f"PRAGMA {setting}")

    @sql.event.listens_for(engine, "begin")
    def _begun(connection: sql.Connection) -> None:
        writing = connection.get_execution_options().get("writing", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")

    return engine


def insert_new(connection: sql.Connection, table: sql.Table, rows: Sequence[dict[str, Any]]) -> int:
    """Add rows; those whose key is there already are left as they are. Returns how many were added."""
    build = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}[connection.dialect.name]
    if not rows:
        return 0
    adding = build(table).on_conflict_do_nothing().returning(next(iter(table.primary_key)))  # drivers do not count
    return len(connection.execute(adding, list(rows)).all())


def key_of(value: Any) -> str:
    """A name for a content: 96 bits of its hash, so that the same content has the same name everywhere."""
    return hash_value(value)[:24]
