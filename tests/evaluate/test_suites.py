"""Suites: strict descriptions, scorers with known answers, judges, win rates, and the command on a user's own file."""

import json
import math
import shutil
import threading
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch

from preceptor.cli.evaluate import models as named_models
from preceptor.cli.main import main
from preceptor.data.jsonl import write_jsonl
from preceptor.data.records import Comparison, Prompt, Response
from preceptor.evaluate.suites.description import Judge, Task, load_suite, shipped
from preceptor.evaluate.suites.examinee import LocalExaminee, continuation_likelihoods, windows
from preceptor.evaluate.suites.items import arms
from preceptor.evaluate.suites.judges import TrainedJudge, auc
from preceptor.evaluate.suites.preference import by_judge, by_people, by_reward, win_rates
from preceptor.evaluate.suites.scorers import SCORERS, letter_of
from preceptor.generate.decoder import Sampling
from preceptor.metrics.length_control import length_controlled_win_rate
from preceptor.models.causal import load_causal
from preceptor.run.errors import UserError

ROWS = [{"id": f"q{n}", "question": f"What is {n}?", "choices": ["no", "yes"], "right": n % 2, "said": f"It is {n}.",
         "subject": "even" if n % 2 == 0 else "odd"} for n in range(8)]


class Scripted:
    """An examinee whose likelihoods and answers are functions of the text."""

    name, identity, cut, reads = "scripted", "scripted", 0, True

    def __init__(self, likelihood: Any = None, answer: Any = None, reads: bool = True) -> None:
        self.likelihood, self.answer, self.reads = likelihood, answer, reads
        self.seen: list[str] = []

    def likelihoods(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[float, bool]]:
        return [(self.likelihood(*pair), True) for pair in pairs]

    def write(self, prompts: Sequence[str], sampling: Sampling, seed: int) -> list[str]:
        self.seen += prompts
        return [self.answer(prompt) for prompt in prompts]

    def fits(self, text: str, room: int) -> bool:
        return True

    def longest(self, wanted: int) -> int:
        return wanted


def task(**given: Any) -> Task:
    base = {"name": "t", "file": "rows.jsonl", "scorer": "choice", "prompts": {"basic": "Q: {{ question }}\nA:"},
            "options": "choices", "gold": "right"}
    return Task(**{**base, **given})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_jsonl(tmp_path / "rows.jsonl", ROWS)
    return tmp_path


def scored(one: Task, model: Any, folder: Path, judges: Any = None) -> Any:
    return SCORERS[one.scorer](one, arms(one, folder, 0, 0)[0], model, judges or {}, 0)


def test_every_shipped_suite_fits_the_public_data(public_data: Path) -> None:
    """Every template, expression and file of every task, on a few rows."""
    assert len(shipped()) == 4
    for name in shipped():
        suite = load_suite(name, public_data)
        present = [one for one in suite.tasks if (public_data / one.file).is_file()]
        assert len(present) >= len(suite.tasks) - 1
        for one in present:
            for arm in arms(one, public_data, 2, 0):
                assert all(item.asked().strip() or item.options for item in arm.items), one.name
                assert all(len(item.shots) == arm.shots for item in arm.items), one.name


@pytest.mark.parametrize("spoilt, said", [
    ({"nonsense": 1}, "unknown key 'nonsense'"), ({"scorer": "choise"}, "names the scorer"),
    ({"name": "../t"}, "cannot be that of a file"),
    ({"options": ""}, "has no options"), ({"scorer": "preference", "shots": [0, 1]}, "several ways of asking"),
    ({"judges": ["wise"]}, "names the judge"), ({"file": None}, None)])
def test_a_suite_is_read_strictly(tmp_path: Path, spoilt: dict[str, Any], said: str | None) -> None:
    one = {"name": "t", "file": "rows.jsonl", "scorer": "choice", "prompts": {"basic": "{{ question }}"},
           "options": "choices", "gold": "right", **spoilt}
    if said is None:
        del one["file"]
    (tmp_path / "s.yaml").write_text(json.dumps({"name": "s", "description": "d", "tasks": [one]}))
    with pytest.raises(UserError, match=said or "lacks the key 'file'"):
        load_suite(str(tmp_path / "s.yaml"), None)


