"""What an answer costs: seconds alone, seconds among others, and the memory of a process that serves one model.

Models take turns, text by text and batch by batch, so that what else the machine does falls on all of them alike.
"""

import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from preceptor.metrics.intervals import Interval, bootstrap_mean, bootstrap_ratio, interval_over_seeds
from preceptor.run.errors import UserError
from preceptor.run.machine import peak_rss_mb, prepare
from preceptor.understand.answerers import Answerer, in_parts, load_answerer
from preceptor.understand.task import read_task


@dataclass(frozen=True, slots=True)
class Speed:
    """`latency` in seconds of a text that is asked alone, with its 95th percentile; `seconds` of one among `rows`."""

    latency: Interval
    latency_p95: float
    seconds: Interval

    def to_dict(self, price: float) -> dict[str, object]:
        """A JSON object, with requests a second, and the cost of a thousand at a price an hour."""
        per_second = Interval(1 / self.seconds.mean, 1 / self.seconds.high, 1 / self.seconds.low, self.seconds.n)
        return {"latency_ms": _times(self.latency, 1000).to_dict(), "latency_p95_ms": 1000 * self.latency_p95,
                "requests_per_second": per_second.to_dict(),
                "cost_per_thousand": _times(self.seconds, 1000 * price / 3600).to_dict()}


def _times(interval: Interval, factor: float) -> Interval:
    return Interval(interval.mean * factor, interval.low * factor, interval.high * factor, interval.n)


def speeds(answerers: Mapping[str, Answerer], texts: Sequence[str], rows: int, repeats: int) -> dict[str, Speed]:
    """The speed of each model on these texts; intervals draw texts, and batches of all repeats."""
    for answerer in answerers.values():  # the first call allocates
        answerer.read(texts[:rows])
    alone: dict[str, list[float]] = {name: [] for name in answerers}
    batches: dict[str, list[tuple[float, int]]] = {name: [] for name in answerers}
    for text in texts:
        for name, answerer in answerers.items():
            alone[name].append(_seconds(answerer, [text]))
    for _ in range(repeats):
        for part in in_parts(texts, rows):
            for name, answerer in answerers.items():
                batches[name].append((_seconds(answerer, part), len(part)))
    return {name: Speed(bootstrap_mean(alone[name]), _percentile(alone[name], 0.95),
                        bootstrap_ratio(*zip(*batches[name]))) for name in answerers}


def _seconds(answerer: Answerer, texts: Sequence[str]) -> float:
    started = time.perf_counter()
    answerer.read(texts)  # its readings are Python numbers: a GPU has finished
    return time.perf_counter() - started


def _percentile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(int(share * len(values)), len(values) - 1)]


def memory(folder: Path, records: Path, texts: Sequence[str], rows: int, max_tokens: int, repeats: int) -> Interval:
    """Megabytes at the peak of a process that loads a model and reads these texts; the interval is over processes.

    On a GPU what was allocated there at the peak.

    Raises:
        UserError: such a process fails, or there are fewer than two repeats.
    """
    peaks = []
    for _ in range(repeats):
        given = json.dumps({"folder": str(folder), "records": str(records), "texts": list(texts), "rows": rows,
                            "max_tokens": max_tokens})
        done = subprocess.run([sys.executable, "-m", "preceptor.understand.costs"], input=given, capture_output=True,
                              text=True)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["nothing said"])[-1]
            raise UserError(f"The process that serves '{folder}' failed: {last}", "Look at that model.")
        peaks.append(float(done.stdout.splitlines()[-1]))
    return interval_over_seeds(peaks)


def serve_once(given: str) -> float:
    """Load a model, read texts, and return the peak in megabytes: the work of a process of its own."""
    import torch
    asked = json.loads(given)
    prepare(0)
    answerer = load_answerer(Path(asked["folder"]), read_task(Path(asked["records"])), asked["rows"],
                             asked["max_tokens"])
    for part in in_parts(asked["texts"], asked["rows"]):
        answerer.read(part)
    return torch.cuda.max_memory_allocated() / 1e6 if torch.cuda.is_available() else own_peak_mb()


def own_peak_mb() -> float:
    """The largest resident memory of this process alone: what Linux's `ru_maxrss` says begins with its parent's."""
    try:
        with open("/proc/self/status", encoding="utf-8") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("VmHWM:")) / 1e3
    except (OSError, StopIteration):
        return peak_rss_mb()


if __name__ == "__main__":
    print(serve_once(sys.stdin.read()))
