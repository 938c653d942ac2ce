"""A local decoder for requests that come at any time: those that arrive while others are answered join them.

One thread runs the model. Sampled and greedy requests share one batch (`RowCall.join`); searches, speculation and
encoder-decoder models have a call of their own each, at most `APART` at a time, and all advance a token in turn. An
answer depends on its request alone, as everywhere in `generate/`, so whatever goes wrong in the batch is found by
answering each of its requests apart, from the beginning: only the one that fails is told so.
"""

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from preceptor.generate.call import RowCall
from preceptor.generate.decoder import Answer, Request
from preceptor.generate.drawing import Drawing
from preceptor.generate.local import LocalDecoder, evaluating, settled
from preceptor.generate.processors import Shaper
from preceptor.run.errors import UserError

APART = 4  # calls beside the shared batch at a time


class Full(Exception):
    """As many requests wait as may wait."""


@dataclass(eq=False)
class Job:
    """A request to these prompt tokens, and who is told: pieces of text if `streams`, then the answer or an error.

    `tell` is called in the engine's thread, and must not block.
    """

    request: Request
    prompt: list[int]
    tell: Callable[[str | Answer | Exception], None]
    streams: bool = False
    said: int = 0
    """Characters told so far."""


class Engine:
    """Answers jobs until it is closed; `waiting` more than the decoder's rows are taken at most."""

    def __init__(self, decoder: LocalDecoder, waiting: int = 256) -> None:
        self.decoder, self.most = decoder, decoder.rows + waiting
        self._changed = threading.Condition()
        self._arrived: deque[Job] = deque()
        self._jobs: set[Job] = set()  # told neither an answer nor an error yet
        self._closing = False
        self._number = 0
        self._together: dict[int, Job] = {}
        self._apart: deque[Job] = deque()
        self._calls: dict[Job, object] = {}
        self._open()
        self._thread = threading.Thread(target=self._work, name="engine", daemon=True)
        self._thread.start()

    def submit(self, jobs: list[Job]) -> None:
        """Answer all of these jobs.

        Raises:
            Full: they are more than may wait, or the engine is closing; none of them was taken.
        """
        with self._changed:
            if self._closing or len(self._jobs) + len(jobs) > self.most:
                raise Full
            self._jobs.update(jobs)
            self._arrived.extend(jobs)
            self._changed.notify()

    def cancel(self, jobs: list[Job]) -> None:
        """Stop answering these jobs; nothing more is told of them."""
        with self._changed:
            self._jobs.difference_update(jobs)
            self._changed.notify()

    def at_work(self) -> int:
        """How many jobs are not finished."""
        return len(self._jobs)

    def alive(self) -> bool:
        """Whether jobs are still answered."""
        return self._thread.is_alive()

    def close(self) -> None:
        """Take no more jobs, answer none of those left, and end the thread."""
        with self._changed:
            self._closing = True
            left, self._jobs = self._jobs, set()
            self._changed.notify()
        self._thread.join()
        for job in left:
            job.tell(Full())

    def _open(self) -> None:
        """An empty batch to share."""
        self._shaper = Shaper([], [], self.decoder.tokenizer)
        writer = Drawing(self.decoder.model, self._shaper, self.decoder.tokenizer.eos_token_id)
        self._call = RowCall(self.decoder, [], [], writer, self.decoder.rows)

    def _work(self) -> None:
        with evaluating(self.decoder.model, self.decoder.draft):
            while self._turn():
                self._advance_together()
                for job in list(self._calls):
                    self._advance_apart(job)

    def _turn(self) -> bool:
        """Wait for something to do, let jobs in and out; false when the engine closes."""
        with self._changed:
            while not (self._closing or self._arrived or self._together or self._apart or self._calls):
                self._changed.wait()
            arrived = [job for job in self._arrived if job in self._jobs]
            self._arrived.clear()
            wanted = set(self._jobs)
        for number, job in list(self._together.items()):
            if job not in wanted:
                self._leave(number)
        for job in [job for job in self._calls if job not in wanted]:
            del self._calls[job]
        self._apart = deque(job for job in self._apart if job in wanted)
        for job in arrived:
            self._begin(job)
        while self._apart and len(self._calls) < APART:
            self._begin_apart(self._apart.popleft())
        return not self._closing

    def _begin(self, job: Job) -> None:
        if job.request.sampling.strategy != "sample" or self.decoder.model.config.is_encoder_decoder:
            self._apart.append(job)
            return
        self._number += 1
        try:
            self._shaper.add(self._number, job.request, job.prompt)
        except UserError as error:
            self._end(job, error)
            return
        self._call.join(self._number, job.request, job.prompt)
        self._together[self._number] = job

    def _begin_apart(self, job: Job) -> None:
        try:
            self._calls[job] = self.decoder.call(job.request.sampling.strategy, [job.request], [job.prompt])
        except Exception as error:  # whoever asked is told; the others go on
            self._end(job, error)

    def _leave(self, number: int) -> None:
        del self._together[number]
        self._call.leave(number)
        self._shaper.forget(number)

    def _advance_together(self) -> None:
        if not self._together:
            return
        try:
            self._call.advance()
            finished = list(self._call.finished())
        except Exception:  # the batch is lost, and each of its requests is answered apart
            self._apart.extend(self._together.values())
            self._together.clear()
            self._open()
            return
        for number, answer in finished:
            if number in self._together:
                job = self._together[number]
                self._leave(number)
                self._end(job, answer)
        if any(job.streams for job in self._together.values()):
            for row, number in self._call.batch.live_requests():
                self._say(self._together[number], self._call.batch.written(row))

    def _advance_apart(self, job: Job) -> None:
        call = self._calls[job]
        try:
            call.advance()
            finished = [answer for _, answer in call.finished()]
            written = [] if finished else call.written()
        except Exception as error:  # whoever asked is told; the others go on
            del self._calls[job]
            self._end(job, error)
            return
        if finished:
            del self._calls[job]
            self._end(job, finished[0])
        else:
            self._say(job, written)

    def _say(self, job: Job, tokens: list[int]) -> None:
        """Tell what no further token can change of an unfinished answer."""
        if job.streams and tokens:
            text = settled(self.decoder.text(tokens), job.request.sampling.stop)
            if len(text) > job.said:
                self._tell(job, text[job.said:])
                job.said = len(text)

    def _end(self, job: Job, said: Answer | Exception) -> None:
        if job.streams and isinstance(said, Answer) and said.response.text[job.said:]:
            self._tell(job, said.response.text[job.said:])
        self._tell(job, said)
        with self._changed:
            self._jobs.discard(job)

    def _tell(self, job: Job, said: str | Answer | Exception) -> None:
        if job in self._jobs:
            job.tell(said)
