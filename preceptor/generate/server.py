"""A server with OpenAI's chat API (vLLM, llama.cpp, SGLang, ...) behind the contract of a decoder.

The server has its own tokenizer, chat template, sampler and order of processors; the same seed gives the same answer
only if the server says so. Answers have no token ids, so a reward reads their text, and PPO's rollouts need the local
decoder.
"""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

from preceptor.data.records import Response
from preceptor.generate.decoder import Answer, Request, in_order
from preceptor.generate.request import Sampling
from preceptor.run.errors import UserError

ALWAYS = ("temperature", "top_p", "max_tokens", "stop")
OPENAI = (*ALWAYS, "presence_penalty", "frequency_penalty")
TRIES = 4


class ServerDecoder:
    """Asks the server at `url` (such as http://localhost:8000/v1) for answers of `model`, `at_once` at a time.

    `honours` names the options beyond OpenAI's that this server knows, such as vLLM's ("top_k", "min_p",
    "repetition_penalty"); a request with any other option is refused, because servers may drop what they do not know.
    """

    def __init__(self, url: str, model: str, *, honours: Sequence[str] = (), key: str = "", at_once: int = 16,
                 timeout: float = 600.0) -> None:
        self.url, self.model, self.key = url.rstrip("/") + "/chat/completions", model, key
        self.honours, self.at_once, self.timeout = (*OPENAI, *honours), at_once, timeout

    def answers(self, requests: Sequence[Request]) -> list[Answer]:
        """The answers in the order of the requests; errors as in `generate`."""
        return in_order(self, requests)

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[int, Answer]]:
        """Yield (index of the request, its answer) as answers come in.

        Raises:
            UserError: the server cannot be reached, refuses a request, or cannot honour one of its options.
        """
        bodies = [self._body(request) for request in requests]
        with ThreadPoolExecutor(self.at_once) as pool:
            waiting = {pool.submit(self._ask, body): number for number, body in enumerate(bodies)}
            try:
                for done in as_completed(waiting):
                    yield waiting[done], self._answer(requests[waiting[done]], done.result())
            finally:  # whoever stops asking wants no further answers
                for future in waiting:
                    future.cancel()

    def stream(self, request: Request) -> Iterator[str]:
        """Yield the answer in pieces as the server writes it; errors as in `generate`."""
        said = False
        with self._open({**self._body(request), "stream": True}) as lines:
            for line in lines:
                data = line.decode().strip().removeprefix("data:").strip()
                if data == "[DONE]":
                    return
                if data and not data.startswith(":"):
                    for choice in json.loads(data)["choices"]:
                        piece = choice["delta"].get("content") or ""
                        piece = piece if said else piece.lstrip()
                        said = said or bool(piece)
                        if piece:
                            yield piece

    def _body(self, request: Request) -> dict[str, Any]:
        """The request as JSON."""
        sampling = request.sampling
        if request.allowed:
            raise UserError(f"The server at '{self.url}' cannot be given a grammar of ours.", "Ask a model folder.")
        options = {name: value for name, value in sampling.to_dict().items() if name not in ("order", "top_k")}
        options |= {"top_k": sampling.top_k} if sampling.top_k else {}
        refused = [name for name in options if name not in self.honours]
        if refused or sampling.order:
            raise UserError(f"The server at '{self.url}' is not known to honour {refused[0] if refused else 'order'}.",
                            "Leave it out, or name it in `honours` if the server does.")
        if not options["stop"]:
            del options["stop"]
        return {"model": self.model, "messages": request.prompt.messages, "logprobs": True, **options,
                "seed": request.seed % 2**31}

    def _ask(self, body: dict[str, Any]) -> dict[str, Any]:
        with self._open(body) as response:
            return json.load(response)

    def _open(self, body: dict[str, Any]) -> Any:
        """The server's response; asked again where the server is busy or failed."""
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {self.key}"} if self.key else {})
        wanted = urllib.request.Request(self.url, json.dumps(body).encode(), headers)
        for trial in range(1, TRIES + 1):
            try:
                return urllib.request.urlopen(wanted, timeout=self.timeout)
            except urllib.error.HTTPError as error:
                said = error.read().decode("utf-8", "replace")[:200]
                if trial == TRIES or (error.code < 500 and error.code != 429):
                    raise UserError(f"The server at '{self.url}' answers with error {error.code}: {said}",
                                    "Check the model's name and the options of the request.") from None
            except (urllib.error.URLError, OSError) as error:
                if trial == TRIES:
                    raise UserError(f"The server at '{self.url}' cannot be reached: {getattr(error, 'reason', error)}.",
                                    "Check the address, and that the server runs.") from None
            time.sleep(0.1 * 4 ** trial / 4)
        raise AssertionError("unreachable")

    def _answer(self, request: Request, found: dict[str, Any]) -> Answer:
        choice = found["choices"][0]
        text = (choice["message"].get("content") or "").lstrip()
        finish = _finish(choice, request.sampling)
        sampling = {**request.sampling.to_dict(), "seed": request.seed, "server": self.url}
        del sampling["order"]  # the server's own
        log_probs: list[float] = []
        # Servers report log-probabilities at temperature 1, which others are not (contract of `Answer`).
        if request.sampling.temperature in (0, 1) and choice.get("logprobs"):
            log_probs = [token["logprob"] for token in choice["logprobs"]["content"]]
        return Answer(Response(text, finish, model=self.model, sampling=sampling), log_probs, [])


def _finish(choice: dict[str, Any], sampling: Sampling) -> str:
    """How the answer ended. OpenAI's API calls the end of text and a stop text by one name; vLLM adds which it was."""
    if choice["finish_reason"] == "length":
        return "length"
    if "stop_reason" in choice:
        return "stop" if isinstance(choice["stop_reason"], str) else "eos"
    return "stop" if sampling.stop else "eos"
