"""Stores on both databases, with a clock that the test turns."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sql

from benchmarks.postgresql import initdb, server
from preceptor.data.records import Prompt, Response
from preceptor.feedback.store import Store, open_store


@dataclass
class Clock:
    """Seconds since 1970 that only the test moves."""

    seconds: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


def asked(count: int, answers: int = 3) -> list[tuple[Prompt, list[Response]]]:
    """Prompts with numbered answers."""
    return [(Prompt(f"p{n}", [{"role": "user", "content": f"What is {n}?"}]),
             [Response(f"answer {n}.{k}", model=f"model{k}") for k in range(answers)]) for n in range(count)]


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """The URL of a database server of the session's own, on a socket in a folder that nobody else sees."""
    if initdb() is None and "CI" in os.environ:
        pytest.fail("no PostgreSQL here, and CI must test on it")
    if initdb() is None:
        pytest.skip("PostgreSQL is not installed: this test needs its initdb and pg_ctl")
    with server(durable=False) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where an empty store may be made, on each database in turn."""
    if request.param == "sqlite":
        return str(tmp_path / "feedback.sqlite")
    url = request.getfixturevalue("postgresql")
    name = f"t{abs(hash(request.node.nodeid))}"
    engine = sql.create_engine(url.replace("postgresql:", "postgresql+psycopg:"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    engine.dispose()
    return url.replace("/postgres?", f"/{name}?")


@pytest.fixture
def store(place: str, clock: Clock) -> Iterator[Store]:
    opened = open_store(place, clock)
    yield opened
    opened.close()


@pytest.fixture
def small_store(tmp_path: Path, clock: Clock) -> Iterator[Store]:
    """An empty store in a file, where the database does not matter."""
    opened = open_store(tmp_path / "small.sqlite", clock)
    yield opened
    opened.close()
