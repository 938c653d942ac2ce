"""What Chameleon and CM3Leon share: pictures are words of a second kind, and one language model reads and writes both.

    vocabulary    V words, the mark of a picture among them, then the codes of an image tokenizer
    a picture     its mark and its T codes, row by row; as T is fixed, nothing has to end it
    encoder, quantizer, decoder    the image tokenizer, of the step that the row starts from, frozen
    language_model    a row says which network

A caption is learned both ways: it answers "Describe the picture.", and the picture answers "Draw: ...".
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from preceptor.data.batches import IGNORE, Batch, Example
from preceptor.data.pictures.captions import drawn_record, is_caption
from preceptor.data.pictures.store import Pictures
from preceptor.data.records import IMAGE, Conversation
from preceptor.generate.decoder import Sampling
from preceptor.generate.local import evaluating
from preceptor.models.causal import hidden_states
from preceptor.models.vision.code_writer import code_log_probs, with_codes, without
from preceptor.models.vision.splice import pictures_in, spread
from preceptor.run.errors import UserError
from preceptor.tokenizer.chat import encode_conversation
from preceptor.vision.conversing import Conversing
from preceptor.vision.generative import Guide, written_codes
from preceptor.vision.mixed_options import MixedOptions
from preceptor.vision.system import ROWS
from preceptor.vision.systems.vq_vae import VqVae


class Mixed(Conversing, VqVae):
    """A row gives `network` and `losses`."""

    options: MixedOptions

    def __init__(self, options: MixedOptions, tokenizer: Any, size: int, sources: dict[str, Path]) -> None:
        """Raises:
            UserError: not even one picture finds room in `text_length`.
        """
        super().__init__(options, tokenizer, size, sources)
        self.mark, self.words = tokenizer.convert_tokens_to_ids(IMAGE), len(tokenizer)
        self.places = (size // 2**options.halvings) ** 2
        if self.places >= options.text_length:
            raise UserError(f"A picture has {self.places} codes, and text_length is {options.text_length}.",
                            "Raise text_length, or 'halvings' here and where the row starts from.")
        self.language_model = self.network(self.words + options.codes)

    def network(self, vocabulary: int) -> nn.Module:
        """The language model, with fresh weights."""
        raise NotImplementedError

    def told(self, records: Sequence[Conversation], pictures: Pictures, seed: int) -> list[Conversation]:
        return [one for record in records
                for one in ([record, drawn_record(record)] if is_caption(record) else [record])]

    def conversation(self, record: Conversation) -> Example:
        return spread(encode_conversation(self.tokenizer, record), self.mark, 1 + self.places)

    def codes_of(self, images: Tensor) -> Tensor:
        """Codes (P, T) of pictures, of which there may be none."""
        return self.encode(images) if len(images) else torch.zeros(0, self.places, dtype=torch.long)

    def with_codes(self, batch: Batch) -> Batch:
        """The batch with the codes of its pictures in their places, and targets that predict them where the pictures
        are predicted (models/vision/code_writer.py)."""
        tokens_BL = batch["tokens"]
        shown = pictures_in(tokens_BL, batch["pixels"], self.mark, 1 + self.places)
        tokens_BL, targets_BL = with_codes(tokens_BL, batch["targets"], self.mark, self.codes_of(shown), self.words)
        return Batch(batch.tensors | {"tokens": tokens_BL, "targets": targets_BL}, batch.counts, batch.documents)

    def logits(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Logits (N, V) over words and codes where the batch has a target, and the targets (N,)."""
        counted_BL = batch["targets"] != IGNORE
        states_BLD = hidden_states(self.language_model, batch)
        return self.language_model.get_output_embeddings()(states_BLD[counted_BL]), batch["targets"][counted_BL]

    @contextmanager
    def shown(self, images: Tensor) -> Iterator[list[list[int]]]:
        """As codes; what is written inside the block is words. What is scored there is among words and codes."""
        codes_PT = self.codes_of(images) + self.words
        with without(self.language_model, [self.mark, *range(self.words, self.words + self.options.codes)]):
            yield [[self.mark, *codes] for codes in codes_PT.tolist()]

    def draw(self, texts: Sequence[str], seed: int = 0) -> Tensor:
        """A picture for each text, (texts, 3, H, W), whose codes the decoding engine writes; errors as there."""
        return self.decode(self.drawn_codes([self.drawing(text) for text in texts], seed)).clamp(-1, 1)

    def drawn_codes(self, prompts: Sequence[list[int]], seed: int, guide: Guide | None = None) -> Tensor:
        """The codes (prompts, T) that are written behind prompts, under guidance where there is one.

        Raises:
            UserError: a prompt leaves its picture no room.
        """
        self.check_room([*prompts, *(guide.without if guide else [])], self.places)
        sampling = Sampling(max_tokens=self.places, top_k=self.options.top_k)
        with without(self.language_model, range(self.words)):
            return written_codes(self.language_model, self.tokenizer, prompts, sampling, seed, guide) - self.words

    @torch.no_grad()
    def picture_likelihoods(self, images: Tensor, texts: Sequence[str]) -> Tensor:
        """log p(codes of the picture | text), (images, texts), in nats."""
        return torch.stack([self.code_likelihoods(images, self.drawing(text)) for text in texts], 1)

    @torch.no_grad()
    def code_likelihoods(self, images: Tensor, prompt: Sequence[int]) -> Tensor:
        """log p(codes of each picture | the tokens of the one prompt), (images,), in nats, among words and codes."""
        found = []
        with evaluating(self.language_model):
            for codes_BT in self.encode(images).split(ROWS):
                tokens_L = torch.tensor(prompt, device=codes_BT.device)
                tokens_BN = torch.cat([tokens_L.expand(len(codes_BT), -1), codes_BT + self.words], 1)
                targets_BN = torch.full_like(tokens_BN, IGNORE)
                targets_BN[:, len(prompt) - 1:-1] = codes_BT + self.words
                found.append(code_log_probs(self.language_model, tokens_BN, targets_BN))
        return torch.cat(found)


def of_all_tokens(example: Example) -> Example:
    """The same conversation with every token but the first predicted, not only those of answers."""
    return replace(example, targets=[*example.tokens[1:], IGNORE])
