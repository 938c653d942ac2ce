"""The labelling server under load: simulated labelers who rank over HTTP, and a server that is killed meanwhile.

    python benchmarks/labelling_load.py --database URL|PATH|postgresql --labelers N [--seconds 120] [--kill]
        [--json] [--quick]

Starts the server in a process of its own over an empty store, with enough items that each labeler has one at any time.
Each labeler has a session, submits a ranking every 5 seconds and takes the next item from the answer, over one
connection. With --kill the server is killed with no warning half-way and started again; labelers who get no answer send
the same ranking again. At the end the store is read: `submitted` counts acknowledged rankings, `lost` those of them
that the store does not have, `doubled` the (labeler, item) pairs that it has more than once; p95_ms is of the time from
sending a ranking to having the next item; server_ms is the processor time of the server for a ranking, its start
included and the database not. Clients and server share this machine. The last line with --json is
{"submitted": n, "lost": 0, "doubled": 0, "p95_ms": x, ...}.
"""

import argparse
import http.client
import json
import random
import re
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack
from html import unescape
from pathlib import Path

from postgresql import server as postgresql_server

from preceptor.data.records import Prompt, Response
from preceptor.feedback.accounts import open_session, session_of
from preceptor.feedback.labelers import add_labeler
from preceptor.feedback.records import add_items, comparisons
from preceptor.feedback.store import Store, open_store

EVERY = 5.0   # seconds between two rankings of one labeler
ANSWERS = 4
SERVER = """
import sys
from preceptor.feedback.store import open_store
from preceptor.web.app import create_app
from preceptor.web.options import WebOptions
from preceptor.web.running import run
run(create_app(open_store(sys.argv[1]), WebOptions()), "127.0.0.1", int(sys.argv[2]))
"""


class Labeler(threading.Thread):
    """One labeler with one connection; `done` are the acknowledged labels, `times` how long each took."""

    def __init__(self, name: str, port: int, cookie: str, form: str, until: float) -> None:
        super().__init__(daemon=True)
        self.labeler, self.port, self.until = name, port, until
        self.headers = {"Cookie": f"preceptor_session={cookie}", "X-Form": form, "Content-Type": "application/json"}
        self.done: list[str] = []
        self.times: list[float] = []
        self.again = 0
        self._connection: http.client.HTTPConnection | None = None

    def run(self) -> None:
        draw = random.Random(self.labeler)
        time.sleep(draw.random() * EVERY)
        page, _ = self._ask("GET", "/label", None)
        while time.monotonic() < self.until and (item := re.search(r'"item": "(\w+)"', unescape(page))):
            began = time.monotonic()
            body = json.dumps({"ranking": [[k] for k in draw.sample(range(ANSWERS), ANSWERS)], "seconds": EVERY})
            page, label = self._ask("POST", f"/api/items/{item.group(1)}/ranking", body)
            self.times.append(time.monotonic() - began)
            self.done.append(label)
            time.sleep(max(0.0, EVERY - (time.monotonic() - began)))

    def _ask(self, method: str, path: str, body: str | None) -> tuple[str, str]:
        """The answer and its X-Label; asked again until there is one, as a person would press the button again."""
        while True:
            try:
                if self._connection is None:
                    self._connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
                self._connection.request(method, path, body, self.headers)
                answer = self._connection.getresponse()
                text = answer.read().decode()
                if answer.status == 200:
                    return text, answer.headers.get("X-Label", "")
                raise SystemExit(f"{self.labeler}: {answer.status} {text[:200]}")
            except (OSError, http.client.HTTPException):
                self._connection = None
                self.again += 1
                time.sleep(0.5)


def start_server(place: str, port: int) -> subprocess.Popen[bytes]:
    server = subprocess.Popen([sys.executable, "-c", SERVER, place, str(port)])
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return server
        except OSError:
            if server.poll() is not None:
                raise SystemExit("The server did not start.") from None
            time.sleep(0.1)


def _processor_time() -> float:
    """Seconds that the processes started here, and ended, have computed."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def fill(store: Store, labelers: int, rankings: int) -> None:
    """Items for everybody, each to be ranked by three."""
    asked = [(Prompt(f"p{n}", [{"role": "user", "content": f"Question {n}?"}]),
              [Response(f"Answer {k} to question {n}. " + "It says a little more. " * 8) for k in range(ANSWERS)])
             for n in range(labelers * (rankings + 2) // 2 + labelers)]
    add_items(store, asked, overlap=3)


def measure(place: str, labelers: int, seconds: float, kill: bool) -> dict[str, float]:
    store = open_store(place)
    fill(store, labelers, int(seconds / EVERY) + 1)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    before = _processor_time()
    server = start_server(place, port)
    until, people = time.monotonic() + seconds, []
    for number in range(labelers):
        name = f"labeler{number:03d}"
        add_labeler(store, name)
        cookie = open_session(store, name, hours=1)
        people.append(Labeler(name, port, cookie, session_of(store, cookie).form, until))
    for one in people:
        one.until = time.monotonic() + seconds
        one.start()
    if kill:
        time.sleep(seconds / 2)
        server.send_signal(signal.SIGKILL)
        server.wait()
        server = start_server(place, port)
    for one in people:
        one.join()
    server.terminate()
    server.wait()
    spent = _processor_time() - before
    kept = list(comparisons(store))
    store.close()
    done = [label for one in people for label in one.done]
    if not done:
        raise SystemExit("No ranking was acknowledged in this time: give more --seconds.")
    times = sorted(seconds for one in people for seconds in one.times)
    pairs = Counter((one.labeler, one.prompt.id) for one in kept)
    return {"submitted": len(done), "lost": len(set(done) - {one.id for one in kept}),
            "doubled": sum(count - 1 for count in pairs.values()),
            "p95_ms": round(1000 * times[int(0.95 * len(times))], 1),
            "median_ms": round(1000 * times[len(times) // 2], 1),
            "server_ms": round(1000 * spent / len(done), 1),
            "sent_again": sum(one.again for one in people), "labelers": labelers, "killed": kill}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database", help="PostgreSQL URL or path of an empty store, or postgresql: a server that is "
                                           "started for this (default: a SQLite file)")
    parser.add_argument("--labelers", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--kill", action="store_true", help="kill the server half-way and start it again")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    parser.add_argument("--quick", action="store_true", help="20 seconds, ten labelers at most")
    options = parser.parse_args()
    labelers, seconds = (min(10, options.labelers), 20.0) if options.quick else (options.labelers, options.seconds)
    with ExitStack() as stack:
        place = options.database or str(Path(stack.enter_context(tempfile.TemporaryDirectory())) / "load.sqlite")
        if place == "postgresql":
            place = stack.enter_context(postgresql_server(durable=True))
        figures = measure(place, labelers, seconds, options.kill)
    print(json.dumps(figures) if options.json else json.dumps(figures, indent=2))
    return 1 if figures["lost"] or figures["doubled"] else 0


if __name__ == "__main__":
    sys.exit(main())