def test_a_row_without_what_a_template_names_is_an_error(folder: Path) -> None:
    for spoilt in ({"prompts": {"basic": "{{ missing }}"}}, {"options": "missing"}, {"gold": "7"}, {"gold": "missing"},
                   {"where": "question.x.y"}, {"prompts": {"basic": "{% if"}}):
        with pytest.raises(UserError):
            arms(task(**spoilt), folder, 0, 0)


def test_templates_cannot_reach_the_program(folder: Path) -> None:
    with pytest.raises(UserError, match="fails at the row|has no value"):
        arms(task(prompts={"basic": "{{ question.__class__.__mro__ }}"}), folder, 0, 0)


def test_examples_are_of_the_subject_and_never_the_item_itself(folder: Path) -> None:
    one = task(shots=(0, 2), shots_same="subject")
    plain, shown = arms(one, folder, 0, 0)
    assert plain.name == "" and shown.name == "2-shot"
    for item in shown.items:
        assert len(item.shots) == 2 and item.prompt not in item.asked(2).rpartition("\n\n")[0]
        assert all(shot.endswith(" yes" if item.row["subject"] == "odd" else " no") for shot in item.shots)
    assert arms(one, folder, 0, 0)[1].items == shown.items != arms(one, folder, 0, 1)[1].items
    assert len(arms(one, folder, 3, 0)[0].items) == 3


def test_a_choice_is_scored_by_sum_by_length_and_by_mass(folder: Path) -> None:
    """log p(no) = -1.4 over two letters, log p(yes) = -1.5 over three: by sum "no", by length "yes"."""
    model = Scripted(lambda before, after: {" no": -1.4, " yes": -1.5}[after])
    found = scored(task(), model, folder)
    assert found.values["accuracy"] == [1.0, 0.0] * 4 and found.values["accuracy_norm"] == [0.0, 1.0] * 4
    share = math.exp(-1.4) / (math.exp(-1.4) + math.exp(-1.5))
    assert found.values["mass"] == pytest.approx([share, 1 - share] * 4)
    assert found.whole["macro_f1"] == pytest.approx(1 / 3)
    assert found.whole["calibration_error"] == pytest.approx(share - 0.5)


def test_a_server_is_asked_for_a_letter(folder: Path) -> None:
    model = Scripted(answer=lambda prompt: f"The answer is {letter_before('yes', prompt)}." if "3?" in prompt
                     else "I cannot say", reads=False)
    found = scored(task(), model, folder)
    assert found.values["accuracy"] == [0, 0, 0, 1, 0, 0, 0, 0] and found.whole["unread"] == 7
    assert all("\nA. no\nB. yes\n" in seen or "\nA. yes\nB. no\n" in seen for seen in model.seen)
    assert [letter_of(text, 3) for text in ("B", "(C)", "D", "BAD", "答案是A。", "")] == [1, 2, None, None, 0, None]


def letter_before(option: str, asked: str) -> str:
    """The letter that an option has in a question."""
    return asked[asked.index(f". {option}\n") - 1]


def test_a_server_that_always_says_a_knows_nothing(tmp_path: Path) -> None:
    """Also where the file has the right option first, as TruthfulQA and HalluQA have."""
    write_jsonl(tmp_path / "rows.jsonl", [{"id": str(n), "question": f"{n}?", "choices": ["right", "wrong", "bad"],
                                           "letters": ["A", "B", "C"]} for n in range(300)])
    parrot = Scripted(answer=lambda prompt: "A", reads=False)
    shares = [sum(scored(task(gold="0"), parrot, tmp_path).values["accuracy"]) / 300]
    assert 0.25 < shares[0] < 0.42  # a third, with a deviation of 0.027
    letters = task(gold="0", options="letters")
    assert set(scored(letters, parrot, tmp_path).values["accuracy"]) == {1.0} and "\nB. B" not in parrot.seen[-1]
    write_jsonl(tmp_path / "rows.jsonl", [{"id": "many", "question": "?", "choices": [str(n) for n in range(27)]}])
    with pytest.raises(UserError, match="27 options"):
        scored(task(gold="0"), parrot, tmp_path)


