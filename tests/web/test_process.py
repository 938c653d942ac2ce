"""The command itself, as a service runs it: killed, told to load models again, told to stop; and its files."""

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from configparser import ConfigParser
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="the server needs the extra 'web'")
pytest.importorskip("openai", reason="the server is tested with OpenAI's own client")

import openai
from fastapi import FastAPI

from preceptor.cli.main import _parser
from preceptor.feedback.records import comparisons
from preceptor.feedback.store import open_store
from preceptor.run.errors import UserError
from preceptor.web.running import FINISHING, run
from tests.processes import begun

SERVICE = Path(__file__).parent.parent.parent / "service"
ASKED = [{"role": "user", "content": "ado"}]


def wait_for_answers(port: int, alive: Callable[[], bool]) -> None:
    """Wait until something is served, as long as a slow machine needs."""
    until = time.monotonic() + 240
    while time.monotonic() < until:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5)
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            assert alive(), "it ended before it served anything"
            time.sleep(0.05)
    raise AssertionError("nothing was served within four minutes")


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def test_a_killed_server_has_lost_no_preference(folder: Path, tmp_path: Path) -> None:
    link, log, port = tmp_path / "now", tmp_path / "log.sqlite", free_port()
    link.symlink_to(folder / "tiny")
    process, output = begun(["serve", f"policy={link}", "--port", str(port), "--feedback", str(log), "--log",
                             "--max-tokens", "8"], tmp_path)
    try:
        wait_for_answers(port, process.is_alive)
        client = openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none", timeout=120)
        given = [client.chat.completions.create(model="policy", messages=ASKED, seed=seed) for seed in range(3)]
        opinions = [{"id": given[0].id, "edit": "ona"}, {"ranking": [[{"id": given[1].id}], [{"id": given[2].id}]]}]
        kept = [client.post("/feedback", body=one, cast_to=object)["comparison"] for one in opinions]
        link.unlink()
        link.symlink_to(folder / "other")
        os.kill(process.pid, signal.SIGHUP)
        until = time.monotonic() + 240
        while "Loaded again: policy." not in output.read_text():
            assert process.is_alive() and time.monotonic() < until, output.read_text()
            time.sleep(0.05)
    finally:
        process.kill()
        process.join()
    store = open_store(log, create=False)
    assert [one.id for one in comparisons(store)] == kept
    store.close()


def test_ctrl_c_stops_a_server_and_is_no_failure() -> None:
    code = ("import signal, sys; from fastapi import FastAPI; from preceptor.web.running import run\n"
            "signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored by jobs in the background\n"
            "run(FastAPI(), '127.0.0.1', int(sys.argv[1]), lambda: print('again', flush=True)); print('after')")
    process = subprocess.Popen([sys.executable, "-c", code, str(port := free_port())], stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True)
    wait_for_answers(port, lambda: process.poll() is None)
    process.send_signal(signal.SIGHUP)
    assert process.stdout.readline() == "again\n"
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=300)[0] == "\nStopped.\nafter\n" and process.returncode == 0
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(UserError, match="cannot be used"):
            run(FastAPI(), "127.0.0.1", taken.getsockname()[1])
    with pytest.raises(UserError, match="no port 70000"):
        run(FastAPI(), "127.0.0.1", 70_000)


def test_the_service_s_files_start_what_there_is() -> None:
    unit = ConfigParser(interpolation=None, strict=False)
    unit.optionxform = str
    unit.read(SERVICE / "preceptor.service")
    command = shlex.split(unit["Service"]["ExecStart"])
    arguments = _parser().parse_args(command[1:])
    assert command[0].endswith("/preceptor") and arguments.log and arguments.feedback.startswith("/var/lib/preceptor/")
    assert unit["Service"]["StateDirectory"] == "preceptor" and int(unit["Service"]["TimeoutStopSec"]) > FINISHING
    assert unit["Service"]["ExecReload"] == "/bin/kill -HUP $MAINPID"
    lines = (SERVICE / "Dockerfile").read_text().replace("\\\n", "").splitlines()
    said = {line.split()[0]: line.split(maxsplit=1)[1] for line in lines if line and not line.startswith("#")}
    command = json.loads(said["ENTRYPOINT"]) + json.loads(said["CMD"])
    arguments = _parser().parse_args(command[1:])
    assert arguments.port == int(said["EXPOSE"]) and arguments.host == "0.0.0.0"
    for place in [part for line in lines if line.startswith("COPY") for part in line.split()[1:-1]]:
        assert (SERVICE.parent / place).exists()
