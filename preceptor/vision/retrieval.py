"""Beside each caption and its picture another pair that is like them, found by the vectors of two towers.

A model that writes with such a pair in view can take from it what it need not know (Yasunaga et al. 2023, RA-CM3,
arXiv 2211.12561; Yu et al. 2023, arXiv 2309.02591, section 2.1).

Legend: N pairs in the memory, Q queries, D dimensions.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from preceptor.data.pictures.captions import is_caption
from preceptor.data.pictures.store import Pictures
from preceptor.data.records import Conversation, image_urls
from preceptor.run.errors import UserError
from preceptor.tokenizer.chat import encode_text
from preceptor.vision.system import ROWS, Embeds, unit

DROPPED = 0.2  # share of a query's words that are left out, so that not the nearest pair alone is ever found


class Memory:
    """Captions with their pictures, of the split that is trained on; a pair's vector is the mean of its two."""

    def __init__(self, source: Path, pictures: Pictures, records: Sequence[Conversation]) -> None:
        """Raises:
            UserError: that is no step with two towers, or there are not two different pairs.
        """
        from preceptor.vision.keep import load_system
        tower = load_system(source)
        if not isinstance(tower, Embeds):
            raise UserError(f"The {tower.options.system} in '{source}' has no vectors to find pictures by.",
                            "Name a step with two towers, such as clip, as 'retriever'.")
        self.tower = tower
        kept = [record for record in records if is_caption(record) and _pictured(record, pictures)]
        self.records, self.texts = kept, [record.messages[-1]["content"] for record in kept]
        self.numbers = [pictures.number[image_urls(record.messages)[0]] for record in kept]
        if len(set(self.texts)) < 2 or len(set(self.numbers)) < 2:
            raise UserError("Nothing can be put beside a caption where there are no two different ones.",
                            "Give more pictures with captions, or leave out 'retriever'.")
        self.images_ND = torch.cat([tower.embed(pictures.take(self.numbers[first:first + ROWS]))
                                    for first in range(0, len(kept), ROWS)])
        self.vectors_ND = unit(self.images_ND + tower.embed_texts(self.texts))

    def beside(self, seed: int) -> list[Conversation]:
        """Each record with another in front that is like its picture or its caption, by the toss of a coin.

        Never one of the same picture, nor one of the same words, which would only have to be copied.
        """
        generator = torch.Generator().manual_seed(seed)
        by_picture_N = torch.rand(len(self.records), generator=generator) < 0.5
        texts_ND = self.tower.embed_texts([self._with_words_dropped(text, generator) for text in self.texts])
        queries_ND = torch.where(by_picture_N[:, None].to(texts_ND.device), self.images_ND, texts_ND)
        found = self.nearest(queries_ND, self.numbers, self.texts)
        return [replace(record, messages=[*self.records[other].messages, *record.messages])
                for record, other in zip(self.records, found)]

    def nearest(self, queries_QD: Tensor, pictures: Sequence[int], texts: Sequence[str]) -> list[int]:
        """The pair most like each query, as a number among `records`, but none of this picture or of this text."""
        words: dict[str, int] = {text: number for number, text in enumerate(dict.fromkeys([*self.texts, *texts]))}
        own_N, said_N = torch.tensor(self.numbers), torch.tensor([words[text] for text in self.texts])
        asked_Q, told_Q = torch.tensor(list(pictures)), torch.tensor([words[text] for text in texts])
        found: list[int] = []
        for first in range(0, len(queries_QD), ROWS):
            part = slice(first, first + ROWS)
            out_QN = (asked_Q[part, None] == own_N) | (told_Q[part, None] == said_N)
            likeness_QN = (queries_QD[part] @ self.vectors_ND.T).cpu().masked_fill(out_QN, -torch.inf)
            found += likeness_QN.argmax(1).tolist()
        return found

    def _with_words_dropped(self, text: str, generator: torch.Generator) -> str:
        tokens = encode_text(self.tower.tokenizer, text)
        kept = torch.rand(len(tokens), generator=generator) >= DROPPED
        return self.tower.tokenizer.decode([token for token, stays in zip(tokens, kept) if stays])


def _pictured(record: Conversation, pictures: Pictures) -> bool:
    """Whether the record is about one picture that is there to train on."""
    urls = image_urls(record.messages)
    number = pictures.number.get(urls[0]) if len(urls) == 1 else None
    return number is not None and pictures.splits[number] == "train"
