"""A server under mixed load for an hour: whether its memory grows, and whether every client gets what is his.

    python benchmarks/serving_soak.py --json [--minutes 60] [--quick]

Sixteen clients ask a server (size S, random weights) for streams, of which every fourth is left half-way, for several
choices under guard, for beam searches, and for what is refused. The resident memory of the server is read every ten
seconds; `growth_mb_an_hour` is the slope of a line through the second half of them. `errors` counts answers that
failed or are not those that the same request got the first time; `at_work` what the server still thinks it has to do
when everybody has gone.
"""

import argparse
import asyncio
import json
import os
import random
import statistics
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

from serving import ours_command
from sides import SIZES, make_policy, text, words
from streaming_clients import free_port, resident_megabytes, running, stream

CLIENTS, EVERY = 16, 10.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    parser.add_argument("--quick", action="store_true", help="one minute")
    parser.add_argument("--minutes", type=float, default=60.0, help="how long (60)")
    parser.add_argument("--runtime", default="onnx", choices=("onnx", "pytorch"), help="the decoder's (onnx)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model"
        make_policy("S", model)
        port = free_port()
        with running([*ours_command(model, options), str(port)], port, dict(os.environ)) as process:
            figures = asyncio.run(soak(port, process.pid, 60 * (1 if options.quick else options.minutes)))
    print(json.dumps(figures) if options.json else json.dumps(figures, indent=2))


async def soak(port: int, process: int, seconds: float) -> dict[str, Any]:
    """Everybody asks until the time is over; returns the figures."""
    counts = {"requests": 0, "left": 0, "refused": 0, "errors": 0}
    known: dict[int, str] = {}
    memory: list[tuple[float, float]] = []
    began = time.monotonic()

    async def client(number: int) -> None:
        draw = random.Random(number)
        while time.monotonic() - began < seconds:
            counts["requests"] += 1
            await one(port, draw, counts, known)

    async def watch() -> None:
        while time.monotonic() - began < seconds:
            memory.append((time.monotonic() - began, resident_megabytes(process)))
            await asyncio.sleep(min(EVERY, seconds / 12))

    await asyncio.gather(watch(), *(client(number) for number in range(CLIENTS)))
    await asyncio.sleep(2)
    said = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics").read().decode()
    at_work = next(int(line.split()[-1]) for line in said.splitlines() if line.startswith("preceptor_answers_at_work{"))
    later = memory[len(memory) // 2:]
    slope = statistics.linear_regression(*zip(*later)).slope if len(later) > 1 else 0.0
    return {**counts, "at_work": at_work, "rss_mb": round(memory[-1][1], 1), "rss_mb_half_way": round(later[0][1], 1),
            "growth_mb_an_hour": round(3600 * slope, 2)}


async def one(port: int, draw: random.Random, counts: dict[str, int], known: dict[int, str]) -> None:
    """One request of the mix; the same number is always the same request."""
    number, leaves = draw.randrange(200), draw.random() < 0.25
    body = {"model": "model", "prompt": text(words(SIZES["S"][0], 8 + number % 40, seed=number)), "stream": True,
            "max_tokens": 8 + number % 60, "seed": number, "temperature": 0 if number % 3 else 1.0}
    kind = number % 10
    if kind == 7:
        body |= {"n": 2, "guard": True, "stream": False}
    elif kind == 8:
        body |= {"num_beams": 3, "temperature": 0, "max_tokens": 8}
    elif kind == 9:
        body |= {"temperature": -1}
    said = await stream(port, body, leave_after=2 if leaves and kind < 7 else 0)
    if leaves and kind < 7:
        counts["left"] += 1
    elif kind == 9:
        counts["refused"] += 1
        counts["errors"] += " 400 " not in said.error
    elif kind != 7:  # a body that is no stream is not read here
        counts["errors"] += bool(said.error) or known.setdefault(number, said.text) != said.text


if __name__ == "__main__":
    main()
