"""A local decoder for requests that come at any time: those that arrive while others are answered join them.

One thread runs the model. Sampled and greedy requests share one batch (`RowCall.join`); searches, speculation and
encoder-decoder models have a call of their own each, at most `APART` at a time, and all advance a token in turn. An
answer depends on its request alone, as everywhere in `generate/`, so whatever goes wrong in the batch is found by
answering each of its requests apart, from the beginning: only the one that fails is told so.

A job with a guard (`guard.py`) is in the same batch, watched; one that is rolled back joins it anew.
"""

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from preceptor.generate.call import RowCall
from preceptor.generate.decoder import Answer, Request
from preceptor.generate.growing import Growing
from preceptor.generate.guard import Guarded, Policy, put_differently, seen
from preceptor.generate.local import LocalDecoder, evaluating
from preceptor.generate.processors import Shaper
from preceptor.generate.watched import Watched, token_units
from preceptor.metrics.watch import Loop, Unit

APART = 4  # calls beside the shared batch at a time


class Full(Exception):
    """As many requests wait as may wait."""


@dataclass(eq=False)
class Job:
    """A request to these prompt tokens, and who is told: pieces of text if `streams`, then the answer or an error.

    `tell` is called in the engine's thread, and must neither block nor fail. An answer under a guard's policy is told
    in one piece: any of it may be taken back.
    """

    request: Request
    prompt: list[int]
    tell: Callable[[str | Answer | Exception], None]
    streams: bool = False
    policy: Policy | None = None
    said: int = 0
    """Characters told so far."""
    growing: Growing | None = None
    """The text so far, of a job that is told pieces."""
    guarded: Guarded | None = None
    read: int = 0
    """Tokens that `growing` was given."""

    def rest(self) -> tuple[Request, list[int]]:
        """What is to be written, and the tokens that it goes on from."""
        return (self.guarded.rest(), self.guarded.read()) if self.guarded else (self.request, self.prompt)


