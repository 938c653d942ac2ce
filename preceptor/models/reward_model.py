"""The trained reward model as a `Reward`: prompts and responses in, scores out."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from preceptor.data.batches import Batch
from preceptor.data.ranked import RankedPrompt, answer_tokens, collate_ranked
from preceptor.data.records import Comparison, Prompt, Response
from preceptor.losses.likelihood import selected_log_probs
from preceptor.models.attention import shared_prompt_mask
from preceptor.models.causal import context_length, hidden_states
from preceptor.models.scalar import head_values, likelihood_weight, load_scalar, offset
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

    def encode(self, prompt: Prompt, response: Response) -> tuple[list[int], list[int]]:
        """Prompt and answer; when both exceed the context the beginning of the prompt is cut, and counted."""
        answer = self.answer(prompt, response)
        return self.prompt(prompt, self.context - len(answer)), answer

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


def answer_scores(model: nn.Module, batch: Batch) -> Tensor:
    """The score of each answer of a batch of `collate_ranked`, [B, K], without the offset. Absent ones hold anything.

        r(x, y) = w · h(x, y)_end + a · Σ_t log p(y_t | x, y_<t)

    h_end is the trunk's state at the answer's last token, and w the head: with a = 0 the reward model of InstructGPT.
    The second term (`likelihood_weight`) reads the trunk as the language model that it was. What such a model knows is
    in what it predicts, and the state after an answer says little of it: whether a fact is right can be seen in the
    likelihood and hardly in the state (docs/reward.md has figures). It is the implicit reward of Rafailov et al. 2023
    (arXiv 2305.18290) without its reference, beside the head.
    """
    hidden_BTD = hidden_states(model, batch, shared_prompt_mask)
    scores_BK = head_values(model, hidden_BTD).gather(1, batch["ends"].clamp(min=0))
    weight = likelihood_weight(model)
    return (scores_BK + weight * answer_likelihoods(hidden_BTD, batch, model.get_input_embeddings().weight) if weight
            else scores_BK)


def answer_likelihoods(hidden_BTD: Tensor, batch: Batch, weight_VD: Tensor, bias_V: Tensor | None = None) -> Tensor:
    """log p(y | x) of each answer of a batch of `collate_ranked`, [B, K], in float32 under any autocast.

    The states are those under `shared_prompt_mask`; weight and bias are the output projection's.
    """
    tokens = answer_tokens(batch)
    told = tokens.sources >= 0  # nothing stands before the first token of an answer that left its prompt no room
    rows, answers, sources, targets = (part[told] for part in tokens[:4])
    with torch.autocast(hidden_BTD.device.type, enabled=False):
        log_probs = selected_log_probs(hidden_BTD[rows, sources].float(), weight_VD, targets, bias=bias_V)
    return log_probs.new_zeros(batch["ends"].shape).index_put((rows, answers), log_probs, accumulate=True)


@torch.inference_mode()
def score_answers(model: nn.Module, answers: Sequence[tuple[list[int], list[int]]], pad: int,
                  rows: int) -> list[float]:
    """The score of each prompt with its answer, without the offset. The model is in the caller's mode.

    Answers of similar length share a forward pass, one a row: for short answers this is 1.5 times as fast as packing
    rows to the context (measured on a CPU, docs/reward.md), because attention is paid on the square of a row. None is
    padded to more than twice its length.
    """
    values = [0.0] * len(answers)
    for chosen in _alike([sum(map(len, answer)) for answer in answers], rows):
        prompts = [RankedPrompt("", prompt, [answer], [0]) for prompt, answer in (answers[index] for index in chosen)]
        batch = collate_ranked(prompts, pad).to(str(next(model.parameters()).device))
        for index, value in zip(chosen, answer_scores(model, batch)[:, 0].tolist(), strict=True):
            values[index] = value
    return values


def _alike(lengths: Sequence[int], most: int) -> Iterator[list[int]]:
    """The indices of the lengths, the shortest first, in groups of at most `most` of which none is twice another."""
    group: list[int] = []
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        if group and (len(group) == most or lengths[index] > 2 * lengths[group[0]]):
            yield group
            group = []
        group.append(index)
    if group:
        yield group
