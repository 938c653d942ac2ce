"""From the engine's thread to one HTTP call: what is told of its jobs, and OpenAI's form of it."""

import asyncio
import json
import secrets
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial
from typing import Any

from starlette.requests import Request

from preceptor.generate.decoder import Answer
from preceptor.generate.engine import Engine, Job
from preceptor.web.asked import Asked
from preceptor.web.figures import Figures

News = tuple[int, str | Answer]
Event = tuple[int, str | Answer | Exception]


class Left(Exception):
    """The client is gone."""


class Late(Exception):
    """The call took longer than a call may take."""


class Hall:
    """Where the engine's thread leaves what it tells, for the event loop to hand out.

    The loop is woken once for all that lies there, not once for each token of each answer.
    """

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._left: deque[tuple[asyncio.Queue[Event], Event]] = deque()
        self._woken = False

    def leave(self, queue: "asyncio.Queue[Event]", number: int, said: str | Answer | Exception) -> None:
        """Called in the engine's thread, which goes on even where the loop has ended and with it whoever waited."""
        self._left.append((queue, (number, said)))
        if not self._woken:
            self._woken = True
            with suppress(RuntimeError):
                self.loop.call_soon_threadsafe(self._hand_out)

    def _hand_out(self) -> None:
        self._woken = False  # before it looks: what is left from now on wakes it again
        while self._left:
            queue, event = self._left.popleft()
            queue.put_nowait(event)


class Call:
    """The jobs of one call, from when they are submitted until all are told or the client has left."""

    def __init__(self, engine: Engine, asked: Asked, request: Request, figures: Figures, hall: Hall,
                 timeout: float) -> None:
        self.engine, self.asked, self.request, self.figures, self.timeout = engine, asked, request, figures, timeout
        self._told: asyncio.Queue[Event] = asyncio.Queue()
        self.jobs = [Job(one, prompt, partial(hall.leave, self._told, number), asked.stream, asked.policy)
                     for number, (one, prompt) in enumerate(zip(asked.requests, asked.prompts))]
        self.began = time.monotonic()
        engine.submit(self.jobs)

    async def events(self) -> AsyncIterator[list[News]]:
        """What was told since the last time, with the numbers of the jobs, until every job has its answer.

        Raises:
            Left: the client has gone; the jobs are cancelled.
            Late: the time is over; the jobs are cancelled.
            Exception: the engine's, of the first job that failed; the others are cancelled.
        """
        left, first = len(self.jobs), True
        gone = asyncio.create_task(self._wait_for_leaving())
        late = None
        if self.timeout:
            loop = asyncio.get_running_loop()
            late = loop.call_later(self.timeout, self._told.put_nowait, (0, Late()))
        try:
            while left:
                news = [await self._told.get()]
                while not self._told.empty():  # a loop that is behind tells more at once
                    news.append(self._told.get_nowait())
                for _, said in news:
                    if isinstance(said, Exception):
                        raise said
                if first and self.asked.stream:
                    self.figures.first_token.add(time.monotonic() - self.began)
                first = False
                for _, said in news:
                    if isinstance(said, Answer):
                        left -= 1
                        self._count(said)
                yield news
        finally:
            gone.cancel()
            if late is not None:
                late.cancel()
            self.figures.cancelled += left
            self.engine.cancel(self.jobs)

    async def _wait_for_leaving(self) -> None:
        while (await self.request.receive())["type"] != "http.disconnect":
            pass
        self._told.put_nowait((0, Left()))

    def _count(self, answer: Answer) -> None:
        self.figures.whole.add(time.monotonic() - self.began)
        self.figures.tokens["prompt"] += len(answer.prompt_tokens)
        self.figures.tokens["completion"] += len(answer.response.token_ids)


class Form:
    """How answers look in one of the two endpoints: `chat` or not."""

    def __init__(self, engine: Engine, model: str, asked: Asked, chat: bool) -> None:
        self.decoder, self.asked, self.chat = engine.decoder, asked, chat
        kind = "chat.completion" if chat else "text_completion"
        self.id = ("chatcmpl-" if chat else "cmpl-") + secrets.token_hex(12)
        self.head = {"id": self.id, "object": kind + ".chunk" if chat and asked.stream else kind,
                     "created": int(time.time()), "model": model}
        self._begun: set[int] = set()
        mark = "preceptor"  # where the text comes in what is the same in every chunk
        same = {**self.head, "choices": [{"index": -1, "finish_reason": None, "logprobs": None,
                                          **({"delta": {"content": mark}} if chat else {"text": mark})}]}
        self._before, self._after = json.dumps(same, ensure_ascii=False).rsplit(json.dumps(mark), 1)

    def whole(self, answers: list[Answer]) -> dict[str, Any]:
        """The body of a call that does not stream."""
        return {**self.head, "choices": [self._choice(number, answer) for number, answer in enumerate(answers)],
                "usage": self.usage(answers)}

    def chunks(self, news: list[News]) -> str:
        """The server-sent events of a stream for what was told."""
        parts = []
        for number, said in news:
            if number not in self._begun:
                self._begun.add(number)
                parts += [self._piece(number, "", {"role": "assistant"})] if self.chat else []
            parts.append(event(self._last(number, said)) if isinstance(said, Answer) else self._piece(number, said))
        return "".join(parts)

    def _piece(self, number: int, text: str, role: dict[str, str] | None = None) -> str:
        """A chunk with text: of most streams there are hundreds, so that what they share is written once."""
        if role:
            choice = {"index": number, "finish_reason": None, "logprobs": None, "delta": {**role, "content": text}}
            return event({**self.head, "choices": [choice]})
        before = self._before.replace('"index": -1', f'"index": {number}', 1)
        return f"data: {before}{json.dumps(text, ensure_ascii=False)}{self._after}\n\n"

    def _last(self, number: int, answer: Answer) -> dict[str, Any]:
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
        watched = {"guard": response.sampling.get("guard", [])} if self.asked.policy else {}
        return {"index": number, **said, "finish_reason": "length" if response.finish == "length" else "stop",
                "stop_reason": "stop text" if response.finish == "stop" else None,  # text or null, as vLLM tells them
                "logprobs": self._log_probs(answer) if self.asked.log_probs else None, **watched}

    def _log_probs(self, answer: Answer) -> dict[str, Any]:
        tokens = answer.response.token_ids
        texts = [self.decoder.tokenizer.decode([token]) for token in tokens]
        if not self.chat:
            return {"tokens": texts, "token_logprobs": answer.log_probs, "top_logprobs": None, "text_offset": None}
        return {"content": [{"token": text, "logprob": value, "bytes": None, "top_logprobs": []}
                            for text, value in zip(texts, answer.log_probs)], "refusal": None}


def event(value: dict[str, Any]) -> str:
    """A server-sent event."""
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n"
