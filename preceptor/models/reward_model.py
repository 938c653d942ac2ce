"""The trained reward model as a `Reward`: prompts and responses in, scores out."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from preceptor.data.batches import IGNORE, Batch, Example, collate
from preceptor.data.ranked import RankedPrompt
from preceptor.data.records import Comparison, Prompt, Response
from preceptor.models.causal import context_length
from preceptor.models.scalar import load_scalar, offset, token_values
from preceptor.tokenizer.chat import encode_answer, encode_prompt, load_tokenizer
from preceptor.tokenizer.fingerprint import fingerprint


class RewardModel:
    """A folder written by the reward stage, scoring `rows` answers a forward pass.

    `truncated` counts the answers scored so far whose prompt lost its beginning to fit the context; whoever calls
    `score` says so.

    Raises:
        UserError: the folder is no reward model.
    """

    def __init__(self, folder: Path | str, rows: int = 32) -> None:
        self.model = load_scalar(folder).eval()
        self.encoder = AnswerEncoder(load_tokenizer(folder), context_length(self.model))
        self.rows = rows

    @property
    def truncated(self) -> int:
        return self.encoder.truncated

    def score(self, prompts: Sequence[Prompt], responses: Sequence[Response]) -> list[float]:
        """One score for each pair, demonstrations averaging 0. It depends neither on the other pairs nor on `rows`."""
        answers = [self.encoder.encode(prompt, response) for prompt, response in zip(prompts, responses, strict=True)]
        shift = offset(self.model)
        return [value + shift for value in score_answers(self.model, answers, self.encoder.pad, self.rows)]


class AnswerEncoder:
    """Prompts with their answers as the tokens that a scalar model reads.

    A response that carries token ids of the same vocabulary is taken as it was written; any other is tokenised from
    its text. An answer that was cut at its length does not get an end-of-text token: it has not ended.
    """

    def __init__(self, tokenizer: Any, context: int) -> None:
        self.tokenizer, self.context = tokenizer, context
        self.pad: int = tokenizer.pad_token_id
        self.truncated = 0
        self._fingerprint = fingerprint(tokenizer)

    def encode(self, prompt: Prompt, response: Response) -> list[int]:
        """Prompt and answer; when both exceed the context the beginning of the prompt is cut, and counted."""
        answer = self.answer(prompt, response)
        return self.prompt(prompt, self.context - len(answer)) + answer

    def ranked(self, comparison: Comparison) -> RankedPrompt:
        """A comparison; a prompt too long for its longest answer loses its beginning, and is counted."""
        answers = [self.answer(comparison.prompt, response) for response in comparison.responses]
        prompt = self.prompt(comparison.prompt, self.context - max(map(len, answers)))
        return RankedPrompt(comparison.id, prompt, answers, comparison.ranks())

    def prompt(self, prompt: Prompt, room: int) -> list[int]:
        """The last `room` tokens of a prompt."""
        tokens = encode_prompt(self.tokenizer, prompt)
        self.truncated += len(tokens) > room
        return tokens[max(0, len(tokens) - room):]

    def answer(self, prompt: Prompt, response: Response) -> list[int]:
        """The tokens of an answer, the last of them when they alone exceed the context."""
        return self._whole_answer(prompt, response)[-self.context:]

    def _whole_answer(self, prompt: Prompt, response: Response) -> list[int]:
        end = self.tokenizer.eos_token_id
        if response.token_ids is None or response.tokenizer != self._fingerprint:
            tokens = encode_answer(self.tokenizer, prompt, response.text)
        else:
            tokens = response.token_ids
        if response.finish == "length":
            return tokens[:-1] if tokens[-1:] == [end] else tokens
        return tokens if tokens[-1:] == [end] else [*tokens, end]


@torch.inference_mode()
def score_answers(model: nn.Module, answers: Sequence[Sequence[int]], pad: int, rows: int) -> list[float]:
    """The value at the last token of each answer, without the offset. The model is in the caller's mode.

    Answers of similar length share a forward pass, one a row: for short answers this is 1.5 times as fast as packing
    rows to the context (measured on a CPU, docs/reward.md), because attention is paid on the square of a row.
    """
    values = [0.0] * len(answers)
    order = sorted(range(len(answers)), key=lambda index: len(answers[index]))
    for first in range(0, len(order), rows):
        chosen = order[first:first + rows]
        batch = answer_rows([answers[index] for index in chosen], pad).to(str(next(model.parameters()).device))
        scores = last_values(token_values(model, batch), batch["segments"])
        for index, value in zip(chosen, scores.tolist(), strict=True):
            values[index] = value
    return values


def answer_rows(answers: Sequence[Sequence[int]], pad: int) -> Batch:
    """One answer a row, padded on the right."""
    return collate([[Example("", list(tokens), [IGNORE] * len(tokens))] for tokens in answers], pad)


def last_values(values_NT: Tensor, segments_NT: Tensor) -> Tensor:
    """The value at the last real token of each row, (rows,)."""
    return values_NT.gather(1, segments_NT.sum(1, keepdim=True) - 1).squeeze(1)
