"""The server decoder against a small server with OpenAI's API that has the local decoder behind it."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from torch import nn

from preceptor.data.records import Prompt
from preceptor.generate.decoder import Request, Sampling
from preceptor.generate.local import LocalDecoder
from preceptor.generate.server import ServerDecoder
from preceptor.run.errors import UserError
from tests.generate.conftest import ask

TEXTS = ["ado", "emi iru ona", "bado kemi"]
VLLM = ("top_k", "min_p", "repetition_penalty")


class Server(ThreadingHTTPServer):
    """Answers chat completions with a local decoder; fails the first `failures` times."""

    def __init__(self, decoder: LocalDecoder) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.decoder, self.lock = decoder, threading.Lock()
        self.failures, self.code, self.seen = 0, 503, []


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.seen.append((self.path, dict(self.headers), body))
        if self.server.failures:
            self.server.failures -= 1
            self._send(self.server.code, {"error": {"message": "busy"}})
            return
        request = Request(Prompt(id="asked", messages=body["messages"]),
                          Sampling(**{name: value for name, value in body.items() if name not in
                                      ("model", "messages", "logprobs", "seed", "stream")}), body["seed"])
        with self.server.lock:
            if body.get("stream"):
                self._stream(list(self.server.decoder.stream(request)))
                return
            answer = self.server.decoder.answers([request])[0]
        response = answer.response
        self._send(200, {"choices": [{
            "message": {"role": "assistant", "content": " " + response.text},
            "finish_reason": "length" if response.finish == "length" else "stop",
            "stop_reason": "a" if response.finish == "stop" else None,
            "logprobs": {"content": [{"token": "?", "logprob": value} for value in answer.log_probs]}}]})

    def _stream(self, pieces: list[str]) -> None:
        events = [json.dumps({"choices": [{"delta": {"content": piece}}]}) for piece in ["", " ", *pieces]]
        self.send_response(200)
        self.end_headers()
        self.wfile.write("".join(f"data: {event}\n\n" for event in [*events, "[DONE]"]).encode())

    def _send(self, code: int, body: dict[str, Any]) -> None:
        self.send_response(code)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture
def server(llama: nn.Module, tokenizer: Any) -> Iterator[Server]:
    server = Server(LocalDecoder(llama, tokenizer))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def decoder_of(server: Server, **options: Any) -> ServerDecoder:
    return ServerDecoder(f"http://127.0.0.1:{server.server_port}/v1/", "tiny", **options)


def test_answers_are_those_of_the_decoder_behind_it(server: Server) -> None:
    options = [{}, {"temperature": 0}, {"top_p": 0.8, "temperature": 0.7}, {"stop": ("a", "e")}, {"top_k": 5},
               {"min_p": 0.1, "presence_penalty": 0.5}]
    requests = [ask(text, seed=n, max_tokens=9, **how) for n, (text, how) in enumerate(
        (text, how) for text in TEXTS for how in options)]
    for request, ours, theirs in zip(requests, decoder_of(server, honours=VLLM, key="k").answers(requests),
                                     server.decoder.answers(requests)):
        assert (ours.response.text, ours.response.finish) == (theirs.response.text, theirs.response.finish)
        assert ours.response.token_ids is None and ours.response.model == "tiny" and ours.prompt_tokens == []
        expected = theirs.log_probs if request.sampling.temperature in (0, 1) else []
        assert ours.log_probs == pytest.approx(expected, abs=1e-4)
        assert ours.response.sampling["seed"] == request.seed and "order" not in ours.response.sampling
    path, headers, body = server.seen[0]
    assert path == "/v1/chat/completions" and headers["Authorization"] == "Bearer k"
    assert body["messages"][0]["role"] == "user" and "top_k" not in body and "stop" not in body


def test_a_stream_gives_the_answer_in_pieces(server: Server) -> None:
    for seed in range(3):
        request = ask("ado", seed=seed, max_tokens=20)
        assert "".join(decoder_of(server).stream(request)) == server.decoder.answers([request])[0].response.text


@pytest.mark.parametrize("options, named", [({"top_k": 5}, "top_k"), ({"mirostat_tau": 5.0}, "mirostat_tau"),
                                            ({"num_beams": 2, "temperature": 0}, "num_beams"),
                                            ({"order": ("temperature",)}, "order")], ids=str)
def test_what_the_server_may_drop_is_refused(server: Server, options: dict, named: str) -> None:
    with pytest.raises(UserError, match=f"not known to honour {named}"):
        decoder_of(server).answers([ask("ado", **options)])
    assert server.seen == []


def test_a_busy_server_is_asked_again_and_a_refusal_is_told(server: Server) -> None:
    server.failures = 2
    assert len(decoder_of(server).answers([ask("ado")])) == 1
    server.failures, server.code = 1, 400
    with pytest.raises(UserError, match="error 400.*busy"):
        decoder_of(server).answers([ask("ado")])


def test_a_server_that_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("preceptor.generate.server.time.sleep", lambda _: None)
    with pytest.raises(UserError, match="cannot be reached"):
        ServerDecoder("http://127.0.0.1:9/v1", "none").answers([ask("ado")])
