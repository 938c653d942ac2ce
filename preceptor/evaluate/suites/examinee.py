"""Who is examined: a model folder, asked in plain text or as a chat, or a server with OpenAI's chat API."""

import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from preceptor.data.batches import IGNORE, Example, collate
from preceptor.data.records import Prompt
from preceptor.evaluate.few_shot import verbatim
from preceptor.generate.decoder import Request, Sampling
from preceptor.generate.local import LocalDecoder
from preceptor.generate.onnx import load_for_decoding
from preceptor.generate.server import ServerDecoder
from preceptor.losses.likelihood import token_log_probs
from preceptor.models.causal import context_length, logits_at, model_folder
from preceptor.run.errors import UserError
from preceptor.run.files import hash_path
from preceptor.tokenizer.chat import encode_answer, encode_prompt, encode_text, load_tokenizer

ROWS = 16
Likelihood = tuple[float, bool]
"""The sum of log p over a continuation's tokens, and whether each of them was the most likely one."""
Shorten = Callable[[int], str]
"""The prompt with this many of its solved examples."""


class Examinee(Protocol):
    """What the scorers ask of a model. `reads` says whether it gives likelihoods; `cut` counts shortened prompts."""

    name: str
    identity: str
    reads: bool
    cut: int

    def likelihoods(self, pairs: Sequence[tuple[str, str]]) -> list[Likelihood]:
        """The likelihood of each continuation after its context; an empty context is the beginning of a text."""
        ...

    def write(self, prompts: Sequence[str], sampling: Sampling, seed: int) -> list[str]:
        """An answer to each prompt."""
        ...

    def fits(self, text: str, room: int) -> bool:
        """Whether a prompt leaves room for so many tokens."""
        ...

    def longest(self, wanted: int) -> int:
        """Tokens that an answer may have where a task wants so many."""
        ...


