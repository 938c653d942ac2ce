"""Rate limits: a bucket of tokens for each caller, kept in memory; a restart forgives everybody."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

REMEMBERED = 10_000  # callers; the one that was silent longest is forgotten first


class Limit:
    """At most `count` calls in `seconds`, on average, for each caller; so many may come at once."""

    def __init__(self, count: int, seconds: float, now: Callable[[], float] = time.monotonic) -> None:
        self.count, self.seconds, self.now = count, seconds, now
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._turn = threading.Lock()

    def allows(self, caller: str) -> bool:
        """Whether this call may be answered; it is counted if so."""
        with self._turn:
            now = self.now()
            left, then = self._left.pop(caller, (float(self.count), now))
            left = min(float(self.count), left + (now - then) * self.count / self.seconds)
            allowed = left >= 1
            self._left[caller] = (left - allowed, now)
            if len(self._left) > REMEMBERED:
                self._left.popitem(last=False)
            return allowed
