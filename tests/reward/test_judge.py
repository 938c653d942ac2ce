"""The judge as a step: a server that speaks OpenAI's API labels answers, and is the reward that a policy learns from.
"""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from preceptor.data.jsonl import read_jsonl, write_jsonl
from preceptor.data.records import Comparison, Response
from preceptor.feedback.rewards import open_reward
from preceptor.models.causal import save_model
from preceptor.recipe.load import load_recipe
from preceptor.recipe.runner import run_recipe
from preceptor.reward import judge
from preceptor.reward.options import JudgeOptions
from preceptor.run import machine
from preceptor.run.errors import UserError
from preceptor.run.files import read_json
from preceptor.run.log import read_log
from tests.reward.conftest import Start
from tests.reward.test_stage import comparison, names_a_pet
from tests.rlhf.tiny import tiny_policy, tiny_prompts, word_tokenizer


class Server(ThreadingHTTPServer):
    """Judges answers by how often they hold a word; the constitution says which: "Prefer WORD." """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen: list[dict[str, Any]] = []


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.seen.append({**body, "key": self.headers["Authorization"]})
        question = body["messages"][0]["content"]
        words = question.split("Prefer ")[1].split(".")[0].split(" or ")
        answers = [part.split("\n=====")[0] for part in question.split("===== Answer")[1:]]
        counts = [sum(part.split().count(word) for word in words) for part in answers]
        reply = f"Rating: {1 + min(6, counts[0])}"
        if len(counts) == 2:
            reply = "Better: tie" if counts[0] == counts[1] else f"Better: {'A' if counts[0] > counts[1] else 'B'}"
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"choices": [{"message": {"content": reply}, "finish_reason": "stop"}]}).encode())

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def address(server: Server) -> str:
    return f"http://127.0.0.1:{server.server_port}/v1"


@pytest.fixture
def inputs(tmp_path: Path) -> dict[str, Path]:
    """People who prefer an answer that names a pet ranked twelve prompts, and six more that are held out."""
    write_jsonl(tmp_path / "asked" / "comparisons.train.jsonl", [comparison(n, names_a_pet) for n in range(12)])
    write_jsonl(tmp_path / "asked" / "comparisons.valid.jsonl", [comparison(50 + n, names_a_pet) for n in range(6)])
    (tmp_path / "pets.txt").write_text("Prefer dog or cat.\n", encoding="utf-8")
    return {"comparisons": tmp_path / "asked", "constitution": tmp_path / "pets.txt"}