class LocalExaminee:
    """A model folder. `form` is "chat" (the prompt is a user's message), or "plain" (the model goes on with it).

    A continuation that does not fit behind its context takes the end of that; a text that is longer than the context is
    read in windows, so that each of its tokens counts.
    """

    reads = True

    def __init__(self, folder: Path, name: str, form: str, rows: int = ROWS) -> None:
        source = model_folder(folder)
        self.name, self.form, self.rows, self.cut = name, form, rows, 0
        self.model, self.tokenizer = load_for_decoding(source).eval(), load_tokenizer(source)
        self.identity = f"{form} {hash_path(source)}"
        tokenizer = self.tokenizer if form == "chat" else verbatim(self.tokenizer)
        self.decoder = LocalDecoder(self.model, tokenizer, rows=4 * rows, name=name)
        self.length = context_length(self.model)

    def likelihoods(self, pairs: Sequence[tuple[str, str]]) -> list[Likelihood]:
        encode = self._chat_pair if self.form == "chat" else self._plain_pair
        parts = [[self._cut(*encode(*pair))] if pair[0].strip() else windows(*encode(*pair), self.length)
                 for pair in pairs]
        found = iter(continuation_likelihoods(self.model, [part for some in parts for part in some],
                                              self.tokenizer.pad_token_id, self.rows))
        read = [[next(found) for _ in some] for some in parts]
        return [(math.fsum(nats for nats, _ in some), all(greedy for _, greedy in some)) for some in read]

    def write(self, prompts: Sequence[str], sampling: Sampling, seed: int) -> list[str]:
        before = self.decoder.truncated
        answers = self.decoder.answers([Request(_asking(text), sampling, seed + number)
                                        for number, text in enumerate(prompts)])
        self.cut += self.decoder.truncated - before
        return [answer.response.text.strip() for answer in answers]

    def fits(self, text: str, room: int) -> bool:
        return len(encode_text(self.tokenizer, text)) + room + 8 <= self.length  # 8: what a chat template adds

    def longest(self, wanted: int) -> int:
        """As wanted; of a context that has no room for as many and a prompt, half."""
        return wanted if wanted < self.length else self.length // 2

    def _plain_pair(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
        """Tokens of both, as lm-evaluation-harness splits them: spaces at the end of the context go over.

        Where a token would reach across the border, each is tokenised on its own: a continuation never has no token,
        which would make it the likeliest of all.
        """
        spaces = len(context) - len(context.rstrip())
        if spaces:
            context, continuation = context[:-spaces], context[-spaces:] + continuation
        if not context:
            beginning = self.tokenizer.bos_token_id
            return [self.tokenizer.eos_token_id if beginning is None else beginning], \
                encode_text(self.tokenizer, continuation)
        before = self.tokenizer(context)["input_ids"]
        whole = self.tokenizer(context + continuation)["input_ids"]
        clean = whole[:len(before)] == before and len(whole) > len(before)
        return before, whole[len(before):] if clean else encode_text(self.tokenizer, continuation)

    def _chat_pair(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
        if not context:  # a sentence on its own is no answer
            return self._plain_pair(context, continuation)
        prompt = _asking(context)
        return encode_prompt(self.tokenizer, prompt), encode_answer(self.tokenizer, prompt, continuation.strip())[:-1]

    def _cut(self, before: list[int], after: list[int]) -> tuple[list[int], list[int]]:
        """The pair without as much of its beginning as the context has no room for; the last token needs none."""
        surplus = len(before) + len(after) - 1 - self.length
        if surplus <= 0:
            return before, after
        self.cut += 1
        kept = before[surplus:] or before[-1:]
        return kept, after[-(self.length + 1 - len(kept)):]


class ServerExaminee:
    """A server, as `URL#MODEL`. Its chat API gives no likelihoods: choices are asked by letter."""

    reads = False

    def __init__(self, address: str) -> None:
        url, _, model = address.partition("#")
        if not model:
            raise UserError(f"'{address}' does not say which model of the server is meant.",
                            "Write URL#MODEL, such as http://localhost:8000/v1#my-model.")
        self.name, self.identity, self.cut = model, address, 0
        self.decoder = ServerDecoder(url, model, key=os.environ.get("OPENAI_API_KEY", ""))

    def likelihoods(self, pairs: Sequence[tuple[str, str]]) -> list[Likelihood]:
        raise UserError(f"The server's model '{self.name}' gives no likelihoods.", "Examine a model folder.")

    def write(self, prompts: Sequence[str], sampling: Sampling, seed: int) -> list[str]:
        answers = self.decoder.answers([Request(_asking(text), sampling, seed + number)
                                        for number, text in enumerate(prompts)])
        return [answer.response.text.strip() for answer in answers]

    def fits(self, text: str, room: int) -> bool:
        return True

    def longest(self, wanted: int) -> int:
        return wanted


def windows(before: Sequence[int], after: Sequence[int], length: int) -> list[tuple[Sequence[int], Sequence[int]]]:
    """A text behind the one token `before` as pairs of context and continuation that take at most `length` positions.

    Every token is in one continuation. All but the last window follow one token, the last as many as there is room
    for, as in lm-evaluation-harness.
    """
    whole = [*before, *after]
    ends = [min(start + length, len(after)) for start in range(0, len(after), length)]
    return [(whole[max(0, end - length):start + 1], after[start:end])
            for start, end in zip(range(0, len(after), length), ends)] or [(before, after)]


def _asking(text: str) -> Prompt:
    return Prompt("asked", [{"role": "user", "content": text}])


@torch.inference_mode()
def continuation_likelihoods(model: nn.Module, pairs: Sequence[tuple[Sequence[int], Sequence[int]]], pad: int,
                             rows: int = ROWS) -> list[Likelihood]:
    """log p(continuation | context) of each pair of token lists, and whether greedy decoding would write it.

    Pairs of like length share a forward pass, one a row; logits exist only where a token is predicted.

    Raises:
        ValueError: a context is empty.
    """
    found: list[Likelihood] = [(0.0, True)] * len(pairs)
    order = sorted((number for number, (_, after) in enumerate(pairs) if after),
                   key=lambda number: sum(map(len, pairs[number])))
    for first in range(0, len(order), rows):
        chosen = order[first:first + rows]
        batch = collate([[_example(*pairs[number])] for number in chosen], pad).to(str(model.device))
        counted = batch["targets"] != IGNORE
        logits = logits_at(model, batch, counted)
        targets = batch["targets"][counted]
        sizes = counted.sum(1).tolist()
        sums = [float(part.sum()) for part in token_log_probs(logits, targets).split(sizes)]
        likeliest = [bool(part.all()) for part in (logits.argmax(-1) == targets).split(sizes)]
        for number, pair in zip(chosen, zip(sums, likeliest, strict=True), strict=True):
            found[number] = pair
    return found


def _example(before: Sequence[int], after: Sequence[int]) -> Example:
    if not before:
        raise ValueError("a continuation needs at least one token before it")
    return Example("", [*before, *after[:-1]], [*[IGNORE] * (len(before) - 1), *after])


def examinee(model: str, name: str, form: str, rows: int = ROWS) -> Any:
    """The examinee that a word of the command line names: a folder, or URL#MODEL.

    Raises:
        UserError: there is no model in that folder, or the word is an address without a model.
    """
    if model.startswith(("http://", "https://")):
        return ServerExaminee(model)
    return LocalExaminee(Path(model), name, form, rows)
