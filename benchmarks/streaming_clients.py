"""Clients of a server with OpenAI's API that cost little, so that what is measured beside them is the server.

A client writes a request to a socket and notes when bytes come; what they say is read when the answer is over.
"""

import asyncio
import json
import os
import signal
import subprocess
import time
import urllib.request
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

STARTING = 600  # seconds that a server may take until it answers


@dataclass(frozen=True, slots=True)
class Told:
    """What a stream said: the text, how many tokens its usage counts, and the seconds to its first text and its end."""

    text: str
    tokens: int
    first: float
    whole: float
    error: str = ""


@contextmanager
def running(command: Sequence[str], port: int, environment: dict[str, str]):
    """A server in a process of its own, from when its list of models can be read until it is told to stop."""
    with open(os.devnull, "wb") as nowhere:
        process = subprocess.Popen(command, stdout=nowhere, stderr=subprocess.PIPE, env=environment)
    try:
        _wait(process, port)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stderr.close()


def _wait(process: subprocess.Popen, port: int) -> None:
    until = time.monotonic() + STARTING
    while time.monotonic() < until and process.poll() is None:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2).read()
            return
        except OSError:
            time.sleep(0.2)
    process.kill()
    raise SystemExit(f"The server did not start:\n{process.stderr.read().decode(errors='replace')[-4000:]}")


def ask_all(port: int, bodies: Sequence[dict[str, Any]], clients: int) -> tuple[list[Told], float]:
    """Each body answered as a stream, by so many clients who each take the next one when they are done; and the
    seconds that all of it took."""
    found: list[Told | None] = [None] * len(bodies)

    async def client(waiting: list[int]) -> None:
        while waiting:
            number = waiting.pop()
            found[number] = await stream(port, bodies[number])

    async def everybody() -> float:
        waiting = list(reversed(range(len(bodies))))
        began = time.perf_counter()
        await asyncio.gather(*(client(waiting) for _ in range(clients)))
        return time.perf_counter() - began

    seconds = asyncio.run(everybody())
    return [one for one in found if one is not None], seconds


async def stream(port: int, body: dict[str, Any], leave_after: int = 0) -> Told:
    """One answer over one connection, or what went wrong; a client that leaves early goes after so many chunks."""
    data = json.dumps(body).encode()
    head = (f"POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(data)}\r\nConnection: close\r\n\r\n")
    began = time.perf_counter()
    first, chunks = 0.0, []
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head.encode() + data)
        while chunk := await reader.read(1 << 16):
            chunks.append(chunk)
            if not first and b'"text"' in chunk and b'"text":""' not in chunk.replace(b'": "', b'":"'):
                first = time.perf_counter() - began
            if leave_after and len(chunks) >= leave_after:
                break
        writer.close()
    except OSError as error:
        return Told("", 0, 0.0, 0.0, f"{type(error).__name__}: {error}")
    whole = time.perf_counter() - began
    return read(b"".join(chunks), first, whole, left=bool(leave_after))


def read(raw: bytes, first: float, whole: float, left: bool = False) -> Told:
    """What a response said, its chunked transfer included."""
    head, _, body = raw.partition(b"\r\n\r\n")
    if b" 200 " not in head.split(b"\r\n")[0]:
        return Told("", 0, first, whole, (head.split(b"\r\n")[0] + b" " + body[-300:]).decode(errors="replace"))
    plain = _unchunked(body) if b"chunked" in head.lower() else body
    text, tokens, error, done = [], 0, "", left
    for line in plain.decode(errors="replace").splitlines():
        if not line.startswith("data: ") or line == "data: [DONE]":
            continue
        try:
            event = json.loads(line[6:])
        except ValueError:
            error = error or ("" if left else f"a broken event: {line[:80]}")
            continue
        error = error or str(event.get("error", ""))
        for choice in event.get("choices", ()):
            text.append(choice.get("text") or "")
            done = done or bool(choice.get("finish_reason"))
        tokens = (event.get("usage") or {}).get("completion_tokens", tokens)
    return Told("".join(text), tokens, first, whole, error or ("" if done else "the stream broke off"))


def _unchunked(body: bytes) -> bytes:
    parts = []
    while body:
        size, _, body = body.partition(b"\r\n")
        length = int(size or b"0", 16)
        parts.append(body[:length])
        body = body[length + 2:]
        if not length:
            break
    return b"".join(parts)


def free_port() -> int:
    import socket
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def resident_megabytes(process: int) -> float:
    """Memory of a process that is in use (Linux)."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE") / 1e6
