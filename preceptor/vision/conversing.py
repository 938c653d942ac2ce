"""What systems share that answer in words: a language model that reads pictures among those of a conversation.

A row says how a picture stands there (`shown`): as vectors in the places of words (`splice.py`), or as words of its own
(`mixed.py`). How it is asked, answers and scores is here, and the same for both.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from preceptor.data.batches import Batch
from preceptor.data.pictures.captions import (
    BOX,
    DESCRIBE,
    HAN,
    WHERE,
    Box,
    asked_record,
    asked_to_draw,
    box_in,
)
from preceptor.data.ranked import RankedPrompt, collate_ranked
from preceptor.data.records import Conversation, Prompt, Response
from preceptor.generate.decoder import Request, Sampling
from preceptor.generate.local import LocalDecoder, evaluating
from preceptor.generate.request import READING
from preceptor.models.attention import block_mask, shared_prompt_mask, shares_prefix
from preceptor.models.causal import context_length, hidden_states
from preceptor.models.reward_model import answer_likelihoods
from preceptor.run.errors import UserError
from preceptor.tokenizer.chat import encode_answer, encode_prompt
from preceptor.vision.system import System

PICTURES, TEXTS = 32, 16  # that meet in one pass when texts are scored


class Conversing(System):
    """Has the part `language_model`; `mark` is the token that stands for a picture in a prompt."""

    reads = "conversations"
    language_model: nn.Module
    mark: int

    def shown(self, images: Tensor) -> AbstractContextManager[list[list[int]]]:
        """Inside the block, the entries of the vocabulary that stand for each of these pictures (P, 3, H, W)."""
        raise NotImplementedError

    def worded(self, text: str, category: str | None) -> str:
        """What is asked, in the words of this row; `category` is the record's, "caption" and "box" among others."""
        return text

    def learns_from(self, record: Conversation) -> bool:
        return not self.options.categories or record.category in self.options.categories

    def asked(self, text: str, category: str | None = None) -> Prompt:
        """One picture and a text about it, waiting for an answer."""
        record = asked_record("", "", self.worded(text, category), "", category=category)
        return Prompt("", record.messages[:1], category=category)

    def drawing(self, text: str) -> list[int]:
        """The tokens of a request for a picture and of what an answer begins with, up to the picture's mark."""
        prompt = Prompt("", [{"role": "user", "content": asked_to_draw(text)}])
        answer = encode_answer(self.tokenizer, prompt, [{"type": "image_url", "image_url": {"url": ""}}])
        return encode_prompt(self.tokenizer, prompt) + answer[:answer.index(self.mark) + 1]

    def caption(self, images: Tensor, language: str = "en") -> list[str]:
        """A description of each picture in a language."""
        return self.write([self.asked(DESCRIBE[language], "caption")] * len(images), list(images[:, None]))

    def answer(self, images: Tensor, questions: Sequence[str]) -> list[str]:
        """The answer to each question about the picture of the same number."""
        return self.write([self.asked(question) for question in questions], list(images[:, None]))

    @property
    def gives_boxes(self) -> bool:
        """Whether boxes were among what it learned from."""
        return not self.options.categories or BOX in self.options.categories

    def ground(self, images: Tensor, phrases: Sequence[str]) -> list[Box | None]:
        """The box of what each phrase ("the red hat") names in the picture of the same number, in the pixels of the
        records that taught it; None where what was written is no box.

        Raises:
            UserError: it learned no boxes.
        """
        if not self.gives_boxes:
            raise UserError(f"This {self.options.system} learned from {', '.join(self.options.categories)}, and from "
                            "no boxes.", "Train it with 'categories' that name box, or take qwen_vl or minigpt_v2.")
        asked = [self.asked(WHERE["zh" if HAN.search(phrase) else "en"].format(phrase), BOX) for phrase in phrases]
        return [box_in(text) for text in self.write(asked, list(images[:, None]))]

    @torch.no_grad()
    def write(self, prompts: Sequence[Prompt], pictures: Sequence[Tensor], sampling: Sampling | None = None,
              seed: int = 0) -> list[str]:
        """The answers to prompts by the decoding engine, each the likeliest token after the other where `sampling` says
        nothing else. `pictures[i]` (n, 3, H, W) are those of prompt i, in the order in which they stand in it.

        Raises:
            UserError: a prompt has not as many pictures, or leaves its answer no room; a processor reads the prompt.
        """
        sampling = sampling or Sampling(temperature=0, max_tokens=self.options.answer_tokens)
        if refused := [name for name in sampling.processors if name in READING]:
            raise UserError(f"{refused[0]} reads the words of a prompt, and pictures are none.",
                            f"Leave out {refused[0]}.")
        encoded = self.encoded(prompts, [len(some) for some in pictures])
        with self.shown(self.on_device(torch.cat(list(pictures)))) as entries:
            return [response.text for response in self.continued(self.rows(encoded, entries), sampling, seed)]

    def continued(self, rows: Sequence[list[int]], sampling: Sampling, seed: int = 0) -> list[Response]:
        """What the decoding engine writes behind these entries; the seed of row n is `seed` + n.

        Raises:
            UserError: a row leaves its answer no room.
        """
        self.check_room(rows, sampling.max_tokens)
        requests = [Request(Prompt(str(number), [{"role": "user", "content": ""}]), sampling, seed + number)
                    for number in range(len(rows))]
        written: dict[int, Response] = {}
        call = LocalDecoder(self.language_model, self.tokenizer).call(sampling.strategy, requests, rows)
        with evaluating(self.language_model):
            while call.advance():
                written |= {place: answer.response for place, answer in call.finished()}
        return [written[number] for number in range(len(rows))]

    def on_device(self, tensor: Tensor) -> Tensor:
        """The tensor where the system is."""
        return tensor.to(next(self.parameters()).device)

    def encoded(self, prompts: Sequence[Prompt], pictures: Sequence[int]) -> list[list[int]]:
        """The tokens of prompts, a mark for each picture.

        Raises:
            UserError: a prompt names another number of pictures than this.
        """
        rows = [encode_prompt(self.tokenizer, prompt) for prompt in prompts]
        for tokens, there in zip(rows, pictures, strict=True):
            if tokens.count(self.mark) != there:
                raise UserError(f"A prompt names {tokens.count(self.mark)} pictures, and {there} are given.",
                                "Give it one picture for each of its image parts.")
        return rows

    def rows(self, encoded: Sequence[Sequence[int]], entries: Sequence[Sequence[int]]) -> list[list[int]]:
        """The same with the entries of pictures in the places of their marks, in order through all of them."""
        left: Iterator[Sequence[int]] = iter(entries)
        return [[entry for token in tokens for entry in (next(left) if token == self.mark else (token,))]
                for tokens in encoded]

    def check_room(self, rows: Sequence[Sequence[int]], room: int) -> None:
        """Raises:
            UserError: a row is so long that `room` more tokens do not fit the context.
        """
        longest, context = max(map(len, rows), default=0), context_length(self.language_model)
        if longest + room > context:
            raise UserError(f"A prompt of {longest} tokens, those of its pictures included, leaves no room for an "
                            f"answer of {room} in a context of {context}.",
                            "Ask with fewer words or pictures, or for fewer tokens.")

    def score(self, images: Tensor, texts: Sequence[str]) -> Tensor:
        """log p(text | picture) in nats, as the answer to a request for a description in the text's language."""
        found = torch.empty(len(images), len(texts), device=next(self.parameters()).device)
        for language, wanted in DESCRIBE.items():
            own = [number for number, text in enumerate(texts) if (language == "zh") == bool(HAN.search(text))]
            if own:
                prompts = [self.asked(wanted, "caption")] * len(images)
                found[:, own] = self.log_likelihoods(images, prompts, [texts[number] for number in own])
        return found

    @torch.no_grad()
    def log_likelihoods(self, images: Tensor, prompts: Sequence[Prompt], texts: Sequence[str]) -> Tensor:
        """log p(text | picture and prompt), (images, texts), in nats; prompt i, of one picture, is about image i."""
        answers = [encode_answer(self.tokenizer, prompts[0], text) for text in texts]
        encoded = self.encoded(prompts, [1] * len(prompts))
        with self.shown(self.on_device(images)) as entries:
            return self.likelihoods(self.rows(encoded, entries), answers)

    @torch.no_grad()
    def likelihoods(self, rows: Sequence[list[int]], answers: Sequence[list[int]]) -> Tensor:
        """log p of the tokens of each answer behind the entries of each row, (rows, answers), in nats.

        A row is read once for several answers where the model's attention can keep them apart.

        Raises:
            UserError: an answer does not fit behind a row.
        """
        self.check_room(rows, max(map(len, answers)))
        several, found = TEXTS if shares_prefix(self.language_model) else 1, []
        with evaluating(self.language_model):
            for first in range(0, len(answers), several):
                some = answers[first:first + several]
                asked = [RankedPrompt("", row, some, [0] * len(some)) for row in rows]
                found.append(torch.cat([self._likelihoods(asked[begin:begin + PICTURES], several > 1)
                                        for begin in range(0, len(asked), PICTURES)]))
        return torch.cat(found, 1)

    def _likelihoods(self, rows: Sequence[RankedPrompt], shared: bool) -> Tensor:
        batch = collate_ranked(rows, self.tokenizer.pad_token_id).to(str(next(self.parameters()).device))
        whole = batch if shared else Batch(batch.tensors | {"segments": batch["segments"].clamp(max=1)},
                                           batch.counts, batch.documents)
        states = hidden_states(self.language_model, whole, shared_prompt_mask if shared else block_mask)
        head = self.language_model.get_output_embeddings()
        return answer_likelihoods(states, batch, head.weight, head.bias)
