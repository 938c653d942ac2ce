"""What the process takes of the machine."""

import pytest

from preceptor.run.machine import cores, threads


@pytest.mark.parametrize("asked, taken", [("1", 1), (str(cores()), cores()), (str(cores() + 7), cores()),
                                          ("", cores()), ("0", cores()), ("many", cores())])
def test_threads_are_as_many_as_asked_for_and_never_more_than_processors(monkeypatch: pytest.MonkeyPatch, asked: str,
                                                                         taken: int) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert threads() == taken


def test_nobody_asking_is_a_thread_a_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert threads() == cores()
