"""The two kinds of models behind one method: texts go in, readings with their log-probabilities come out.

An encoder chooses among its classes. A language model is never asked to write freely: for a label the likelihood of
every label is computed, p(label | text) over the sum of all, the text being read once; for spans it writes lines under
a grammar that copies from the text (`generate/constrained.py`), greedily.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from preceptor.data.batches import Batch
from preceptor.data.ranked import RankedPrompt, collate_ranked
from preceptor.data.records import Prompt
from preceptor.generate.constrained import Listing, Vocabulary
from preceptor.generate.decoder import Request, Sampling
from preceptor.generate.local import LocalDecoder, evaluating
from preceptor.models.attention import shared_prompt_mask
from preceptor.models.causal import context_length, hidden_states, load_causal, load_network, model_folder
from preceptor.models.encoder import load_pair_tokenizer
from preceptor.models.reward_model import answer_likelihoods
from preceptor.run.errors import UserError
from preceptor.tokenizer.chat import encode_answer, encode_prompt, load_tokenizer
from preceptor.understand.encoding import Row, UnitEncoder, collate_rows
from preceptor.understand.lines import NONE, marks_in
from preceptor.understand.task import Reading, Task
from preceptor.understand.units import marks_of, units


class Answerer(Protocol):
    """Whatever reads texts. `kind` is `encoder` or `language_model`; `cut` counts what was too long, so far."""

    kind: str
    model: nn.Module
    cut: int

    def read(self, texts: Sequence[str]) -> list[Reading]:
        """A reading of each text, `rows` at a time; it depends on its text alone."""
        ...


class EncoderAnswerer:
    """An encoder with a classifier's head, as the stage `understand` writes it."""

    kind = "encoder"

    def __init__(self, model: nn.Module, tokenizer: Any, task: Task, longest: int, rows: int = 32) -> None:
        self.model, self.task, self.rows = model, task, rows
        self.encoder, self.pad = UnitEncoder(tokenizer, longest), tokenizer.pad_token_id

    @property
    def cut(self) -> int:
        return self.encoder.truncated

    @torch.inference_mode()
    def read(self, texts: Sequence[str]) -> list[Reading]:
        """The likeliest class of each text, or of each of its units."""
        with evaluating(self.model):
            return (self._labels if self.task.name == "classify" else self._marks)(texts)

    def _labels(self, texts: Sequence[str]) -> list[Reading]:
        rows = [Row("", self.encoder.whole(text), [0]) for text in texts]
        best = [log_probs.max(-1) for log_probs in self._log_probs(rows)]
        return [Reading(float(one.values), label=self.task.classes[int(one.indices)]) for one in best]

    def _marks(self, texts: Sequence[str]) -> list[Reading]:
        pieces = [units(text) for text in texts]
        parts = [self.encoder.parts(text, some) for text, some in zip(texts, pieces)]
        rows = [Row("", tokens, [0] * len(tokens)) for some in parts for tokens, _ in some]
        found = iter(self._log_probs(rows))
        readings = []
        for some, own in zip(pieces, parts):
            best = [next(found)[firsts].max(-1) for _, firsts in own]
            tags = [self.task.classes[number] for one in best for number in one.indices.tolist()]
            readings.append(Reading(sum(float(one.values.sum()) for one in best), marks=marks_of(some, tags)))
        return readings

    def _log_probs(self, rows: Sequence[Row]) -> list[Tensor]:
        """The log-probabilities of the classes of each row, [C] or [T, C], on the CPU."""
        found: list[Any] = [None] * len(rows)
        order = sorted(range(len(rows)), key=lambda place: rows[place].width)
        for first in range(0, len(order), self.rows):
            chosen = order[first:first + self.rows]
            batch = collate_rows([rows[place] for place in chosen], self.pad).to(str(self.model.device))
            for place, row in zip(chosen, class_logits(self.model, batch).log_softmax(-1).cpu(), strict=True):
                found[place] = row
        return found


