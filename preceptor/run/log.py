"""The metric log of a run: `log.jsonl`, append-only, one JSON object a line.

A line is `{"step": NAME, "attempt": A, "at": N, "metrics": {...}}`: the recipe step, the how-manieth start of it, and
the position inside it (an optimiser step, or 0). A step that was killed and resumed writes some positions twice, so a
reader takes the last line of each (step, position, metric). A line `"fresh": true` says that the step began anew, with
other options or inputs: what stood there of it before counts no more. `time` takes no part in any hash.
"""

import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from preceptor.run.processes import leads


@dataclass(frozen=True, slots=True)
class Log:
    """Writes the lines of one attempt at one step."""

    path: Path
    step: str
    attempt: int

    def write(self, at: int, **metrics: Any) -> None:
        """Append one line of metrics measured at position `at`."""
        self._append({"at": at, "metrics": metrics})

    def begin_anew(self) -> None:
        """Declare all earlier lines of this step void."""
        self._append({"at": 0, "metrics": {}, "fresh": True})

    def _append(self, content: dict[str, Any]) -> None:
        if not leads():
            return
        line = {"step": self.step, "attempt": self.attempt, "time": round(time.time(), 3), **content}
        with self.path.open("a", encoding="utf-8") as file:
            if file.tell() and not _ends_with_newline(self.path):
                file.write("\n")  # a kill cut the last line short: leave it behind as a line of its own
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


def read_log(path: Path) -> dict[str, dict[int, dict[str, Any]]]:
    """Metrics as `{step: {position: {metric: value}}}`, positions ascending; of repeated ones the last line counts."""
    metrics: dict[str, dict[int, dict[str, Any]]] = {}
    for line in _lines(path):
        if line.get("fresh"):
            metrics[line["step"]] = {}
            continue
        metrics.setdefault(line["step"], {}).setdefault(line["at"], {}).update(line["metrics"])
    return {step: dict(sorted(positions.items())) for step, positions in metrics.items()}


def _lines(path: Path) -> Iterator[Mapping[str, Any]]:
    if not path.exists():
        return
    with path.open(encoding="utf-8") as file:
        for line in file:
            try:
                yield json.loads(line)
            except ValueError:  # a line that a kill cut short; its position was written again after the resume
                continue
