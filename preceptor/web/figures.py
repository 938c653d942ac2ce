"""Figures of the server in Prometheus's text format (version 0.0.4)."""

import threading
from collections import Counter
from collections.abc import Mapping

BOUNDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)  # seconds


class Histogram:
    """How many durations were at most so long."""

    def __init__(self) -> None:
        self.counts, self.sum, self.number = [0] * len(BOUNDS), 0.0, 0

    def add(self, seconds: float) -> None:
        self.sum, self.number = self.sum + seconds, self.number + 1
        for place, bound in enumerate(BOUNDS):
            self.counts[place] += seconds <= bound

    def lines(self, name: str) -> list[str]:
        buckets = [f'{name}_bucket{{le="{bound}"}} {count}' for bound, count in zip(BOUNDS, self.counts)]
        return [f"# TYPE {name} histogram", *buckets, f'{name}_bucket{{le="+Inf"}} {self.number}',
                f"{name}_sum {self.sum}", f"{name}_count {self.number}"]


class Figures:
    """What is counted since the server started."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, int]] = Counter()  # by path and status
        self.tokens: Counter[str] = Counter()  # prompt, completion
        self.cancelled = 0
        self.first_token, self.whole = Histogram(), Histogram()
        self._turn = threading.Lock()

    def request(self, path: str, status: int) -> None:
        with self._turn:
            self.requests[path, status] += 1

    def text(self, at_work: Mapping[str, int]) -> str:
        """Everything, with the answers that are waiting or being written by each model."""
        lines = ["# TYPE preceptor_requests_total counter"]
        lines += [f'preceptor_requests_total{{path="{path}",status="{status}"}} {count}'
                  for (path, status), count in sorted(self.requests.items())]
        lines += ["# TYPE preceptor_tokens_total counter"]
        lines += [f'preceptor_tokens_total{{kind="{kind}"}} {count}' for kind, count in sorted(self.tokens.items())]
        lines += ["# TYPE preceptor_cancelled_total counter", f"preceptor_cancelled_total {self.cancelled}"]
        lines += ["# TYPE preceptor_answers_at_work gauge"]
        lines += [f'preceptor_answers_at_work{{model="{_escaped(name)}"}} {count}' for name, count in at_work.items()]
        lines += self.first_token.lines("preceptor_first_token_seconds") + self.whole.lines("preceptor_answer_seconds")
        return "\n".join(lines) + "\n"


def _escaped(label: str) -> str:
    return label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
