"""The local decoder: batched answers from a Hugging Face model, causal or encoder-decoder."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import nn

from preceptor.data.records import Response
from preceptor.generate.beams import BeamCall
from preceptor.generate.call import RowCall
from preceptor.generate.contrastive import ContrastiveSearch
from preceptor.generate.decoder import Answer, Request, in_order
from preceptor.generate.drawing import Drawing, Speculation
from preceptor.generate.encoder_decoder import EncoderDecoderCall
from preceptor.generate.growing import Growing
from preceptor.generate.processors import Shaper
from preceptor.models.causal import context_length
from preceptor.models.soft_prompt import refuse_soft_prompt
from preceptor.run.errors import UserError
from preceptor.tokenizer.chat import encode_prompt
from preceptor.tokenizer.fingerprint import fingerprint


class LocalDecoder:
    """Writes answers with `model`, at most `rows` at a time; a row that ends makes room for the next request.

    `name` is the model's name in the responses; `draft` a smaller model of the same vocabulary for requests with
    `num_assistant_tokens`. `truncated` counts the prompts so far that lost their beginning because they and their
    answer were longer than the context: the caller says so. `guessed` and `right` count the tokens of speculative
    decoding. The model is in evaluation mode while it answers, and back in its own mode when the iterator is used up
    or closed.
    """

    def __init__(self, model: nn.Module, tokenizer: Any, *, rows: int = 64, name: str = "",
                 draft: nn.Module | None = None) -> None:
        self.model, self.tokenizer, self.rows, self.name, self.draft = model, tokenizer, rows, name, draft
        self.fingerprint = fingerprint(tokenizer)
        self.truncated = self.guessed = self.right = 0
        if draft is not None:
            _check_draft(model, draft)

    def answers(self, requests: Sequence[Request]) -> list[Answer]:
        """The answers in the order of the requests; errors as in `generate`."""
        return in_order(self, requests)

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[int, Answer]]:
        """Yield (index of the request, its answer) as answers are finished, those of one strategy after another.

        Raises:
            UserError: an answer as long as allowed would leave no room for the prompt, the model has diverged, or a
                request asks for a draft model that the decoder does not have.
        """
        for strategy, numbers in _by_strategy(requests).items():
            chosen = [requests[number] for number in numbers]
            call = self.call(strategy, chosen, [self.prompt_tokens(request) for request in chosen])
            with evaluating(self.model, self.draft):
                while call.advance():
                    yield from ((numbers[place], answer) for place, answer in call.finished())

    def stream(self, request: Request) -> Iterator[str]:
        """Yield the answer in pieces as it is written; joined, they are the text that `answers` gives; errors alike.

        A beam search gives its text in one piece, as it may change its mind to the end.
        """
        call = self.call(request.sampling.strategy, [request], [self.prompt_tokens(request)])
        growing, said, read = Growing(self.tokenizer, request.sampling.stop), 0, 0
        with evaluating(self.model, self.draft):
            while call.advance():
                for _, answer in call.finished():
                    yield answer.response.text[said:]
                    return
                written = call.written()
                for token in written[read:]:
                    growing.add(token)
                read = len(written)
                if len(growing.text) > said:
                    yield growing.text[said:]
                    said = len(growing.text)

    def call(self, strategy: str, requests: Sequence[Request],
             prompts: Sequence[list[int]]) -> RowCall | BeamCall | EncoderDecoderCall:
        """What answers requests of one strategy to these prompt tokens, a token at a time."""
        if strategy in ("beams", "contrastive") and any(request.allowed for request in requests):
            raise UserError("A grammar is for answers that are drawn token by token, and a search is asked for.",
                            "Leave out num_beams and penalty_alpha.")
        if self.model.config.is_encoder_decoder:
            return EncoderDecoderCall(self, requests, prompts)
        if strategy == "beams":
            return BeamCall(self, requests, prompts)
        end = self.tokenizer.eos_token_id
        if strategy == "contrastive":
            check_states(self.model, "Contrastive search", "leave out penalty_alpha")
            return RowCall(self, requests, prompts, ContrastiveSearch(self.model, requests, end), self.rows)
        shaper = Shaper(requests, prompts, self.tokenizer)
        if strategy == "sample":
            return RowCall(self, requests, prompts, Drawing(self.model, shaper, end), self.rows)
        if self.draft is None and any(request.sampling.num_assistant_tokens for request in requests):
            raise UserError("num_assistant_tokens asks for tokens from a draft model, and the decoder has none.",
                            "Give the decoder a draft model, or use prompt_lookup_num_tokens.")
        return RowCall(self, requests, prompts, Speculation(self, shaper), rows=1)

    def prompt_tokens(self, request: Request) -> list[int]:
        """The tokens of the request's prompt, without as many of the first as the context has no room for."""
        room = context_length(self.model) - request.sampling.max_tokens
        if self.model.config.is_encoder_decoder:  # prompt and answer have a context each
            room = context_length(self.model) if room >= 0 else 0
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

    def stopped(self, request: Request, tokens: Sequence[int]) -> bool:
        """Whether an answer holds one of the request's stop texts."""
        return bool(request.sampling.stop) and cut(self.text(tokens), request.sampling.stop) is not None

    def answer(self, request: Request, prompt: list[int], tokens: list[int], log_probs: Sequence[float]) -> Answer:
        """The answer that consists of these tokens, as far as a stop text lets it go."""
        text = self.text(tokens)
        finish = "eos" if tokens[-1] == self.tokenizer.eos_token_id else "length"
        before = cut(text, request.sampling.stop)
        if before is not None:
            text, finish = before, "stop"
            while tokens and self.text(tokens[:-1]).startswith(text):  # keep only the tokens that hold the text
                tokens = tokens[:-1]
        sampling = {**request.sampling.to_dict(), **getattr(self.model, "decoding", {}), "seed": request.seed}
        response = Response(text, finish, model=self.name or None, token_ids=tokens, tokenizer=self.fingerprint,
                            sampling=sampling)
        return Answer(response, list(log_probs[:len(tokens)]), prompt)


