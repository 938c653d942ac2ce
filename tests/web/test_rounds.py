"""The page of rounds: the ladder, how far the run is, and the button."""

from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, TextIO

import pytest
from fastapi.testclient import TestClient

from preceptor.cli.main import main
from preceptor.data.records import Comparison, Prompt, Response
from preceptor.feedback.accounts import invite, session_of
from preceptor.feedback.audit import history
from preceptor.feedback.records import add_comparisons
from preceptor.feedback.store import Store
from preceptor.run.errors import UserError
from preceptor.run.files import write_json
from preceptor.run.log import Log
from preceptor.run.manifest import locked, read_manifest
from preceptor.web.app import create_app
from preceptor.web.guard import COOKIE
from preceptor.web.options import WebOptions
from preceptor.web.progress import OUTPUT, run_state, start_next
from tests.web.conftest import Person

RECIPE = """
name: small
steps:
  - {name: first, stage: program, options: {function: "math:sqrt"}}
"""


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of two rounds, of which one is done and the other waits, with a ladder from before."""
    folder = tmp_path / "run"
    steps = {name: {"stage": stage, "status": "done", "folder": f"{number:02d}-{name}", "wall_seconds": 2.0}
             for number, (name, stage) in enumerate([("comparisons_1", "comparisons"), ("policy_1", "rlhf"),
                                                     ("ladder", "ladder"), ("comparisons_2", "comparisons")])}
    steps["comparisons_2"] |= {"status": "waiting", "waits_for": 7}
    command = {"recipe": "rounds", "settings": [], "sets": [], "folder": str(tmp_path), "rounds": 2}
    write_json(folder / "run.json", {"steps": steps, "command": command})
    names = [*steps, "policy_2"]
    (folder / "recipe.yaml").write_text("steps:\n" + "".join(f"  - {{name: {name}}}\n" for name in names))
    scores = {model: {"bradley_terry": {"mean": mean, "low": mean - 20, "high": mean + 20, "n": 40}}
              for model, mean in (("policy_1", 1060.0), ("sft", 940.0))}
    write_json(folder / "02-ladder" / "results.json", {"scores": scores})
    return folder


@pytest.fixture
def person(store: Store, run: Path) -> Iterator[Callable[..., Person]]:
    app = create_app(store, WebOptions(hosts=("testserver",)), run, "the-store")

    def as_person(name: str, role: str) -> Person:
        client = TestClient(app)
        client.post(f"/enter/{invite(store, name, role, 'test')}")
        return Person(client, name, session_of(store, client.cookies[COOKIE]).form)

    yield as_person


def test_the_page_shows_the_ladder_and_the_state_of_every_step(person: Callable[..., Person], run: Path) -> None:
    reviewer = person("Rea", "reviewer")
    page = reviewer.client.get("/rounds").text
    assert page.index("policy_1") < page.index("SFT") and "1060" in page and "[1040, 1080]" in page
    assert "waits for 7 rankings" in page and "to do" in page and "rounds/next" not in page  # which is an admin's
    admin = person("Ada", "admin")
    assert "Go on" in admin.client.get("/rounds").text
    with locked(run):
        page = admin.client.get("/rounds/progress").text
    assert "data-running" in page and "rounds/next" not in page and "<html" not in page


def test_rankings_of_two_rounds_make_a_ladder(person: Callable[..., Person], store: Store, run: Path) -> None:
    (run / "run.json").unlink()
    rankings = [Comparison(f"c{number}/{n}", Prompt(f"q{n}", [{"role": "user", "content": "?"}]),
                           [Response(f"a{number}{n}", model="policy_1"), Response(f"b{number}{n}", model="sft")],
                           [[0], [1]] if n % 3 else [[1], [0]], "l", "program", round=number)
                for number in (1, 2) for n in range(12)]
    add_comparisons(store, rankings)
    page = person("Rea", "reviewer").client.get("/rounds").text
    assert "After round 1" in page and "After round 2" in page and page.index(">policy_1<") < page.index(">SFT<")
    assert "This run" not in page


def test_the_share_of_a_training_step_is_read_from_the_log(run: Path) -> None:
    manifest = read_manifest(run)
    manifest["steps"]["policy_2"] = {"stage": "rlhf", "status": "running", "folder": "04-policy_2",
                                     "wall_seconds": 0.0}
    write_json(run / "run.json", manifest)
    log = Log(run / "log.jsonl", "policy_2", 1)
    log.write(0, plan={"optimiser_steps": 40})
    log.write(10, loss=1.0)
    assert {step.name: step.state for step in run_state(run).steps}["policy_2"] == "stopped"  # nobody works on it
    with locked(run):
        state = run_state(run)
    assert state.running and state.next is None and state.steps[-1].share == 0.25


def test_the_button_goes_on_with_the_run(person: Callable[..., Person], store: Store, run: Path,
                                         monkeypatch: pytest.MonkeyPatch) -> None:
    def in_this_process(command: list[str], *, stdout: TextIO, **_: object) -> None:
        assert command[1:3] == ["-m", "preceptor.cli.main"]
        with redirect_stderr(stdout), redirect_stdout(stdout):  # a process of its own takes seconds for its imports
            assert main(command[3:]) == 0

    monkeypatch.setattr("preceptor.web.progress.subprocess.Popen", in_this_process)
    recipe = run.parent / "small.yaml"
    recipe.write_text(RECIPE)
    manifest = read_manifest(run)
    manifest["command"] |= {"recipe": str(recipe), "rounds": 0}
    del manifest["steps"]["ladder"]  # of whose results the fixture has a part, and the report wants all
    write_json(run / "run.json", manifest)
    admin = person("Ada", "admin")
    assert admin.client.post("/rounds/next", data={"form": "x"}).status_code == 403
    assert admin.post("/rounds/next").status_code == 303
    assert [line["who"] for line in history(store) if line["what"] == "round started"] == ["Ada"]
    assert read_manifest(run)["steps"]["first"]["status"] == "done"
    assert run_state(run).steps[0].state == "done" and (run / OUTPUT).read_text().startswith("first")


@pytest.mark.parametrize(("rounds", "wanted"), [
    (2, ["--set", "a.b=1", "--set", "rounds=3"]), (0, ["--set", "a.b=1", "--set", "reward.needs.comparisons=place"])])
def test_what_a_finished_run_goes_on_with(run: Path, monkeypatch: pytest.MonkeyPatch, rounds: int,
                                          wanted: list[str]) -> None:
    manifest = read_manifest(run)
    manifest["steps"] = {"reward": manifest["steps"]["policy_1"] | {"stage": "reward"}}
    manifest["command"] |= {"settings": ["spark"], "sets": ["a.b=1"], "rounds": rounds}
    write_json(run / "run.json", manifest)
    (run / "recipe.yaml").write_text("steps: [{name: reward}]\n")
    asked: list[Any] = []
    monkeypatch.setattr("preceptor.web.progress.subprocess.Popen", lambda command, **_: asked.append(command[3:]))
    start_next(run, "place")
    assert run_state(run, begun=True).running and run_state(run, begun=True).next is None
    with pytest.raises(UserError, match="works on this run"):
        start_next(run, "place", begun=True)
    assert asked == [["run", "rounds", "--out", str(run.resolve()), "--setting", "spark", *wanted]]