class LanguageAnswerer:
    """A causal language model that was taught to answer a text with its label or its lines."""

    kind = "language_model"

    def __init__(self, model: nn.Module, tokenizer: Any, task: Task, rows: int = 32, max_tokens: int = 96) -> None:
        self.model, self.tokenizer, self.task, self.rows = model, tokenizer, task, rows
        self.decoder = LocalDecoder(model, tokenizer, rows=rows)
        self.sampling = Sampling(temperature=0, max_tokens=max_tokens)
        self.cut = 0
        if task.name == "classify":  # an answer's tokens are the same behind every prompt (tokenizer/chat.py)
            self.answers = [encode_answer(tokenizer, _asking("text"), label) for label in task.labels]
        else:
            self.vocabulary = Vocabulary(tokenizer)

    def read(self, texts: Sequence[str]) -> list[Reading]:
        """The likeliest label of each text, or the lines that are written about it."""
        with evaluating(self.model):
            return self._labels(texts) if self.task.name == "classify" else self._marks(texts)

    @torch.inference_mode()
    def _labels(self, texts: Sequence[str]) -> list[Reading]:
        room = context_length(self.model) - max(map(len, self.answers))
        prompts = [encode_prompt(self.tokenizer, _asking(text)) for text in texts]
        self.cut += sum(len(prompt) > room for prompt in prompts)
        rows = [RankedPrompt("", prompt[-room:], self.answers, [0] * len(self.answers)) for prompt in prompts]
        found: list[Any] = [None] * len(rows)
        order = sorted(range(len(rows)), key=lambda place: rows[place].width)
        for first in range(0, len(order), self.rows):
            chosen = order[first:first + self.rows]
            batch = collate_ranked([rows[place] for place in chosen], self.tokenizer.pad_token_id)
            batch = batch.to(str(self.model.device))
            head = self.model.get_output_embeddings()
            likelihoods_BK = answer_likelihoods(hidden_states(self.model, batch, shared_prompt_mask), batch,
                                                head.weight, head.bias)
            best = likelihoods_BK.log_softmax(-1).max(-1)
            for place, value, number in zip(chosen, best.values.tolist(), best.indices.tolist(), strict=True):
                found[place] = Reading(value, label=self.task.labels[number])
        return found

    def _marks(self, texts: Sequence[str]) -> list[Reading]:
        pieces = [units(text) for text in texts]
        before = self.decoder.truncated
        written = self.decoder.answers([
            Request(_asking(text), self.sampling, 0, Listing(self.vocabulary, self.task.labels, text, some, NONE))
            for text, some in zip(texts, pieces)])
        self.cut += self.decoder.truncated - before
        readings = []
        for text, some, answer in zip(texts, pieces, written, strict=True):
            said = answer.response.text
            if answer.response.finish == "length":
                self.cut += 1
                said = said.rpartition("\n")[0]  # the last line is not finished
            readings.append(Reading(sum(answer.log_probs), marks=marks_in(said, text, some, self.task.labels)))
        return readings


def class_logits(model: nn.Module, batch: Batch) -> Tensor:
    """The outputs of a classifier in float32, [B, C] of texts or [B, T, C] of tokens."""
    return model(input_ids=batch["tokens"], attention_mask=batch["seen"].long()).logits.float()


def load_answerer(folder: Path, task: Task, rows: int, max_tokens: int) -> Answerer:
    """The model of a step or a folder, of whichever kind it is.

    Raises:
        UserError: it is no model, or an encoder that learned other classes.
    """
    from transformers import AutoConfig, AutoModelForSequenceClassification, AutoModelForTokenClassification
    source = model_folder(folder)
    try:
        config = AutoConfig.from_pretrained(source)
    except (OSError, ValueError):
        raise UserError(f"'{folder}' is no model folder.", "Give the folder of a step or of a model.") from None
    learned = getattr(config, "preceptor_task", None)
    if learned is None:
        return LanguageAnswerer(load_causal(source), load_tokenizer(source), task, rows, max_tokens)
    classes = [config.id2label[number] for number in range(len(config.id2label))]
    if learned != task.name or classes != task.classes:
        raise UserError(f"The encoder '{folder}' learned to {learned} with {len(classes)} classes, which are not those "
                        "of the records.", "Give the encoder and the records of one run.")
    kind = AutoModelForSequenceClassification if task.name == "classify" else AutoModelForTokenClassification
    return EncoderAnswerer(load_network(kind, source), load_pair_tokenizer(source), task, config.preceptor_longest,
                           rows)


def in_parts(texts: Sequence[str], rows: int) -> Iterator[Sequence[str]]:
    """The texts, `rows` at a time, as requests that arrive together."""
    return (texts[first:first + rows] for first in range(0, len(texts), rows))


def _asking(text: str) -> Prompt:
    return Prompt("", [{"role": "user", "content": text}])