def test_an_answer_is_scored_by_every_metric_asked_for(folder: Path) -> None:
    one = task(scorer="answer", gold="[said]", metrics=("exact_match", "f1", "contains", "number", "rougeL", "bleu"))
    found = scored(one, Scripted(answer=lambda prompt: "It is 3."), folder)
    assert found.values["exact_match"] == [0, 0, 0, 1, 0, 0, 0, 0] == found.values["number"]
    assert found.values["f1"][3] == 1 and found.values["f1"][0] == pytest.approx(2 / 3)
    assert found.values["rougeL"][0] == pytest.approx(2 / 3) and found.whole["bleu"]["n"] == 8
    assert "tok:13a" in found.whole["bleu_signature"] and "tok:a-z0-9" in found.whole["rouge_signature"]
    with pytest.raises(UserError, match="metric 'f2'"):
        scored(task(scorer="answer", gold="[said]", metrics=("f2",)), Scripted(answer=str), folder)


def test_joined_rows_make_pairs_with_their_entropy(folder: Path) -> None:
    one = task(scorer="pair", prompts={}, gold="", join="right", where="question[8] in '0123'",
               options="rows | map(attribute='question') | list")
    model = Scripted(lambda before, after: math.log(0.75 if after[8] in "01" else 0.25))
    found = scored(one, model, folder)
    assert found.values["prefers_first"] == [1, 1]
    assert found.values["entropy"] == pytest.approx([-(0.75 * math.log2(0.75) + 0.25 * math.log2(0.25))] * 2)
    with pytest.raises(UserError, match="compares two sentences"):
        scored(task(scorer="pair", prompts={}, gold="", options="[question]"), model, folder)


