"""Runs `preceptor` in processes of its own that can be killed, forked from a server that has imported torch already.

A fresh interpreter needs ten seconds for its imports on a small machine; a fork needs none. The server computes
nothing before it forks, so no thread pool is inherited in a broken state.
"""

import contextlib
import faulthandler
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

PRELOADED = ["torch", "transformers.models.llama.modeling_llama", "transformers.models.auto.modeling_auto",
             "transformers.models.auto.tokenization_auto", "preceptor.pretrain.stage", "preceptor.tokenizer.stage",
             "preceptor.recipe.runner", "preceptor.cli.main"]
HANGS = 250.0  # seconds after which a process is taken to hang; it says where before it is killed


@dataclass(frozen=True, slots=True)
class Kill:
    """Kill the process, with no chance to clean up, at the `when`-th call of `module.function` (or a class's)."""

    module: str
    function: str
    when: int

    def arm(self) -> None:
        module = _owner(self.module)
        original, calls = getattr(module, self.function), 0

        def deadly(*arguments, **named):
            nonlocal calls
            calls += 1
            if calls == self.when:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*arguments, **named)

        setattr(module, self.function, deadly)


def _owner(name: str) -> Any:
    """A module, or a class in one."""
    try:
        return import_module(name)
    except ModuleNotFoundError:
        module, _, owner = name.rpartition(".")
        return getattr(import_module(module), owner)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a process ended: its exit code (minus the signal that killed it), and what it wrote."""

    code: int
    output: str


def preceptor(arguments: Sequence[str], scratch: Path, kill: Kill | None = None, seconds: float = HANGS) -> Ended:
    """Run the command line once in a forked process with one thread; `scratch` is a folder for its output.

    After so many `seconds` it is killed, if it still runs.
    """
    process, output = begun(arguments, scratch, kill)
    ended([process], seconds)
    return Ended(process.exitcode, output.read_text(encoding="utf-8"))


def ended(processes: Sequence[Any], seconds: float = HANGS) -> None:
    """Wait for processes; the ones that still run after so many seconds are killed."""
    until = time.monotonic() + seconds
    for process in processes:
        process.join(max(0.0, until - time.monotonic()))
    for process in processes:
        process.kill()
        process.join()


def begun(arguments: Sequence[str], scratch: Path, kill: Kill | None = None) -> tuple[Any, Path]:
    """Such a process, running, and the file that it writes to."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    output = scratch / "output.txt"
    process = context.Process(target=_child, args=(list(arguments), output, kill))
    process.start()
    return process, output


def _child(arguments: list[str], output: Path, kill: Kill | None) -> None:
    from preceptor.cli.main import main
    from preceptor.run import machine
    machine.cores = lambda: 1
    with output.open("w", encoding="utf-8") as file, contextlib.redirect_stderr(file), contextlib.redirect_stdout(file):
        faulthandler.dump_traceback_later(HANGS - 10, file=file)
        if kill is not None:
            kill.arm()
        code = main(arguments)
    sys.exit(code)
