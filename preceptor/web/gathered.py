"""Work that is best done for several callers at once, such as embedding texts: it is gathered while a batch runs."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from starlette.concurrency import run_in_threadpool

from preceptor.generate.engine import Full

X, Y = TypeVar("X"), TypeVar("Y")


class Gathered(Generic[X, Y]):
    """Items through `work`, which takes at most `rows` of them at a time and is never run twice at once.

    At most `most` items are at work or wait; whoever comes when there are none may bring more, as no waiting would make
    room for them. What a caller who left had waiting is not worked on.
    """

    def __init__(self, work: Callable[[list[X]], list[Y]], rows: int, most: int) -> None:
        self.work, self.rows, self.most = work, rows, most
        self._waiting: deque[tuple[X, asyncio.Future[Y]]] = deque()
        self._running = 0
        self._worker: asyncio.Task[None] | None = None

    def at_work(self) -> int:
        """Items that wait or are worked on."""
        return len(self._waiting) + self._running

    async def results(self, items: Sequence[X]) -> list[Y]:
        """What `work` gives for each item.

        Raises:
            Full: they are more than may wait; none of them was taken.
            Exception: the error of an item of these; others' errors are others'.
        """
        if self.at_work() and self.at_work() + len(items) > self.most:
            raise Full
        asked = [(item, asyncio.get_running_loop().create_future()) for item in items]
        self._waiting.extend(asked)
        if self._worker is None:
            self._worker = asyncio.create_task(self._work())
        try:
            return await asyncio.gather(*(future for _, future in asked))
        finally:
            for _, future in asked:
                future.cancel()

    async def _work(self) -> None:
        try:
            while self._waiting:
                batch = []
                while self._waiting and len(batch) < self.rows:
                    item, future = self._waiting.popleft()
                    if not future.done():
                        batch.append((item, future))
                self._running = len(batch)
                if batch:
                    await self._finish(batch)
        finally:  # an event loop that ends cancels this; whoever comes under the next one needs a worker of his own
            self._running, self._worker = 0, None

    async def _finish(self, batch: "list[tuple[X, asyncio.Future[Y]]]") -> None:
        """Work on a batch, and tell the results; whose fault an error is, is found by taking its items one by one."""
        try:
            values = await run_in_threadpool(self.work, [item for item, _ in batch])
        except Exception as error:
            if len(batch) > 1:
                for one in batch:
                    await self._finish([one])
            elif not batch[0][1].done():
                batch[0][1].set_exception(error)
            return
        for (_, future), value in zip(batch, values, strict=True):
            if not future.done():
                future.set_result(value)
