"""Stores on both databases, with a clock that the test turns."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

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
