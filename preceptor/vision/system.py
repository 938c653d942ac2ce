"""What a system is: named parts, losses over a batch, and one verb, `score(images, texts)`.

A system is a file in systems/ with a class of this kind under the name SYSTEM. Its parts are attributes, so that the
pattern of a stage can name them; its losses are functions of preceptor/losses; its options are a class of its own.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from preceptor.data.batches import Batch, Example, collate
from preceptor.data.pictures.captions import is_caption
from preceptor.data.pictures.store import Pictures
from preceptor.data.records import Conversation
from preceptor.losses.image_text import same_concept
from preceptor.tokenizer.chat import encode_conversation, encode_text

Sums = dict[str, tuple[Tensor, int]]  # of each objective its sum, and over how many things it is a sum


class System(nn.Module):
    """Pictures are float32 (I, 3, H, W) in [-1, 1], texts are plain; every verb computes without gradients."""

    options_class: ClassVar[type]
    """The frozen dataclass of its options, in an `*options.py` of this room."""
    weights: ClassVar[dict[str, float]] = {}
    """The weight of each objective's mean in the loss; 1 where it is not named."""
    reads: ClassVar[str] = "captions"
    """What its batches hold: "captions" (the texts about the pictures), "conversations" (whole, by chat
    template, with the token `IMAGE` for each of its pictures, of which `pixels` has several in a row), or "pictures"
    (no text: one token that counts for nothing)."""

    def __init__(self, options: Any, tokenizer: Any, size: int, sources: dict[str, Path]) -> None:
        """Build the parts with fresh weights from the global generator.

        Args:
            tokenizer: of its texts; it has the special token `IMAGE`.
            size: width and height of the pictures in pixels.
            sources: folders of the step's inputs by name (`language_model`, ...); of a saved system its own subfolders.
        """
        super().__init__()
        self.options, self.tokenizer, self.size = options, tokenizer, size

    def losses(self, batch: Batch) -> Sums:
        """Every objective over a batch (data/pictures/batches.py). The loss is the weighted sum of their means."""
        raise NotImplementedError

    def score(self, images: Tensor, texts: Sequence[str]) -> Tensor:
        """How well each text goes with each picture, (images, texts); only the order within a row or column means
        anything."""
        raise NotImplementedError

    def example(self, id: str, text: str) -> Example:
        """A caption as tokens: a start token, the text, the end token; cut to the options' `text_length`, end kept.

        The start is the tokenizer's own, or else the padding token, as T5's decoder begins.
        """
        end, start = self.tokenizer.eos_token_id, self.tokenizer.bos_token_id
        start = self.tokenizer.pad_token_id if start in (None, end) else start
        return Example.of_text(id, [start, *encode_text(self.tokenizer, text)[:self.options.text_length - 2], end])

    def learns_from(self, record: Conversation) -> bool:
        """Whether a conversation is one that it learns from: where it reads captions, those."""
        return self.reads != "captions" or is_caption(record)

    def told(self, records: Sequence[Conversation], pictures: Pictures, seed: int) -> list[Conversation]:
        """What it learns from where these records are given: the same, or others that are made of them."""
        return list(records)

    def conversation(self, record: Conversation) -> Example:
        """A conversation as tokens, of which answers are targets; errors as in `encode_conversation`."""
        return encode_conversation(self.tokenizer, record)

    def text_vectors(self, batch: Batch) -> Tensor:
        """Unit vectors (B, D) of the texts of a batch, with gradients, of systems that have such."""
        raise NotImplementedError

    @torch.no_grad()
    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors (T, D) of texts, by `text_vectors`."""
        return torch.cat([self.text_vectors(self.text_batch(texts[first:first + ROWS]))
                          for first in range(0, len(texts), ROWS)])

    def text_batch(self, texts: Sequence[str]) -> Batch:
        """Texts as `tokens`, `targets`, `positions` and `segments`, all (texts, T), on the system's device."""
        batch = collate([[self.example("", text)] for text in texts], self.tokenizer.pad_token_id)
        return batch.to(str(next(self.parameters()).device))


class Embeds(System):
    """A system with a vector of a picture and one of a text; its learned `scale` makes logits of their cosines."""

    scale: nn.Module

    def image_vectors(self, pixels_BCHW: Tensor) -> Tensor:
        """Unit vectors (B, D) of pictures, with gradients."""
        raise NotImplementedError

    def embed(self, images: Tensor) -> Tensor:
        """Unit vectors (I, D) of pictures."""
        return in_parts(self.image_vectors, images.to(next(self.parameters()).device))


class TwoTowers(Embeds):
    """A system whose score is the dot product of a picture's vector and a text's, so that each is made once."""

    def score(self, images: Tensor, texts: Sequence[str]) -> Tensor:
        return self.embed(images) @ self.embed_texts(texts).T


class PairByPair(System):
    """A system that must look at a picture and a text together: every pair is one pass."""

    def match(self, pixels_BCHW: Tensor, texts: Batch) -> Tensor:
        """The score (B,) of each picture with the text of its row."""
        raise NotImplementedError

    @torch.no_grad()
    def score(self, images: Tensor, texts: Sequence[str]) -> Tensor:
        device = next(self.parameters()).device
        pairs = [(image, text) for image in range(len(images)) for text in range(len(texts))]
        found = []
        for first in range(0, len(pairs), ROWS):
            part = pairs[first:first + ROWS]
            rows = self.text_batch([texts[text] for _, text in part])
            found.append(self.match(images[[image for image, _ in part]].to(device), rows))
        return torch.cat(found).view(len(images), len(texts))


def positives(batch: Batch) -> Tensor:
    """Which texts are true of which pictures of a batch, (B, B): same concept, or the very same words."""
    return same_concept(batch["concepts"]) | same_concept(batch["wordings"])


ROWS = 256  # pictures, texts or pairs that go through a system at once when it scores


@torch.no_grad()
def in_parts(function: Any, images: Tensor) -> Tensor:
    """`function` of all images, some at a time."""
    return torch.cat([function(part) for part in images.split(ROWS)])


def unit(vectors: Tensor) -> Tensor:
    """The same vectors with length 1."""
    return normalize(vectors, dim=-1)