def test_it_labels_answers_and_is_compared_with_the_people_who_did(
        tmp_path: Path, inputs: dict[str, Path], start: Start, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUDGE_KEY", "sk-7f3a")
    options = JudgeOptions(url=address(server), served_model="big", key_variable="JUDGE_KEY")
    step = start(tmp_path, "critic", options, **inputs)
    judge.run(step)
    train, valid, people = (read_jsonl(step.folder / f"comparisons.{name}.jsonl", Comparison)
                            for name in ("train", "valid", "heldout"))
    assert len(train) == 12 and len(valid) == len(people) == 6
    assert {(one.labeler, one.kind) for one in train + valid} == {("critic", "model")}
    assert people == read_jsonl(inputs["comparisons"] / "comparisons.valid.jsonl", Comparison)
    for one in train:  # it counts pets, where people only look for one
        counts = [sum(answer.text.split().count(pet) for pet in ("dog", "cat")) for answer in one.responses]
        assert [sorted(group) for group in one.ranking] == [
            [n for n, count in enumerate(counts) if count == level] for level in sorted(set(counts), reverse=True)]
    results = read_json(step.folder / "results.json")
    assert results["agreement"]["mean"] == 1.0 and results["judge"]["unread"] == 0
    assert results["judge"]["consistent"] == 1.0 and results["judge"]["asked"] == len(server.seen)
    assert server.seen[0]["key"] == "Bearer sk-7f3a" and server.seen[0]["model"] == "big"
    assert not any(b"sk-7f3a" in path.read_bytes() for path in step.folder.rglob("*") if path.is_file())
    before = len(server.seen)
    judge.run(step)  # as after a kill: nothing is asked twice
    assert len(server.seen) == before


def test_a_recipe_learns_from_a_judge_and_from_its_labels(
        tmp_path: Path, inputs: dict[str, Path], server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "cores", lambda: 1)
    save_model(tiny_policy(), word_tokenizer(), tmp_path / "policy")
    write_jsonl(tmp_path / "prompts.jsonl", tiny_prompts())
    (tmp_path / "good.txt").write_text("Prefer good.\n", encoding="utf-8")
    rollout = "iterations: 1, episodes: 4, minibatches: 1, max_tokens: 4"
    (tmp_path / "recipe.yaml").write_text(f"""
name: rlaif
steps:
  - name: critic
    stage: judge
    needs: {{comparisons: {inputs['comparisons']}, constitution: {inputs['constitution']}}}
    options: {{url: "{address(server)}", served_model: big}}
  - {{name: reward, stage: reward, needs: {{model: {tmp_path}/policy, comparisons: critic}}, options: {{rows: 4}}}}
  - name: rater
    stage: judge
    needs: {{constitution: {tmp_path}/good.txt}}
    options: {{url: "{address(server)}", served_model: big, form: scored}}
  - name: ppo
    stage: rlhf
    needs: {{policy: {tmp_path}/policy, reward: rater, prompts: {tmp_path}/prompts.jsonl}}
    options: {{{rollout}}}
  - name: best
    stage: rlhf
    needs: {{policy: {tmp_path}/policy, reward: critic, prompts: {tmp_path}/prompts.jsonl}}
    options: {{algorithm: best_of_n, answers: 3, max_tokens: 4, epochs: 1}}
""")
    run_recipe(load_recipe(str(tmp_path / "recipe.yaml")), tmp_path / "run")
    log = read_log(tmp_path / "run" / "log.jsonl")
    assert {"same_labelers", "heldout_labelers"} <= set(log["reward"][0]["reward_accuracy"])
    assert 1 <= log["ppo"][1]["score"] <= 7
    answers = read_jsonl(tmp_path / "run" / "04-best" / "answers.jsonl", Response)
    scores = [answer.scores["reward"] for answer in answers]
    assert len(scores) == 18 and 0 <= min(scores) <= max(scores) <= 1
    (tmp_path / "good.txt").write_text("Prefer bad.\n", encoding="utf-8")
    asked = len(server.seen)
    run_recipe(load_recipe(str(tmp_path / "recipe.yaml")), tmp_path / "run")
    assert {body["messages"][0]["content"].split("Prefer ")[1].split(".")[0] for body in server.seen[asked:]} == {"bad"}


def test_a_local_model_that_cannot_judge_is_told_so(tmp_path: Path, start: Start) -> None:
    save_model(tiny_policy(), word_tokenizer(), tmp_path / "model")
    step = start(tmp_path, "critic", JudgeOptions(max_tokens=2, tries=1), model=tmp_path)
    judge.run(step)
    assert not (step.folder / "results.json").exists()
    one = comparison(3, names_a_pet)
    with pytest.raises(UserError, match="verdicts could be read, for example"):
        open_reward(step.folder).score([one.prompt] * len(one.responses), one.responses)


@pytest.mark.parametrize(("options", "cause"), [
    ({}, "either a model folder or the address"), ({"url": "http://127.0.0.1:9/v1", "tries": 0}, "in 0 tries")])
def test_what_cannot_work_is_refused(tmp_path: Path, start: Start, options: dict[str, Any], cause: str) -> None:
    with pytest.raises(UserError, match=cause):
        judge.run(start(tmp_path, "critic", JudgeOptions(**options)))
    (tmp_path / "bad.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="constitution .* cannot be read"):
        judge.run(start(tmp_path, "critic", JudgeOptions(url="http://127.0.0.1:9/v1"),
                        constitution=tmp_path / "bad.txt"))
