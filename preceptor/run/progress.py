"""Progress of long work: one line that is rewritten on a terminal, plain lines in a log."""

import sys
import time
from dataclasses import dataclass, field
from typing import TextIO

from preceptor.run.processes import leads


@dataclass(slots=True)
class Progress:
    """Shows done, total, rate and time left. On a terminal it refreshes in place; elsewhere it prints every tenth."""

    label: str
    total: int
    unit: str = "steps"
    stream: TextIO = field(default_factory=lambda: sys.stderr)
    started: float = field(default_factory=time.monotonic)
    first: int = 0
    shown: int = 0
    refreshed: float = 0.0

    def update(self, done: int, note: str = "") -> None:
        """Report that `done` of the total is done; `note` is shown behind it."""
        if not leads():
            return
        now = time.monotonic()
        if self.shown == 0:
            self.first = done - 1  # work that a resume found done already is not part of the rate
        self.shown += 1
        terminal = self.stream.isatty()
        last = done >= self.total
        tenth = done * 10 // self.total > (done - 1) * 10 // self.total
        if not last and (now - self.refreshed < 0.2 if terminal else not (tenth or self.shown == 1)):
            return
        self.refreshed = now
        rate = (done - self.first) / max(now - self.started, 1e-9)
        left = clock((self.total - done) / rate)
        line = f"{self.label}: {done}/{self.total} {self.unit}  {rate:.3g}/s  {left} left  {note}".rstrip()
        if terminal:
            self.stream.write(f"\r\x1b[2K{line}" + ("\n" if last else ""))
        else:
            self.stream.write(line + "\n")
        self.stream.flush()


def clock(seconds: float) -> str:
    """A duration for people: `8 s`, `3 min 05 s`, `2 h 10 min`."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"
