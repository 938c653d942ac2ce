"""`preceptor label` without a browser: rankings in and out, and what it refuses."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from preceptor.cli.main import main
from preceptor.data.jsonl import read_jsonl, write_jsonl
from preceptor.data.records import Comparison, Conversation, Prompt
from preceptor.feedback.assign import next_item
from preceptor.feedback.audit import history
from preceptor.feedback.labelers import add_labeler
from preceptor.feedback.records import comparisons
from preceptor.feedback.screening import gold_questions
from preceptor.feedback.store import open_store
from preceptor.feedback.writings import write_prompt
from preceptor.run.files import write_json

GOLDEN = Path(__file__).parent.parent / "data" / "golden" / "Comparison.jsonl"


def test_rankings_go_in_and_come_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    assert main(["label", str(run), "--add", str(GOLDEN)]) == 0
    assert "2 of 2 rankings are new" in capsys.readouterr().err
    assert main(["label", str(run), "--add", str(GOLDEN)]) == 0
    assert "0 of 2 rankings are new" in capsys.readouterr().err
    assert main(["label", str(run), "--export", str(tmp_path / "out.jsonl")]) == 0
    assert (tmp_path / "out.jsonl").read_bytes() == GOLDEN.read_bytes()
    assert main(["label", str(run), "--export", str(tmp_path / "pairs.jsonl"), "--format", "pairs"]) == 0
    assert "2 rows" in capsys.readouterr().err and len((tmp_path / "pairs.jsonl").read_text().splitlines()) == 2
    assert read_jsonl(tmp_path / "out.jsonl", Comparison) == read_jsonl(GOLDEN, Comparison)


def test_what_labelers_wrote_leaves_as_records(tmp_path: Path) -> None:
    store = open_store(tmp_path / "feedback.sqlite")
    add_labeler(store, "ann")
    write_prompt(store, "ann", "Who keeps bees?", "plain", [])
    write_prompt(store, "ann", "Write a letter.", "plain", [], "Dear Nora,")
    store.close()
    for format in ("prompts", "demonstrations"):
        assert main(["label", str(tmp_path), "--export", str(tmp_path / f"{format}.jsonl"), "--format", format]) == 0
    [prompt] = read_jsonl(tmp_path / "prompts.jsonl", Prompt)
    [demonstration] = read_jsonl(tmp_path / "demonstrations.jsonl", Conversation)
    assert prompt.messages[-1]["content"] == "Who keeps bees?"
    assert [message["content"] for message in demonstration.messages] == ["Write a letter.", "Dear Nora,"]


def test_the_log_tells_of_exports(tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert main(["label", str(run), "--add", str(GOLDEN)]) == 0
    assert main(["label", str(run), "--export", str(tmp_path / "out.jsonl")]) == 0
    assert main(["label", str(run), "--export", str(tmp_path / "pairs.jsonl"), "--format", "pairs"]) == 0
    store = open_store(run / "feedback.sqlite")
    exported = [(line["about"], line["details"]["rows"]) for line in history(store) if line["what"] == "exported"]
    assert exported == [("pairs.jsonl", 2), ("out.jsonl", 2)]
    store.close()


@pytest.mark.parametrize(("arguments", "said"), [
    (["no/such/run"], "There is no run 'no/such/run'"),
    (["{run}"], "There is nothing to label"),
    (["{run}", "--export", "{run}/x", "--format", "csv"], "There is no format 'csv'"),
    (["{run}", "--database", "mysql://a/b"], "cannot be a database of 'mysql'"),
    (["{run}", "--answers", "{run}/none.jsonl"], "There is no file"),
])
def test_what_cannot_be_done_is_said(
        tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    assert main(["label", *(word.replace("{run}", str(tmp_path)) for word in arguments)]) == 2
    assert said in capsys.readouterr().err


def test_a_judge_ranks_and_gold_questions_are_set_from_the_command_line(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    judge = tmp_path / "longest"
    judge.mkdir()
    (judge / "judging.py").write_text("def length(prompt, response):\n    return len(response.text)\n")
    write_json(judge / "reward.json", {"kind": "program", "function": "judging:length", "code": "judging.py"})
    assert main(["label", str(run), "--add", str(GOLDEN)]) == 0
    assert main(["label", str(run), "--judge", str(judge)]) == 0
    assert "longest (program) ranked 2 prompts." in capsys.readouterr().err
    assert main(["label", str(run), "--judge", str(judge), "--as", "again"]) == 0
    assert main(["label", str(run), "--gold", str(GOLDEN)]) == 0
    assert "2 gold questions." in capsys.readouterr().err
    store = open_store(run / "feedback.sqlite")
    mine = list(comparisons(store, labeler="again"))
    assert len(mine) == 2 and {one.kind for one in mine} == {"program"} and len(gold_questions(store).ranks) == 2
    lengths = [[len(mine[0].responses[index].text) for index in group] for group in mine[0].ranking]
    assert lengths == sorted(lengths, reverse=True)
    store.close()


class Endpoint(BaseHTTPRequestHandler):
    """A server with OpenAI's chat API that answers with the question and its seed."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        said = f"{body['messages'][-1]['content']} says {body['model']} ({body['seed'] % 2})"
        content = json.dumps({"choices": [{"message": {"content": said}, "finish_reason": "stop"}]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


def test_answers_of_a_server_are_put_before_people(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    write_jsonl(tmp_path / "prompts.jsonl", [Prompt(f"p{n}", [{"role": "user", "content": f"Q{n}"}]) for n in range(3)])
    run, prompts = str(tmp_path / "run"), ["--prompts", str(tmp_path / "prompts.jsonl")]
    assert main(["label", run, *prompts, "--ask", f"{url}#big", "--ask", f"{url}#small", "--samples", "2"]) == 0
    assert "3 prompts with 12 answers." in capsys.readouterr().err
    store = open_store(tmp_path / "run" / "feedback.sqlite")
    held = next_item(store, "ann")
    assert len(held.responses) == 4 and {one.model for one in held.responses} == {"big", "small"}
    store.close()
    for arguments, said in ((["--ask", url, *prompts], "which model of the server"), (["--ask", "x"], "need prompts"),
                            (["--ask", "no-step", *prompts], "no step 'no-step'")):
        assert main(["label", run, *arguments]) == 2
        assert said in capsys.readouterr().err
    server.shutdown()
