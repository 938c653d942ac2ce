"""The contract of a decoder: requests go in, answers with the log-probabilities of their tokens come out.

Each request carries its own options and seed, and its answer depends on nothing else: not on the other requests, not on
the size of a batch, not on the order. So a local model, an ONNX file and a server can stand in for one another.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from preceptor.data.records import Prompt, Response
from preceptor.run.errors import UserError


@dataclass(frozen=True, slots=True)
class Sampling:
    """How an answer is drawn: temperature first, then top-k, then top-p."""

    temperature: float = 1.0
    """Divides the logits; 0 takes the most likely token each time."""
    top_k: int = 0
    """Only this many most likely tokens can be drawn; 0 means all."""
    top_p: float = 1.0
    """Only the fewest most likely tokens whose probabilities reach this sum can be drawn; 1 means all."""
    max_tokens: int = 48
    """Tokens in the answer at most, the end-of-text token included."""
    stop: tuple[str, ...] = ()
    """Texts that end the answer; the answer does not contain them."""

    def __post_init__(self) -> None:
        if self.temperature < 0 or self.top_k < 0 or not 0 < self.top_p <= 1 or self.max_tokens < 1:
            raise UserError(f"Nothing can be sampled with temperature {self.temperature}, top_k {self.top_k}, top_p "
                            f"{self.top_p} and max_tokens {self.max_tokens}.",
                            "Temperature and top_k: 0 or more. top_p: above 0, at most 1. max_tokens: 1 or more.")
        if isinstance(self.stop, str) or "" in self.stop:
            raise UserError(f"The stop texts {self.stop!r} would end every answer at once, or letter by letter.",
                            "Give a list of texts, none of them empty.")
        object.__setattr__(self, "stop", tuple(self.stop))  # a list from YAML must hash and compare as the same

    def to_dict(self) -> dict[str, Any]:
        """A JSON object of all options."""
        return {**asdict(self), "stop": list(self.stop)}


@dataclass(frozen=True, slots=True)
class Request:
    """One answer wanted. The same request always gets the same answer from the same weights."""

    prompt: Prompt
    sampling: Sampling
    seed: int


@dataclass(frozen=True, slots=True)
class Answer:
    """A response and what training on it needs.

    `log_probs[t]` is log softmax(logits / temperature) of `response.token_ids[t]`, before top-k and top-p, and with
    temperature 1 where the request was greedy. `prompt_tokens` are those the model saw, after any truncation.
    """

    response: Response
    log_probs: list[float]
    prompt_tokens: list[int]


class Decoder(Protocol):
    """Whatever writes answers: a local model, an ONNX file, a server."""

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[int, Answer]]:
        """Yield (index of the request, its answer) as answers are finished."""
        ...
