"""From the engine's thread to one HTTP call: what is told of its jobs, and OpenAI's form of it."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

from starlette.requests import Request

from preceptor.generate.decoder import Answer
from preceptor.generate.engine import Engine, Job
from preceptor.web.asked import Asked
from preceptor.web.figures import Figures


class Left(Exception):
    """The client is gone."""


class Call:
    """The jobs of one call, from when they are submitted until all are told or the client has left."""

    def __init__(self, engine: Engine, asked: Asked, request: Request, figures: Figures) -> None:
        self.engine, self.asked, self.request, self.figures = engine, asked, request, figures
        self._told: asyncio.Queue[tuple[int, str | Answer | Exception]] = asyncio.Queue()
        hear = partial(asyncio.get_running_loop().call_soon_threadsafe, self._told.put_nowait)
        self.jobs = [Job(one, prompt, partial(_numbered, hear, number), asked.stream)
                     for number, (one, prompt) in enumerate(zip(asked.requests, asked.prompts))]
        self.began = time.monotonic()
        engine.submit(self.jobs)

    async def events(self) -> AsyncIterator[tuple[int, str | Answer]]:
        """(number of the job, what is told) until every job has its answer.

        Raises:
            Left: the client has gone; the jobs are cancelled.
            Exception: the engine's, of the first job that failed; the others are cancelled.
        """
        left, first = len(self.jobs), True
        gone = asyncio.ensure_future(_gone(self.request))
        told: asyncio.Future[tuple[int, str | Answer | Exception]] | None = None
        try:
            while left:
                told = asyncio.ensure_future(self._told.get())
                await asyncio.wait({told, gone}, return_when=asyncio.FIRST_COMPLETED)
                if gone.done():
                    raise Left
                number, said = told.result()
                if isinstance(said, Exception):
                    raise said
                if first and self.asked.stream:
                    self.figures.first_token.add(time.monotonic() - self.began)
                first = False
                if isinstance(said, Answer):
                    left -= 1
                    self.figures.whole.add(time.monotonic() - self.began)
                    self.figures.tokens["prompt"] += len(said.prompt_tokens)
                    self.figures.tokens["completion"] += len(said.response.token_ids)
                yield number, said
        finally:
            gone.cancel()
            if told is not None:
                told.cancel()
            self.figures.cancelled += left
            self.engine.cancel(self.jobs)


def _numbered(hear: Any, number: int, said: str | Answer | Exception) -> None:
    hear((number, said))


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


class Form:
    """How answers look in one of the two endpoints: `chat` or not."""

    def __init__(self, engine: Engine, model: str, asked: Asked, chat: bool) -> None:
        self.decoder, self.asked, self.chat = engine.decoder, asked, chat
        kind = "chat.completion" if chat else "text_completion"
        self.head = {"id": ("chatcmpl-" if chat else "cmpl-") + secrets.token_hex(12),
                     "object": kind + ".chunk" if chat and asked.stream else kind, "created": int(time.time()),
                     "model": model}

    def whole(self, answers: list[Answer]) -> dict[str, Any]:
        """The body of a call that does not stream."""
        return {**self.head, "choices": [self._choice(number, answer) for number, answer in enumerate(answers)],
                "usage": self.usage(answers)}

    def piece(self, number: int, text: str, first: bool) -> dict[str, Any]:
        """A chunk of a stream with text."""
        choice = {"index": number, "finish_reason": None, "logprobs": None}
        role = {"role": "assistant"} if first else {}
        said = {"delta": {**role, "content": text}} if self.chat else {"text": text}
        return {**self.head, "choices": [{**choice, **said}]}

    def last(self, number: int, answer: Answer) -> dict[str, Any]:
        """The last chunk of a choice: how it ended, and the log-probabilities of all its tokens if asked for."""
        choice = self._choice(number, answer)
        if self.chat:
            del choice["message"]
        return {**self.head, "choices": [{**choice, **({"delta": {}} if self.chat else {"text": ""})}]}

    def usage(self, answers: list[Answer]) -> dict[str, int]:
        """Tokens read and written. A prompt counts once, however many answers it gets."""
        read = {id(answer.prompt_tokens): len(answer.prompt_tokens) for answer in answers}
        written = sum(len(answer.response.token_ids) for answer in answers)
        return {"prompt_tokens": sum(read.values()), "completion_tokens": written,
                "total_tokens": sum(read.values()) + written}

    def _choice(self, number: int, answer: Answer) -> dict[str, Any]:
        response = answer.response
        said = ({"message": {"role": "assistant", "content": response.text}} if self.chat else {"text": response.text})
        return {"index": number, **said, "finish_reason": "length" if response.finish == "length" else "stop",
                "stop_reason": "stop text" if response.finish == "stop" else None,  # text or null, as vLLM tells them
                "logprobs": self._log_probs(answer) if self.asked.log_probs else None}

    def _log_probs(self, answer: Answer) -> dict[str, Any]:
        tokens = answer.response.token_ids
        texts = [self.decoder.tokenizer.decode([token]) for token in tokens]
        if not self.chat:
            return {"tokens": texts, "token_logprobs": answer.log_probs, "top_logprobs": None, "text_offset": None}
        return {"content": [{"token": text, "logprob": value, "bytes": None, "top_logprobs": []}
                            for text, value in zip(texts, answer.log_probs)], "refusal": None}