class Engine:
    """Answers jobs until it is closed; `waiting` more than the decoder's rows are taken at most.

    However its thread ends, every job is told so: nobody waits for an answer that nobody writes.
    """

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
        self._units: list[Unit] = []  # of all tokens, from the first job with a guard on
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
            self._changed.notify()
        self._thread.join()

    def _open(self) -> None:
        """An empty batch to share."""
        self._shaper = Shaper([], [], self.decoder.tokenizer)
        self._writer = Watched(self.decoder, self._shaper, self._units)
        self._call = RowCall(self.decoder, [], [], self._writer, self.decoder.rows)

    def _work(self) -> None:
        reason: Exception = Full()
        try:
            with evaluating(self.decoder.model, self.decoder.draft):
                while self._turn():
                    self._advance_together()
                    self._advance_calls()  # a loop over jobs here would hold the last of them for ever
        except Exception as error:  # a mistake of ours, which `alive` shows from now on
            reason = error
            raise
        finally:
            self._end_all(reason)

    def _end_all(self, reason: Exception) -> None:
        """Take no more jobs, and tell those that are left why."""
        with self._changed:
            self._closing = True
            left, self._jobs = self._jobs, set()
        for job in left:
            job.tell(reason)

    def _turn(self) -> bool:
        """Wait for something to do, let jobs in and out; false when the engine closes."""
        with self._changed:
            while not (self._closing or self._arrived or self._together or self._apart or self._calls):
                self._changed.wait()
            if self._closing:
                return False
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
        return True

    def _begin(self, job: Job) -> None:
        try:
            if job.policy and not job.guarded:
                self._units.extend(() if self._units else token_units(self.decoder.tokenizer))
                job.guarded = Guarded(job.request, job.prompt, job.policy, put_differently)
            request, prompt = job.rest()
            if job.streams and not job.policy:
                job.growing, job.read = Growing(self.decoder.tokenizer, request.sampling.stop), 0
            if request.sampling.strategy != "sample" or self.decoder.model.config.is_encoder_decoder:
                self._apart.append(job)
                return
            self._number += 1
            self._shaper.add(self._number, request, prompt)
        except Exception as error:  # whoever asked is told; the others go on
            self._end(job, error)
            return
        if job.guarded:
            self._writer.watch(self._number, job.guarded.kept, job.request.sampling.stop)
        self._call.join(self._number, request, prompt)
        self._together[self._number] = job

    def _begin_apart(self, job: Job) -> None:
        try:
            request, prompt = job.rest()
            if job.guarded and request.sampling.strategy == "sample":
                writer = Watched(self.decoder, Shaper([request], [prompt], self.decoder.tokenizer), self._units)
                writer.watch(0, job.guarded.kept, job.request.sampling.stop)
                self._calls[job] = RowCall(self.decoder, [request], [prompt], writer, 1)
                return
            request = job.guarded.changed if job.guarded else request  # a search knows its stop texts itself
            self._calls[job] = self.decoder.call(request.sampling.strategy, [request], [prompt])
        except Exception as error:  # whoever asked is told; the others go on
            self._end(job, error)

    def _leave(self, number: int) -> Loop | None:
        """Take a job out of the batch; returns the loop that it ended with, if it did."""
        del self._together[number]
        self._call.leave(number)
        self._shaper.forget(number)
        return self._writer.forget(number)

    def _advance_together(self) -> None:
        if not self._together:
            return
        try:
            self._call.advance()
            finished = list(self._call.finished())
        except Exception:  # the batch is lost, and each of its requests is answered apart
            lost = list(self._together.values())
            for job in lost:
                job.growing = job.growing and Growing(self.decoder.tokenizer, job.request.sampling.stop)
                job.read = 0
            self._apart.extend(lost)
            self._together.clear()
            self._open()
            return
        for number, answer in finished:
            if number in self._together:
                job = self._together[number]
                self._written(job, answer, self._leave(number))
        if any(job.growing for job in self._together.values()):
            lasts = self._call.batch.last_tokens()[:, 0].tolist()
            for row, number in self._call.batch.live_requests():
                self._say(self._together[number], lasts[row:row + 1])

    def _advance_calls(self) -> None:
        for job in list(self._calls):
            self._advance_apart(job)

    def _advance_apart(self, job: Job) -> None:
        call, loop = self._calls[job], None
        try:
            call.advance()
            finished = [answer for _, answer in call.finished()]
            written = [] if finished or not job.growing else call.written()
            if finished and job.guarded:
                watching = isinstance(call, RowCall) and isinstance(call.writer, Watched)
                loop = call.writer.loops.get(0) if watching else seen(self._units, finished[0])
        except Exception as error:  # whoever asked is told; the others go on
            del self._calls[job]
            self._end(job, error)
            return
        if finished:
            del self._calls[job]
            self._written(job, finished[0], loop)
        else:
            self._say(job, written[job.read:])

    def _written(self, job: Job, added: Answer, loop: Loop | None) -> None:
        """An answer ended; under guard it may have to go on."""
        try:
            answer = job.guarded.took(self.decoder, added, loop) if job.guarded else added
        except Exception as error:  # a prompt that was put differently may not fit the context, nor the chat template
            self._end(job, error)
            return
        if answer is None:
            self._begin(job)
        else:
            self._end(job, answer)

    def _say(self, job: Job, tokens: list[int]) -> None:
        """Tell what no further token can change of an unfinished answer that has gained these tokens."""
        if not job.growing:
            return
        for token in tokens:
            job.growing.add(token)
        job.read += len(tokens)
        if len(job.growing.text) > job.said:
            self._tell(job, job.growing.text[job.said:])
            job.said = len(job.growing.text)

    def _end(self, job: Job, said: Answer | Exception) -> None:
        if job.streams and isinstance(said, Answer) and said.response.text[job.said:]:
            self._tell(job, said.response.text[job.said:])
        self._tell(job, said)
        with self._changed:
            self._jobs.discard(job)

    def _tell(self, job: Job, said: str | Answer | Exception) -> None:
        if job in self._jobs:
            job.tell(said)