def test_a_judge_learns_from_labels_and_reports_its_accuracy(tmp_path: Path) -> None:
    rows = [{"id": str(n), "text": f"you are {'kind' if n % 3 else 'an idiot'} {n}", "bad": n % 3 == 0, "who": n // 4}
            for n in range(120)]
    write_jsonl(tmp_path / "labels.jsonl", rows)
    judge = TrainedJudge(Judge(name="bad", files=("labels.jsonl",), text="{{ text }}", label="bad", group="who",
                               test="labels.jsonl"), tmp_path)
    assert judge.measured["accuracy"]["mean"] > 0.95 and judge.measured["majority"] == pytest.approx(2 / 3)
    assert judge.measured["accuracy"]["n"] == 30 and judge.measured["other_source"]["labels"] == 120
    low, high, nothing = judge.probabilities(["you are kind", "an idiot you are", " "], [{}, {}, {}])
    assert low < 0.5 < high and low < nothing < high  # of an empty answer: how often the label is there at all
    noise = [{**row, "bad": hash_free(row["id"])} for row in rows]
    write_jsonl(tmp_path / "noise.jsonl", noise)
    lost = TrainedJudge(Judge(name="bad", files=("noise.jsonl",), text="{{ text }}", label="bad"), tmp_path)
    assert lost.measured["accuracy"]["mean"] < 0.65  # on texts that it did not train on: no better than chance


def hash_free(text: str) -> bool:
    """A label that nothing in the text foretells."""
    return bin(int(text) * 2654435761 % 2**32).count("1") % 2 == 0


def test_a_judge_may_read_references_but_not_the_answer_itself_among_them(tmp_path: Path) -> None:
    questions = [{"id": f"{n}", "question": f"q{n}", "correct_answers": [f"red{n} stone", f"red{n} rock"],
                  "incorrect_answers": [f"blue{n} stone"]} for n in range(40)]
    write_jsonl(tmp_path / "refs.jsonl", questions)
    rows = [{"id": f"{n}{kind}", "question": f"q{n}", "answer": f"{kind}{n} {thing}", "label": kind == "red"}
            for n in range(40) for kind, thing in (("red", "stone"), ("blue", "thing"))]
    write_jsonl(tmp_path / "labels.jsonl", rows)
    judge = Judge(name="j", files=("labels.jsonl",), text="{{ answer }}", label="label", group="question",
                  references="refs.jsonl")
    trained = TrainedJudge(judge, tmp_path)
    assert trained.measured["accuracy"]["mean"] > 0.9  # every word is new, so only the references can tell
    assert trained._likeness({"question": "q0", "answer": "red0 stone"}) == [0.5, 0.5, 0.0]
    assert trained._likeness({"question": "unheard of", "answer": "x"}) == [0, 0, 0]


def test_auc_counts_pairs() -> None:
    scores, labels = [0.1, 0.4, 0.35, 0.8, 0.4], [False, False, True, True, True]
    pairs = [(yes > no) + 0.5 * (yes == no) for yes, true in zip(scores, labels) if true
             for no, false in zip(scores, labels) if not false]
    assert auc(scores, labels) == pytest.approx(sum(pairs) / len(pairs))


IDS = [f"p{n}" for n in range(40)]
SHORT, LONG = ["short"] * 40, ["a much longer answer of many words"] * 40


def test_a_judge_that_favours_a_place_decides_nothing() -> None:
    first = Scripted(lambda before, after: -1.0 if after == " A" else -2.0)
    found = win_rates(IDS, IDS, SHORT, LONG, by_judge(first))
    assert found["win_rate"]["mean"] == 0.5 and found["first_place"] == 1 and found["consistent"] == 0
    fair = Scripted(answer=lambda text: "A" if "Answer A: short" in text else "B", reads=False)
    found = win_rates(IDS, IDS, SHORT, LONG, by_judge(fair))
    assert found["win_rate"]["mean"] == 1 and found["first_place"] == 0.5 and found["consistent"] == 1


def test_length_control_takes_the_length_out() -> None:
    """A wins where it is longer, and with 60 % where both are of one length."""
    import numpy as np
    draw = np.random.default_rng(0)
    gaps = draw.normal(5, 5, 3000)
    chance = 1 / (1 + np.exp(-(math.log(0.6 / 0.4) + 2 * np.tanh(gaps / gaps.std()))))
    won = (draw.uniform(size=3000) < chance).astype(float)
    found = length_controlled_win_rate(won, gaps, np.zeros(3000), range(3000), resamples=100)
    assert won.mean() > 0.7 and found.low < 0.6 < found.high and abs(found.mean - 0.6) < 0.03
    always = length_controlled_win_rate([1.0] * 20, [1] * 20, [1] * 20, range(20), resamples=20)
    assert always.mean > 0.95
    with pytest.raises(UserError, match="no comparison"):
        length_controlled_win_rate([], [], [], [])


def test_win_rates_by_reward_and_by_people() -> None:
    class Longer:
        def score(self, prompts: Sequence[Prompt], responses: Sequence[Response]) -> list[float]:
            return [float(len(one.text)) for one in responses]
    found = win_rates(IDS, IDS, LONG, SHORT, by_reward(Longer()))
    assert found["win_rate"]["mean"] == 1 and found["longer"]["mean"] == 1
    said = [Response("x", model="ours"), Response("y", model="theirs"), Response("z", model="other")]
    prompt = Prompt("p", [{"role": "user", "content": "?"}])
    labels = [Comparison("1", prompt, said, [[0], [2], [1]], "ann", "person"),
              Comparison("2", prompt, said, [[0, 1], [2]], "bea", "person")]
    assert by_people(labels, "ours", "theirs")["win_rate"]["mean"] == 0.75
    assert by_people(labels, "ours", "nobody") is None


def test_likelihoods_are_those_of_a_full_softmax_whatever_the_batch(models: dict[str, Path]) -> None:
    model = load_causal(models["sft"] / "model").eval()
    pairs = [([5, 6, 7], [8, 9]), ([3], [4]), ([1, 2, 3, 4, 5, 6], [7, 8, 9, 10]), ([2, 2], [])]
    found = continuation_likelihoods(model, pairs, pad=1, rows=2)
    assert found[3] == (0.0, True)
    for (before, after), (nats, greedy) in zip(pairs[:3], found, strict=False):
        with torch.no_grad():
            logits = model(torch.tensor([[*before, *after]])).logits[0].log_softmax(-1)
        places = range(len(before) - 1, len(before) + len(after) - 1)
        assert nats == pytest.approx(sum(float(logits[t, token]) for t, token in zip(places, after)), abs=1e-4)
        assert greedy == all(int(logits[t].argmax()) == token for t, token in zip(places, after))


def test_long_texts_lose_their_beginning_and_are_counted(models: dict[str, Path]) -> None:
    for form in ("plain", "chat"):
        model = LocalExaminee(models["sft"], "sft", form)
        [(nats, _)] = model.likelihoods([("word " * 600, " yes")])
        assert math.isfinite(nats) and model.cut == 1
        assert len(model.write(["word " * 600], Sampling(temperature=0.0, max_tokens=4), 0)) == 1 and model.cut == 2


def test_each_token_of_a_text_longer_than_the_context_counts_once(models: dict[str, Path]) -> None:
    model = LocalExaminee(models["sft"], "sft", "plain")
    text = "the cat and the dog " * 60
    tokens = model.tokenizer(text, add_special_tokens=False)["input_ids"]
    assert 2 * model.length < len(tokens)
    first = model._plain_pair("", "the")[0]
    nats, whole = 0.0, [*first, *tokens]
    for start in range(0, len(tokens), model.length):
        end = min(start + model.length, len(tokens))
        begin = max(0, end - model.length)
        with torch.no_grad():
            logits = model.model(torch.tensor([whole[begin:end]])).logits[0].log_softmax(-1)
        nats += sum(float(logits[place - begin, tokens[place]]) for place in range(start, end))
    assert model.likelihoods([("", text)])[0][0] == pytest.approx(nats, rel=1e-4) and model.cut == 0
    assert windows([0], [1, 2, 3, 4, 5, 6, 7], 3) == [([0], [1, 2, 3]), ([3], [4, 5, 6]), ([4, 5, 6], [7])]


@pytest.mark.parametrize("delimiter", ["", " "])
def test_a_continuation_always_has_tokens_and_joins_the_context(models: dict[str, Path], delimiter: str) -> None:
    """Also where the two would make one token together, as t and he do in English."""
    model = LocalExaminee(models["sft"], "sft", "plain")
    for context, continuation in (("t", "he"), ("and t", "he cat"), ("问：", "她"), ("a  ", "b"), ("", "the")):
        before, after = model._plain_pair(context, delimiter + continuation)
        assert before and after
        text = model.tokenizer.decode([*before, *after], skip_special_tokens=True)
        assert text == context + delimiter + continuation


@pytest.fixture
def own(folder: Path) -> Path:
    tasks = [{"name": "pick", "file": "rows.jsonl", "scorer": "choice", "prompts": {"basic": "Q: {{ question }}\nA:"},
              "options": "choices", "gold": "right", "by": "subject"},
             {"name": "say", "file": "rows.jsonl", "scorer": "answer", "max_tokens": 4, "gold": "[said]",
              "prompts": {"kind": "Please: {{ question }}", "rude": "{{ question }}!"}, "metrics": ["f1", "chrf"]},
             {"name": "duel", "file": "rows.jsonl", "scorer": "preference", "prompts": {"basic": "{{ question }}"},
              "gold": "[said]", "max_tokens": 4},
             {"name": "read", "file": "rows.jsonl", "scorer": "text", "text": "{{ said }}"}]
    path = folder / "own.yaml"
    path.write_text(json.dumps({"name": "own", "description": "a user's", "tasks": tasks}))
    return path


def test_the_command_examines_models_on_a_users_own_suite(own: Path, models: dict[str, Path], tmp_path: Path,
                                                          capsys: pytest.CaptureFixture) -> None:
    arguments = ["evaluate", str(models["base"]), str(models["sft"]), "--suite", str(own), "--out",
                 str(tmp_path / "out"), "--form", "plain", "--reward", str(models["reward"])]
    assert main([*arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["models"] == ["base", "sft"] and set(found["tasks"]) == {"pick", "say", "duel", "read"}
    assert found["tasks"]["pick"][""]["accuracy"]["base"]["n"] == 8
    assert found["tasks"]["pick"][""]["accuracy / odd"]["sft"]["n"] == 4
    assert set(found["tasks"]["say"]) == {"kind", "rude"} and "chrf" in found["tasks"]["say"]["rude"]
    assert found["tasks"]["duel"][""]["win_rate against base"]["sft"]["n"] == 8
    assert set(found["tasks"]["duel"][""]["win_rate against the reference"]) == {"base", "sft"}
    assert found["tasks"]["read"][""]["bits_per_byte"]["base"]["mean"] > 0
    kept = tmp_path / "out" / "answers" / "sft" / "say.json"
    before = kept.stat().st_mtime_ns
    assert main(arguments) == 0
    said = capsys.readouterr().out
    assert kept.stat().st_mtime_ns == before and "chrf_signature" in said and "win_rate against base" in said
    assert json.loads((tmp_path / "out" / "results.json").read_text()) == found


def test_an_answer_that_would_fill_the_context_is_asked_for_shorter_and_named(
        own: Path, models: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """A shipped suite asks for answers of 160 tokens; a small model of 128 is examined all the same."""
    suite = json.loads(own.read_text())
    suite["tasks"] = [{**task, "max_tokens": 4096} for task in suite["tasks"] if task["name"] == "say"]
    own.write_text(json.dumps(suite))
    assert main(["evaluate", str(models["sft"]), "--suite", str(own), "--out", str(tmp_path / "out"), "--form",
                 "plain"]) == 0
    said = capsys.readouterr().out
    assert "in place of 4096" in said and "sft, say, rude: answers end after" in said


class Chat(BaseHTTPRequestHandler):
    """A server that says yes to every question, and 3 where it has no choice."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.end_headers()
        text = asked["messages"][-1]["content"]
        said = letter_before("yes", text) if "Answer with the letter" in text else "It is 3."
        self.wfile.write(json.dumps({"choices": [{"message": {"content": said}, "finish_reason": "stop"}]}).encode())

    def log_message(self, *given: Any) -> None:
        """Quiet."""


def test_a_server_is_examined(own: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Chat)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}/v1#parrot"
    assert main(["evaluate", address, "--suite", str(own), "--out", str(tmp_path / "out"), "--json"]) == 0
    server.shutdown()
    found = json.loads(capsys.readouterr().out)
    assert found["tasks"]["pick"][""]["accuracy"]["parrot"]["mean"] == 0.5
    assert found["tasks"]["pick"][""]["accuracy / odd"]["parrot"]["mean"] == 1
    assert found["tasks"]["say"]["kind"]["f1"]["parrot"]["mean"] == pytest.approx((1 + 7 * 2 / 3) / 8)
    assert "read" in " ".join(found["notes"]) and "asked by letter" in " ".join(found["notes"])


def test_the_policies_of_a_run_are_its_models(models: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"steps": {"base": {}, "sft": {}, "ppo": {}}}))
    with pytest.raises(UserError, match="has no model yet"):
        named_models([str(tmp_path)], None)
    for folder, name in (("02-base", "base"), ("03-sft", "sft")):
        shutil.copytree(models[name], tmp_path / folder)
    assert named_models([str(tmp_path)], None) == [("base", str(tmp_path / "02-base"), "plain"),
                                                   ("sft", str(tmp_path / "03-sft"), "chat")]
    assert [form for *_, form in named_models([str(tmp_path)], "plain")] == ["plain", "plain"]
    twice = named_models([str(tmp_path / "03-sft"), str(tmp_path / "03-sft")], None)
    assert [name for name, *_ in twice] == ["03-sft 1", "03-sft 2"]


def test_a_model_that_is_not_there_is_missed_before_any_work(own: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["evaluate", "nowhere", "--suite", str(own)]) == 2
    assert capsys.readouterr().err.startswith("preceptor: There is no model folder 'nowhere'.")


@pytest.mark.parametrize("change, said", [
    (["--suite", "instructgtp"], "There is no suite"), (["--task", "nothing"], "has no task"),
    (["--limit", "-3"], "--limit -3 is no number"),
    (["--judge", "nowhere"], "There is no model folder"), (["--judge", "http://localhost:1"], "which model"),
    (["--suite", "knowledge", "--data", "nowhere"], "Nothing of the suite")])
def test_bad_input_is_told(own: Path, models: dict[str, Path], change: list[str], said: str,
                           capsys: pytest.CaptureFixture) -> None:
    assert main(["evaluate", str(models["sft"]), "--suite", str(own), *change]) == 2
    assert said in capsys.readouterr().err
