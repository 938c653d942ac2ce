"""A process that extracts text and can be killed: parsers hang, run out of memory and crash on hostile input.

The parent writes a request and waits with a deadline; past it, or when the process dies, it is killed and a new one
takes its place. A request is a JSON line and as many bytes as it says; an answer is a JSON line.
"""

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any, BinaryIO, Self

from preceptor.data.reading.extraction import ExtractionError, extract

CHUNK = 1 << 16


class ExtractionProcess:
    """Extracts text in a process of its own. Use as a context, so that the process ends with it."""

    def __init__(self, seconds: float, memory: int) -> None:
        self.seconds, self.memory = seconds, memory
        self.kills = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._rest = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._end()

    def extract(self, kind: str, content: bytes, *, charset: str | None, careful: bool, largest: int) -> list[str]:
        """As `extraction.extract`.

        Raises:
            ExtractionError: there is no text in it, or the process ran out of time or memory, or crashed.
        """
        process = self._process or self._start()
        request = {"kind": kind, "size": len(content), "charset": charset, "careful": careful, "largest": largest}
        deadline = time.monotonic() + self.seconds
        try:
            self._send(process, json.dumps(request).encode() + b"\n" + content, deadline)
            answer = json.loads(self._receive(process, deadline))
        except (TimeoutError, BrokenPipeError, EOFError, ValueError) as error:
            self._end()
            self.kills += 1
            late = isinstance(error, TimeoutError)
            raise ExtractionError("extraction took too long" if late else "extraction crashed") from None
        if "error" in answer:
            raise ExtractionError(answer["error"])
        return answer["texts"]

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "preceptor.data.reading.worker", str(self.memory)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                         stderr=subprocess.DEVNULL, bufsize=0)
        for pipe in (self._process.stdin, self._process.stdout):
            os.set_blocking(pipe.fileno(), False)
        self._rest = b""
        started = time.monotonic() + 60  # imports take seconds on a busy machine and are no fault of the page
        if self._receive(self._process, started) != b"ready":
            raise RuntimeError("the extraction process did not start")
        return self._process

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process.stdin.close()
            self._process.stdout.close()
            self._process = None

    def _send(self, process: subprocess.Popen[bytes], content: bytes, deadline: float) -> None:
        view = memoryview(content)
        while view:
            _, ready, _ = select.select([], [process.stdin], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise TimeoutError
            view = view[os.write(process.stdin.fileno(), view[:CHUNK]):]

    def _receive(self, process: subprocess.Popen[bytes], deadline: float) -> bytes:
        parts = [self._rest]
        while b"\n" not in parts[-1]:
            ready, _, _ = select.select([process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise TimeoutError
            part = os.read(process.stdout.fileno(), CHUNK)
            if not part:
                raise EOFError
            parts.append(part)
        line, _, self._rest = b"".join(parts).partition(b"\n")
        return line


def main(arguments: Sequence[str]) -> None:
    """Answer requests until the input ends."""
    import logging
    import resource
    memory = int(arguments[0]) << 20
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    logging.disable(logging.CRITICAL)
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # a library that prints must not write into the answers
    _answer(answers, b"ready")
    while line := requests.readline():
        request = json.loads(line)
        content = requests.read(request.pop("size"))
        _answer(answers, json.dumps(_answered(request, content)).encode())


def _answer(answers: BinaryIO, line: bytes) -> None:
    answers.write(line + b"\n")
    answers.flush()


def _answered(request: dict[str, Any], content: bytes) -> dict[str, Any]:
    try:
        return {"texts": extract(content=content, **request)}
    except ExtractionError as error:
        return {"error": str(error)}
    except MemoryError:
        return {"error": "extraction ran out of memory"}
    except RecursionError:
        return {"error": "nested too deeply"}
    except Exception as error:  # whatever a parser raises on hostile input is that page's problem, not the run's
        return {"error": f"extraction failed with {type(error).__name__}"}


if __name__ == "__main__":
    main(sys.argv[1:])
