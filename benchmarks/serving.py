"""Serving 64 streaming clients, against one client at a time and against `transformers serve`.

    python benchmarks/serving.py --json

A side is a server in a process of its own with the same model (random weights, greedy answers, so that every side has
the same work) and the same requests: prompts of 16 to 64 tokens, answers of 32 to 96. The sides take turns, and each
figure is the median over pairs. The clients share the machine and cost each side the same. More than 1 means ours is
better:

    vs_sequential         tokens per second to 64 clients over those to one client, of our server
    vs_transformers_serve ours to 64 clients over the faster of `transformers serve` with and without continuous
                          batching, to 64 clients
    ttft_p95_ms           95th percentile of the time from a request to its first text, of our server at 64 clients
    errors                answers to 64 clients that failed, broke off, or are not what one client alone was told;
                          those that are timed, and 64 more that are drawn (temperature 1, a seed each)

A warm-up of 8 requests precedes what is timed. Needs the peers (make peers, or PRECEPTOR_PEERS).
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sides import PYTHONS, SIZES, make_policy, text, words
from streaming_clients import Told, ask_all, free_port, running

CLIENTS, WARM_UP = 64, 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    parser.add_argument("--quick", action="store_true", help="size S, one pair, one request a client")
    parser.add_argument("--pairs", type=int, default=3, help="pairs behind each figure (3)")
    parser.add_argument("--size", default="M", choices=SIZES, help="of the model (M)")
    parser.add_argument("--runtime", default="onnx", choices=("onnx", "pytorch"), help="our decoder's (onnx)")
    parser.add_argument("--only", choices=("ours",), help="leave transformers serve out")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="threads of every side")
    options = parser.parse_args()
    if not (options.only or Path(PYTHONS["trl"]).exists()):
        sys.exit("The peers are not installed.\nRun: make peers, or name their Python in PRECEPTOR_PEERS.")
    size, pairs, rounds = ("S", 1, 1) if options.quick else (options.size, options.pairs, 3)
    with tempfile.TemporaryDirectory() as folder:
        make_policy(size, Path(folder) / "model")
        bodies = requests(Path(folder) / "model", SIZES[size][0], CLIENTS * rounds)
        measured = [pair(Path(folder) / "model", bodies, options) for _ in range(pairs)]
    figures = {name: round(statistics.median(one[name] for one in measured), 3) for name in measured[0]}
    figures["errors"] = sum(one["errors"] for one in measured)
    print(json.dumps(figures) if options.json else json.dumps(figures, indent=2))


def requests(model: Path, vocabulary: int, count: int) -> list[dict[str, Any]]:
    """Requests of many lengths, the same for every side."""
    return [{"model": str(model), "prompt": text(words(vocabulary, 16 + 7 * number % 49, seed=number)),
             "max_tokens": 32 + 13 * number % 65, "temperature": 0, "stream": True,
             "stream_options": {"include_usage": True}} for number in range(count)]


def pair(model: Path, bodies: list[dict[str, Any]], options: argparse.Namespace) -> dict[str, float]:
    """The figures of one turn of every side."""
    ours = [{**body, "model": "model"} for body in bodies]
    # `transformers serve` gives the usage unasked, and refuses what asks for it.
    theirs = [{name: value for name, value in body.items() if name != "stream_options"} for body in bodies]
    drawn = [{**body, "temperature": 1.0, "seed": number} for number, body in enumerate(ours[:CLIENTS])]
    alone, one_rate, _ = side("ours, one client", ours_command(model, options), ours, 1, options, drawn)
    together, rate, ttft = side("ours, 64 clients", ours_command(model, options), ours, CLIENTS, options, drawn)
    wrong = [said for said, expected in zip(together, alone) if said.error or said.text != expected.text]
    for said in wrong[:3]:
        print(f"wrong: {said.error or said.text[:200]}", file=sys.stderr, flush=True)
    figures = {"vs_sequential": rate / one_rate, "ttft_p95_ms": 1000 * ttft, "errors": len(wrong),
               "tokens_per_second": rate}
    if not options.only:
        rates = []
        for name, extra in (("transformers serve", []), ("transformers serve, continuous batching", CONTINUOUS)):
            said, other, _ = side(name, theirs_command(model, extra), theirs, CLIENTS, options)
            same = sum(one.text == expected.text for one, expected in zip(said, alone))
            print(f"{name}: {same} of {len(said)} answers as ours, {sum(bool(one.error) for one in said)} failed",
                  file=sys.stderr, flush=True)
            rates.append(other)
        figures["vs_transformers_serve"] = rate / max(rates)
    return figures


# By default it takes all free memory: here enough blocks of 256 tokens for every client's request.
CONTINUOUS = ["--continuous-batching", "--cb-num-blocks", str(2 * CLIENTS), "--cb-max-batch-tokens", "1024"]


def ours_command(model: Path, options: argparse.Namespace) -> list[str]:
    return [PYTHONS["ours"], "-m", "preceptor.cli.main", "serve", f"model={model}", "--runtime", options.runtime,
            "--requests-per-minute", "1000000", "--port"]


def theirs_command(model: Path, extra: Sequence[str]) -> list[str]:
    return [PYTHONS["trl"], "-m", "transformers.cli.transformers", "serve", str(model), *extra, "--port"]


def side(name: str, command: list[str], bodies: list[dict[str, Any]], clients: int,
         options: argparse.Namespace, untimed: Sequence[dict[str, Any]] = ()) -> tuple[list[Told], float, float]:
    """What a server said, its tokens per second, and the 95th percentile of its times to the first text."""
    port = free_port()
    environment = {**os.environ, "OMP_NUM_THREADS": str(options.threads), "HF_HUB_OFFLINE": "1",
                   "TOKENIZERS_PARALLELISM": "0"}
    if command[0] == PYTHONS["trl"]:
        environment.pop("PYTHONPATH", None)
    with running([*command, str(port)], port, environment):
        ask_all(port, bodies[:WARM_UP], clients)
        said, seconds = ask_all(port, bodies, clients)
        more, _ = ask_all(port, untimed, clients)
    short = [one for one, body in zip(said, bodies) if not one.error and one.tokens != body["max_tokens"]]
    if short:
        sys.exit(f"{name}: {len(short)} answers have another length than was asked: nothing is compared.")
    firsts = sorted(one.first for one in said if not one.error)
    if not firsts:
        sys.exit(f"{name}: every request failed: {said[0].error}")
    rate, ttft = sum(one.tokens for one in said) / seconds, firsts[int(0.95 * (len(firsts) - 1))]
    print(f"{name}: {rate:.0f} tokens/s, first text p95 {1000 * ttft:.0f} ms", file=sys.stderr, flush=True)
    return said + more, rate, ttft


if __name__ == "__main__":
    main()
