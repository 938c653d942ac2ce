"""Work gathered from several callers: everybody gets his own, one's error is his alone, and who left costs nothing."""

import asyncio
import threading
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the server needs the extra 'web'")

from preceptor.generate.engine import Full
from preceptor.web.gathered import Gathered


def test_callers_share_batches_and_get_their_own_results() -> None:
    batches: list[list[int]] = []
    go = threading.Event()

    def double(items: list[int]) -> list[int]:
        batches.append(items)
        go.wait(10)
        return [2 * item for item in items]

    async def everybody() -> list[list[int]]:
        gathered = Gathered(double, rows=4, most=50)
        callers = [asyncio.create_task(gathered.results([10 * n, 10 * n + 1])) for n in range(5)]
        while not batches:
            await asyncio.sleep(0.01)
        go.set()
        found = await asyncio.gather(*callers)
        assert gathered.at_work() == 0
        return found

    assert asyncio.run(everybody()) == [[20 * n, 20 * n + 2] for n in range(5)]
    assert max(map(len, batches)) == 4 and sum(map(len, batches)) == 10 and len(batches) <= 4


def test_an_error_is_told_to_whom_it_concerns() -> None:
    def careful(items: list[int]) -> list[int]:
        if 13 in items:
            raise ValueError("13")
        return items

    async def three() -> list[Any]:
        gathered = Gathered(careful, rows=8, most=50)
        return await asyncio.gather(*(gathered.results(items) for items in ([1, 2], [3, 13], [5])),
                                    return_exceptions=True)

    found = asyncio.run(three())
    assert found[0] == [1, 2] and isinstance(found[1], ValueError) and found[2] == [5]


def test_no_more_wait_than_may_and_who_left_is_not_worked_for() -> None:
    worked: list[int] = []
    begun, go = threading.Event(), threading.Event()

    def slowly(items: list[int]) -> list[int]:
        begun.set()
        go.wait(10)
        worked.extend(items)
        return items

    async def some() -> None:
        gathered = Gathered(slowly, rows=1, most=3)
        first = asyncio.create_task(gathered.results([1]))
        while not begun.is_set():
            await asyncio.sleep(0.01)
        second, third = (asyncio.create_task(gathered.results([n])) for n in (2, 3))
        await asyncio.sleep(0.01)
        with pytest.raises(Full):
            await gathered.results([4])
        second.cancel()
        await asyncio.sleep(0.01)
        go.set()
        assert await first == [1] and await third == [3]

    asyncio.run(some())
    assert worked == [1, 3]


def test_an_event_loop_that_ends_takes_nobody_with_it() -> None:
    begun, go = threading.Event(), threading.Event()

    def slowly(items: list[int]) -> list[int]:
        begun.set()
        go.wait(10)
        return items

    gathered = Gathered(slowly, rows=1, most=3)

    async def leave() -> None:
        asked = asyncio.create_task(gathered.results([1]))
        while not begun.is_set():
            await asyncio.sleep(0.01)
        asked.cancel()
        threading.Timer(0.1, go.set).start()

    async def come() -> list[int]:
        return await asyncio.wait_for(gathered.results([2]), 10)

    asyncio.run(leave())
    assert gathered.at_work() == 0 and asyncio.run(come()) == [2]


def test_room_that_can_never_be_is_not_asked_for_and_what_fails_alone_is_tried_once() -> None:
    tried: list[list[int]] = []

    def careful(items: list[int]) -> list[int]:
        tried.append(items)
        if 13 in items:
            raise ValueError("13")
        return items

    async def some() -> None:
        gathered = Gathered(careful, rows=2, most=0)
        assert await gathered.results([1, 2, 3]) == [1, 2, 3]
        with pytest.raises(ValueError):
            await gathered.results([13])

    asyncio.run(some())
    assert tried == [[1, 2], [3], [13]]
