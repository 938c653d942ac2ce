"""One call of a local decoder: the requests that wait, the rows at work, and the answers that end with each token."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

from preceptor.generate.decoder import Answer, Request
from preceptor.generate.rows import Rows, begin, live_rows

if TYPE_CHECKING:
    from preceptor.generate.local import LocalDecoder


class Writer(Protocol):
    """How rows get their next token."""

    with_states: bool
    """Whether the cache must hold the hidden states of prompts."""
    spare: int
    """Columns that it needs in the cache beyond those of the answers."""

    def read(self, rows: Rows) -> None: ...

    def write(self, rows: Rows) -> list[int]:
        """Add a token to each row; returns the rows that ended with it."""
        ...


class RowCall:
    """Requests answered in one row each; rows that ended are replaced by requests that wait."""

    def __init__(self, decoder: "LocalDecoder", requests: Sequence[Request], prompts: Sequence[list[int]],
                 writer: Writer, rows: int) -> None:
        self.decoder = decoder
        self.requests, self.prompts = dict(enumerate(requests)), dict(enumerate(prompts))
        self.writer, self.rows = writer, rows
        # Neighbours of like length waste little on padding, and equal prompts come together and are read once.
        self.waiting = sorted(range(len(requests)), key=lambda n: (len(prompts[n]), prompts[n]))
        self.stops = any(request.sampling.stop for request in requests)
        self.batch: Rows | None = None
        self.ended: list[int] = []

    def advance(self) -> bool:
        """Write one more token in each row; false when there is nothing left to write."""
        live = 0 if self.batch is None else self.batch.live()
        if live:
            self.writer.read(self.batch)
        elif not self.waiting:
            return False
        self._turn_over(live)
        self.ended = self.writer.write(self.batch)
        if self.stops:
            self.ended += self.batch.end(self._stopped())
        return True

    def join(self, number: int, request: Request, prompt: list[int]) -> None:
        """Let one more request wait, behind those that came before it; it begins as soon as a row is free."""
        self.requests[number], self.prompts[number] = request, prompt
        self.stops = self.stops or bool(request.sampling.stop)
        self.waiting.insert(0, number)  # the next to begin stands at the end

    def leave(self, number: int) -> None:
        """Forget a request, whether it waits, is being answered, or has ended."""
        del self.requests[number], self.prompts[number]
        if number in self.waiting:
            self.waiting.remove(number)
        elif self.batch is not None:
            self.batch.end([row for row, other in self.batch.live_requests() if other == number])

    def written(self) -> list[int]:
        """The tokens so far of the only answer."""
        return self.batch.written(0)

    def _turn_over(self, live: int) -> None:
        """Drop the rows that ended and begin requests that wait, when a quarter of the rows can change.

        Sooner, and copying the cache costs more than the idle rows do (measured: the optimum is flat, a sixteenth is a
        fifth slower). A request that joins a call with as much room begins at once.
        """
        if live * 4 > (self.rows if self.waiting else len(self.batch or ())) * 3:
            return
        free = self.rows - live
        parts = [self.batch] if live else []
        if self.waiting:
            numbers, self.waiting = self.waiting[-free:], self.waiting[:-free]
            longest = max(self.requests[number].sampling.max_tokens for number in numbers)
            parts.append(begin(self.decoder.model, [self.requests[number] for number in numbers], numbers,
                               [self.prompts[number] for number in numbers], longest,
                               self.decoder.tokenizer.pad_token_id, self.writer.with_states))
        self.batch = live_rows(parts, self.writer.spare)

    def _stopped(self) -> list[int]:
        """Rows that go on but have written one of their stop texts."""
        return [row for row, number in self.batch.live_requests() if self.requests[number].sampling.stop
                and self.decoder.stopped(self.requests[number], self.batch.written(row))]

    def finished(self) -> Iterator[tuple[int, Answer]]:
        """The answers that ended with the last token written, with the indices of their requests."""
        for row in self.ended:
            number, tokens = int(self.batch.request_N[row]), self.batch.written(row)
            yield number, self.decoder.answer(self.requests[number], self.prompts[number], tokens,
                                              self.batch.log_probs_NT[row, :len(tokens)].tolist())
