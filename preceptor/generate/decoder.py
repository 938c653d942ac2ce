"""The contract of a decoder: requests go in, answers with the log-probabilities of their tokens come out.

Each request carries its own options and seed, and its answer depends on nothing else: not on the other requests, not on
the size of a batch, not on the order. So a local model, an ONNX file and a server can stand in for one another.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from preceptor.data.records import Response
from preceptor.generate.request import Request as Request
from preceptor.generate.request import Sampling as Sampling
from preceptor.run.progress import Progress


@dataclass(frozen=True, slots=True)
class Answer:
    """A response and what training on it needs.

    `log_probs[t]` is log softmax(logits / temperature) of `response.token_ids[t]`, before any other processor, and with
    temperature 1 where the request was greedy or a search. `prompt_tokens` are those that the model saw, after any
    truncation.
    """

    response: Response
    log_probs: list[float]
    prompt_tokens: list[int]


class Decoder(Protocol):
    """Whatever writes answers: a local model, an ONNX file, a server."""

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[int, Answer]]:
        """Yield (index of the request, its answer) as answers are finished."""
        ...


def in_order(decoder: Decoder, requests: Sequence[Request], progress: Progress | None = None,
             before: int = 0) -> list[Answer]:
    """The answers in the order of the requests; `progress` shows how many are finished, with those that were finished
    `before`. Errors are the decoder's."""
    found: dict[int, Answer] = {}
    for number, answer in decoder.generate(requests):
        found[number] = answer
        if progress is not None:
            progress.update(before + len(found))
    return [found[number] for number in range(len(requests))]