def _by_strategy(requests: Sequence[Request]) -> dict[str, list[int]]:
    """The indices of the requests of each strategy."""
    groups: dict[str, list[int]] = {}
    for number, request in enumerate(requests):
        groups.setdefault(request.sampling.strategy, []).append(number)
    return groups


def check_states(model: nn.Module, who: str, or_else: str) -> None:
    """Refuse a model that gives logits alone (an exported one) to who needs its hidden states, too."""
    if not hasattr(model, "base_model"):
        raise UserError(f"{who} needs the model's hidden states, and this one gives logits alone.",
                        f"Use the model's own folder, or {or_else}.")


def vocabulary_size(model: nn.Module) -> int:
    """How many logits a model gives, an exported one included."""
    return getattr(model, "vocabulary", None) or model.get_output_embeddings().weight.shape[0]


def _check_draft(model: nn.Module, draft: nn.Module) -> None:
    """Refuse a draft model that cannot guess for this one."""
    refuse_soft_prompt(draft, "Speculation")
    sizes = [vocabulary_size(network) for network in (model, draft)]
    if sizes[0] != sizes[1]:
        raise UserError(f"The draft model has {sizes[1]} tokens, the model {sizes[0]}.",
                        "Take a draft model with the same tokenizer.")
    if context_length(draft) < context_length(model):
        raise UserError(f"The draft model's context of {context_length(draft)} tokens is shorter than the model's "
                        f"{context_length(model)}.", "Take a draft model with as long a context.")


@contextmanager
def evaluating(*models: nn.Module | None) -> Iterator[None]:
    """The models in evaluation mode, and in their own modes afterwards."""
    were_training = [(model, model.training) for model in models if model is not None]
    for model, _ in were_training:
        model.eval()
    try:
        yield
    finally:
        for model, was_training in were_training:
            model.train(was_training)


def cut(text: str, stops: Sequence[str]) -> str | None:
    """The text in front of the first stop text, or None where there is none."""
    places = [place for stop in stops if (place := text.find(stop)) >= 0]
    return text[:min(places)] if places else None

