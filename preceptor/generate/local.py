"""The local decoder: batched answers from a Hugging Face causal model."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import nn

from preceptor.data.records import Response
from preceptor.generate.decoder import Answer, Request
from preceptor.generate.rows import Rows, begin, live_rows
from preceptor.models.causal import context_length
from preceptor.run.errors import UserError
from preceptor.tokenizer.chat import encode_prompt
from preceptor.tokenizer.fingerprint import fingerprint


class LocalDecoder:
    """Writes answers with `model`, at most `rows` at a time; a row that ends makes room for the next request.

    `name` is the model's name in the responses. `truncated` counts the prompts so far that lost their beginning because
    they and their answer were longer than the context: the caller says so. The model is in evaluation mode while it
    answers, and back in its own mode when the iterator is used up or closed.
    """

    def __init__(self, model: nn.Module, tokenizer: Any, *, rows: int = 64, name: str = "") -> None:
        self.model, self.tokenizer, self.rows, self.name = model, tokenizer, rows, name
        self.fingerprint = fingerprint(tokenizer)
        self.truncated = 0

    def answers(self, requests: Sequence[Request]) -> list[Answer]:
        """The answers in the order of the requests; errors as in `generate`."""
        found = dict(self.generate(requests))
        return [found[number] for number in range(len(requests))]

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[int, Answer]]:
        """Yield (index of the request, its answer) as answers are finished.

        Raises:
            UserError: an answer as long as allowed would leave no room for the prompt, or the model has diverged.
        """
        call = _Call(self, requests)
        with evaluating(self.model):
            while call.advance():
                yield from call.finished()

    def stream(self, request: Request) -> Iterator[str]:
        """Yield the answer in pieces as it is written; joined, they are the text that `answers` gives; errors alike."""
        call = _Call(self, [request])
        said = ""
        with evaluating(self.model):
            while call.advance():
                for _, answer in call.finished():
                    yield answer.response.text[len(said):]
                    return
                text = settled(self.text(call.batch.written(0)), request.sampling.stop)
                if len(text) > len(said):
                    yield text[len(said):]
                    said = text

    def prompt_tokens(self, request: Request) -> list[int]:
        """The tokens of the request's prompt, without as many of the first as the context has no room for."""
        room = context_length(self.model) - request.sampling.max_tokens
        if room < 1:
            raise UserError(f"An answer of {request.sampling.max_tokens} tokens leaves no room for a prompt in a "
                            f"context of {context_length(self.model)}.", "Ask for fewer tokens with max_tokens.")
        tokens = encode_prompt(self.tokenizer, request.prompt)
        self.truncated += len(tokens) > room
        return tokens[-room:]

    def text(self, tokens: Sequence[int]) -> str:
        """The text of an answer's tokens.

        Special tokens other than the end of text are shown, because an answer that has them is not what it should be.
        The white space in front belongs to the template ("Assistant: ..."), not to the answer.
        """
        if tokens and tokens[-1] == self.tokenizer.eos_token_id:
            tokens = tokens[:-1]
        return self.tokenizer.decode(tokens, clean_up_tokenization_spaces=False).lstrip()


class _Call:
    """One call of a decoder: the requests that wait, the rows at work, and the answers that ended with this token."""

    def __init__(self, decoder: LocalDecoder, requests: Sequence[Request]) -> None:
        self.decoder, self.requests = decoder, requests
        self.prompts = [decoder.prompt_tokens(request) for request in requests]
        # Neighbours of like length waste little on padding, and equal prompts come together and are read once.
        self.waiting = sorted(range(len(requests)), key=lambda n: (len(self.prompts[n]), self.prompts[n]))
        self.longest = max((request.sampling.max_tokens for request in requests), default=0)
        self.stops = any(request.sampling.stop for request in requests)
        self.batch: Rows | None = None
        self.ended: list[int] = []

    def advance(self) -> bool:
        """Write one more token in each row; false when there is nothing left to write."""
        live = 0 if self.batch is None else self.batch.live()
        if live:
            self.batch.read(self.decoder.model)
        elif not self.waiting:
            return False
        self._turn_over(live)
        self.ended = self.batch.write(self.decoder.tokenizer.eos_token_id)
        if self.stops:
            self.ended += self.batch.end(self._stopped())
        return True

    def _turn_over(self, live: int) -> None:
        """Drop the rows that ended and begin requests that wait, when a quarter of the rows can change.

        Sooner, and copying the cache costs more than the idle rows do (measured: the optimum is flat, a sixteenth is a
        fifth slower).
        """
        if live * 4 > len(self.batch or ()) * 3:
            return
        decoder, free = self.decoder, self.decoder.rows - live
        parts = [self.batch] if live else []
        if self.waiting:
            numbers, self.waiting = self.waiting[-free:], self.waiting[:-free]
            parts.append(begin(decoder.model, [self.requests[number] for number in numbers], numbers,
                               [self.prompts[number] for number in numbers], self.longest,
                               decoder.tokenizer.pad_token_id))
        self.batch = live_rows(parts)

    def _stopped(self) -> list[int]:
        """Rows that go on but have written one of their stop texts."""
        return [row for row, number in self.batch.live_requests()
                if cut(self.decoder.text(self.batch.written(row)), self.requests[number].sampling.stop) is not None]

    def finished(self) -> Iterator[tuple[int, Answer]]:
        """The answers that ended with the last token written, with the indices of their requests."""
        for row in self.ended:
            number = int(self.batch.request_N[row])
            yield number, self._answer(row, self.requests[number], self.prompts[number])

    def _answer(self, row: int, request: Request, prompt: list[int]) -> Answer:
        decoder = self.decoder
        tokens = self.batch.written(row)
        text = decoder.text(tokens)
        finish = "eos" if tokens[-1] == decoder.tokenizer.eos_token_id else "length"
        before = cut(text, request.sampling.stop)
        if before is not None:
            text, finish = before, "stop"
            while tokens and decoder.text(tokens[:-1]).startswith(text):  # keep only the tokens that hold the text
                tokens = tokens[:-1]
        response = Response(text, finish, model=decoder.name or None, token_ids=tokens, tokenizer=decoder.fingerprint,
                            sampling={**request.sampling.to_dict(), "seed": request.seed})
        return Answer(response, self.batch.log_probs_NT[row, :len(tokens)].tolist(), prompt)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """The model in evaluation mode, and in its own mode afterwards."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


def cut(text: str, stops: Sequence[str]) -> str | None:
    """The text in front of the first stop text, or None where there is none."""
    places = [place for stop in stops if (place := text.find(stop)) >= 0]
    return text[:min(places)] if places else None


def settled(text: str, stops: Sequence[str]) -> str:
    """The part of an unfinished text that no further token can change.

    Held back are the bytes of an unfinished character, which decode to U+FFFD, and what may become a stop text.
    """
    text = text.rstrip("\ufffd")
    held = max((length for stop in stops for length in range(1, len(stop)) if text.endswith(stop[:length])), default=0)
    return text[:len(text) - held]
