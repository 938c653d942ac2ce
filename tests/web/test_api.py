"""The API over HTTP: a real server on this machine, asked by OpenAI's own client."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.client import HTTPConnection, IncompleteRead
from pathlib import Path
from socket import gethostname
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the server needs the extra 'web'")
pytest.importorskip("openai", reason="the server is tested with OpenAI's own client")

import openai

from preceptor.cli.serve import folders_of, hosts_of, keys_of
from preceptor.data.records import Prompt, Response
from preceptor.generate.decoder import Request, Sampling
from preceptor.generate.engine import Engine
from preceptor.generate.local import LocalDecoder
from preceptor.generate.server import ServerDecoder
from preceptor.run.errors import UserError
from preceptor.web.api import create_api
from preceptor.web.options import ServeOptions
from tests.generate.conftest import CONTEXT
from tests.web.conftest import Served, start

TEXTS = ["ado", "emi iru ona", "bado kemi ado", "ona ona"]


def ask(served: Served, text: str, **options: Any) -> Any:
    return served.client().chat.completions.create(model="tiny", messages=[{"role": "user", "content": text}],
                                                   **options)


def test_answers_in_company_are_those_alone_streamed_or_not(served: Served) -> None:
    wanted = [(TEXTS[n % 4], n, {"max_tokens": 5 + 3 * (n % 6), "temperature": (n % 3) * 0.6,
                                 **({"repetition_penalty": 1.4} if n % 5 == 0 else {})}) for n in range(24)]

    def get(number: int) -> str:
        text, seed, sampling = wanted[number]
        extra = {name: value for name, value in sampling.items() if name == "repetition_penalty"}
        said = {name: value for name, value in sampling.items() if name not in extra}
        if number % 2:
            return ask(served, text, seed=seed, extra_body=extra, **said).choices[0].message.content
        chunks = ask(served, text, seed=seed, extra_body=extra, stream=True, **said)
        return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)

    with ThreadPoolExecutor(12) as pool:
        together = list(pool.map(get, range(24)))
    assert together == [served.alone(text, seed, **sampling).text for text, seed, sampling in wanted]
    assert len(set(together)) > 12


def test_choices_stops_log_probs_and_usage(served: Served) -> None:
    found = ask(served, "ado", n=3, seed=5, max_tokens=12, logprobs=True)
    alone = [served.alone("ado", 5 + n, max_tokens=12) for n in range(3)]
    assert [choice.message.content for choice in found.choices] == [answer.text for answer in alone]
    assert [len(choice.logprobs.content) for choice in found.choices] == [len(one.token_ids) for one in alone]
    assert all(token.logprob <= 0 for choice in found.choices for token in choice.logprobs.content)
    assert [choice.finish_reason for choice in found.choices] == [
        "length" if one.finish == "length" else "stop" for one in alone]
    assert found.usage.completion_tokens == sum(len(one.token_ids) for one in alone)
    stop = alone[0].text[2:4]
    cut = ask(served, "ado", seed=5, max_tokens=12, stop=stop).choices[0]
    assert cut.message.content == alone[0].text.partition(stop)[0] and cut.finish_reason == "stop"
    *_, last, counted = ask(served, "ado", seed=5, max_tokens=12, stream=True,
                            stream_options={"include_usage": True})
    assert last.choices[0].finish_reason and counted.usage.completion_tokens == len(alone[0].token_ids)
    assert counted.usage.prompt_tokens == found.usage.prompt_tokens


def test_searches_answer_as_the_decoder_does(served: Served) -> None:
    for options in ({"num_beams": 3}, {"penalty_alpha": 0.6, "top_k": 4}, {"prompt_lookup_num_tokens": 3}):
        found = ask(served, "emi", temperature=0, max_tokens=10, extra_body=options).choices[0].message.content
        assert found == served.alone("emi", temperature=0, max_tokens=10, **options).text


def test_a_completion_goes_on_with_the_text_itself(served: Served) -> None:
    found = served.client().completions.create(model="tiny", prompt=["ado emi", "ona"], temperature=0, max_tokens=8,
                                               logprobs=1)
    for choice, text in zip(found.choices, ("ado emi", "ona")):
        tokens = served.tokenizer(text, return_tensors="pt")
        written = served.model.generate(**{"input_ids": tokens["input_ids"]}, do_sample=False, max_new_tokens=8,
                                        pad_token_id=served.tokenizer.pad_token_id)
        expected = written[0, tokens["input_ids"].shape[1]:].tolist()
        assert choice.logprobs.tokens == [served.tokenizer.decode([token]) for token in expected]


def test_the_project_s_own_client_gets_the_decoder_s_answers(served: Served) -> None:
    decoder = ServerDecoder(served.url + "/v1", "tiny", honours=("min_p",), key="two")
    requests = [Request(Prompt("p", [{"role": "user", "content": text}]), Sampling(max_tokens=9, min_p=0.02), n)
                for n, text in enumerate(TEXTS)]
    expected = LocalDecoder(served.model, served.tokenizer).answers(requests)
    for one, other, request in zip(decoder.answers(requests), expected, requests):
        assert (one.response.text, one.response.finish) == (other.response.text, other.response.finish)
        assert one.log_probs == pytest.approx(other.log_probs, abs=1e-4)
        assert "".join(decoder.stream(request)) == other.response.text


def test_scores_are_those_of_the_reward_model(served: Served) -> None:
    body = {"model": "judge", "messages": [{"role": "user", "content": "ado"}], "responses": ["emi", "ona ona", ""]}
    found = served.client().post("/score", body=body, cast_to=object)
    prompt = Prompt("p", body["messages"])
    reward = served.app.state.service.models["judge"].reward
    expected = reward.score([prompt] * 3, [Response(text, "eos") for text in body["responses"]])
    assert [one["score"] for one in found["data"]] == pytest.approx(expected, abs=1e-5) and found["truncated"] == 0


@pytest.mark.parametrize("options, words", [
    ({"extra_body": {"top_q": 1}}, "top_q"), ({"user": "me\n"}, "name"), ({"temperature": -1}, "temperature"),
    ({"extra_body": {"top_k": "4"}}, "top_k"), ({"extra_body": {"top_k": True}}, "top_k"), ({"n": 7}, "n"),
    ({"max_tokens": CONTEXT}, "context"), ({"extra_body": {"top_k": 10**30}}, "top_k"),
    ({"extra_body": {"guard": {"actions": ["shout"]}}}, "shout"),
    ({"extra_body": {"guard": {"actions": ["queue"]}}}, "queue"), ({"extra_body": {"guard": {"act": []}}}, "'act'"),
    ({"extra_body": {"guard": {"recovery": {"top_p": 7}}}}, "top_p"),
    ({"extra_body": {"guard": {"recovery": {"max_tokens": 7}}}}, "max_tokens"),
    ({"stream_options": {"include_usage": True}}, "stream_options"),
    ({"top_logprobs": 2, "logprobs": True}, "top_logprobs"), ({"extra_body": {"num_beams": 3}}, "num_beams"),
    ({"extra_body": {"num_assistant_tokens": 3}}, "draft"), ({"stop": ["a", ""]}, "stop"),
    ({"stream": True, "extra_body": {"num_assistant_tokens": 3}}, "draft"),
    ({"extra_body": {"dry_multiplier": 1.0, "dry_sequence_breakers": ["zzzz"]}}, "breaker")], ids=str)
def test_what_cannot_be_honoured_is_refused_by_name(served: Served, options: dict[str, Any], words: str) -> None:
    with pytest.raises(openai.BadRequestError, match=words):
        ask(served, "ado", **options)


def test_other_refusals(served: Served) -> None:
    with pytest.raises(openai.AuthenticationError):
        served.client("three").models.list()
    with pytest.raises(openai.NotFoundError, match="tiny"):
        served.client().chat.completions.create(model="tinny", messages=[{"role": "user", "content": "ado"}])
    with pytest.raises(openai.BadRequestError, match="another kind"):
        served.client().chat.completions.create(model="judge", messages=[{"role": "user", "content": "ado"}])
    deep = (b'{"model": "tiny", "messages": %s}' % (b"[" * depth + b"]" * depth) for depth in (300, 900, 980, 5000))
    half = (b'{"model": "tiny", "messages": [{"role": "user", "content": "\\ud800"}]}',
            b'{"model": "tiny", "messages": [{"role": "user", "content": "\xed\xa0\x80"}]}', b'{"\\udfff": 1}')
    for body in (b"{", b"[]", b"[" * 100_000, b'{"model": "tiny", "top_p": NaN}', *half, *deep):
        with pytest.raises(openai.APIStatusError) as caught:
            served.client().post("/chat/completions", cast_to=object, content=body)
        assert caught.value.status_code in (400, 404)
    with pytest.raises(openai.BadRequestError, match="regenerate"):
        served.client().completions.create(model="tiny", prompt="ado", extra_body={"guard": {
            "actions": ["regenerate", "stop"]}})
    with pytest.raises(openai.BadRequestError, match="1 to 2048"):
        served.client().post("/score", cast_to=object, body={
            "model": "judge", "messages": [{"role": "user", "content": "ado"}], "responses": ["a"] * 3000})
    with pytest.raises(openai.APIStatusError) as caught:
        served.client().post("/completions", cast_to=object, content=b" " * (1 << 21))
    assert caught.value.status_code == 413
    assert [model.id for model in served.client().models.list()] == [
        "tiny", "judge", "bert", "seer", "captioner", "towers"]


def test_a_mistake_of_ours_is_told_and_counted(served: Served, monkeypatch: Any) -> None:
    service, mistakes = served.app.state.service, ("/v1/score", 500)
    before = service.figures.requests[mistakes]

    def mistake(*given: Any) -> Any:
        raise RuntimeError("a mistake of ours")
    monkeypatch.setattr("preceptor.web.api.read_score", mistake)
    def post(path: str, **body: Any) -> Any:  # over a connection of its own, which the server closes after a mistake
        connection = HTTPConnection(served.url.removeprefix("http://"), timeout=60)
        connection.request("POST", f"/v1/{path}", json.dumps(body), {"Authorization": "Bearer one"})
        return connection.getresponse()
    assert b"its log says how" in post("score", model="judge").read()
    assert service.figures.requests[mistakes] == before + 1
    call, turns, begun = type(service.models["tiny"]._call), iter(range(99)), threading.Event()
    advance = call.advance

    def fails(self: Any) -> bool:
        if next(turns) <= 3:
            return advance(self)
        begun.wait(60)  # else the answer could still be made a plain error
        return mistake()
    monkeypatch.setattr(call, "advance", fails)
    answer = post("completions", model="tiny", prompt="ado", seed=5, max_tokens=20, min_p=1e-9, stream=True)
    begun.set()
    with pytest.raises(IncompleteRead) as cut:
        answer.read()
    assert answer.status == 200 and b"its log says how" in cut.value.partial and b"[DONE]" not in cut.value.partial
    monkeypatch.undo()
    again = ask(served, "ado", seed=5, max_tokens=9).choices[0].message.content
    assert again == served.alone("ado", 5, max_tokens=9).text


def test_whoever_comes_too_often_or_to_a_full_server_gets_429(served: Served, monkeypatch: Any) -> None:
    service = served.app.state.service
    monkeypatch.setattr(service.models["tiny"], "most", 2)
    with pytest.raises(openai.RateLimitError, match="wait"):
        ask(served, "ado", n=3)
    monkeypatch.setattr(service.limit, "count", 2)
    service.limit._left.clear()
    for _ in range(2):
        served.client().models.list()
    with pytest.raises(openai.RateLimitError, match="Too many"):
        served.client().models.list()
    assert served.client("two").models.list().data, "another key has its own limit"


def test_an_answer_ends_when_its_client_leaves(served: Served, monkeypatch: Any) -> None:
    import urllib.request
    service, engine = served.app.state.service, served.app.state.service.models["tiny"]
    advance, hold = type(engine._call).advance, threading.Event()

    def slow(call: Any) -> bool:
        hold.wait(0.1)
        return advance(call)
    monkeypatch.setattr(type(engine._call), "advance", slow)
    long = {"seed": 5, "max_tokens": 30, "extra_body": {"min_p": 1e-9}}
    before = service.figures.cancelled
    stream = ask(served, "ado", stream=True, **long)
    next(iter(stream))
    stream.close()
    with pytest.raises(openai.APITimeoutError):
        served.client().with_options(timeout=0.3).chat.completions.create(
            model="tiny", messages=[{"role": "user", "content": "ado"}], **long)
    for _ in range(100):
        if engine.at_work() == 0 and service.figures.cancelled == before + 2:
            break
        time.sleep(0.02)
    hold.set()
    assert engine.at_work() == 0 and service.figures.cancelled == before + 2
    said = urllib.request.urlopen(served.url + "/metrics").read().decode()
    assert f"preceptor_cancelled_total {before + 2}" in said
    assert 'preceptor_answers_at_work{model="tiny"} 0' in said
    assert 'preceptor_requests_total{path="/v1/chat/completions",status="200"}' in said
    assert json.load(urllib.request.urlopen(served.url + "/health")) == {"status": "ok"}


def test_a_server_that_is_told_to_stop_finishes_what_it_has_begun(served: Served, monkeypatch: Any) -> None:
    engine = Engine(LocalDecoder(served.model, served.tokenizer, rows=4))
    advance = type(engine._call).advance

    def slow(call: Any) -> bool:
        time.sleep(0.02)
        return advance(call)
    monkeypatch.setattr(type(engine._call), "advance", slow)
    server, thread, url = start(create_api({"tiny": engine}, ServeOptions()))
    other = replace(served, url=url)
    stream = iter(ask(other, "ado", stream=True, seed=5, max_tokens=20))
    said = [next(stream)]
    server.should_exit = True
    said += list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in said)
    assert text == served.alone("ado", 5, max_tokens=20).text
    thread.join(20)
    assert not thread.is_alive() and not engine._thread.is_alive()


def test_models_have_names_and_keys_are_never_none_by_mistake(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    assert folders_of([f"{tmp_path}/a", f"c={tmp_path}/a/b"]) == {"a": tmp_path / "a", "c": tmp_path / "a" / "b"}
    for wrong in ([f"{tmp_path}/a", f"a={tmp_path}/a/b"], [f"{tmp_path}/none"]):
        with pytest.raises(UserError):
            folders_of(wrong)
    run = tmp_path / "run"
    for number, step in enumerate(("sft", "ppo", "evaluate")):
        (run / f"0{number}-{step}" / "model").mkdir(parents=True)
    (run / "run.json").write_text('{"steps": {}}')
    with pytest.raises(UserError, match=f"newest policy, '{run}/01-ppo'"):
        folders_of([str(run)])
    assert folders_of([str(run / "00-sft")]) == {"sft": run / "00-sft"}
    assert hosts_of("box.example", ["other"]) == ("box.example", "other") and hosts_of("::", []) == (gethostname(),)
    (tmp_path / "keys").write_text("one\n\n two \n")
    assert keys_of(tmp_path / "keys") == ("one", "two")
    (tmp_path / "keys").write_text("\n")
    with pytest.raises(UserError, match="everybody"):
        keys_of(tmp_path / "keys")
