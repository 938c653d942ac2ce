"""CoCa (Yu et al. 2022, arXiv 2205.01917): a captioner whose lower half is a text tower, trained to do both at once."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from preceptor.data.batches import Batch
from preceptor.data.records import Prompt
from preceptor.generate.decoder import Request, Sampling
from preceptor.generate.local import LocalDecoder, evaluating
from preceptor.losses.image_text import clip_sum
from preceptor.losses.likelihood import cross_entropy_sum, token_log_probs
from preceptor.models.vision.captioner import AttentionPool, Captioner, TextDecoder
from preceptor.models.vision.match import Scale
from preceptor.models.vision.towers import siglip_image_tower
from preceptor.vision.fusion_options import CocaOptions
from preceptor.vision.system import ROWS, Sums, TwoTowers, in_parts, positives, unit


class Coca(TwoTowers):
    """A pool sees the picture with one query for the dot product and others for the captions (`connector`)."""

    options_class = CocaOptions
    weights = {"caption": 2.0}

    def __init__(self, options: CocaOptions, tokenizer: Any, size: int, sources: dict[str, Path]) -> None:
        super().__init__(options, tokenizer, size, sources)
        self.image = siglip_image_tower(options, size, pool=False)
        self.connector = AttentionPool(1 + options.queries, options.width, options.heads)
        self.text = TextDecoder(len(tokenizer), options.text_length, options.width, options.layers, options.heads)
        self.scale = Scale(start=1 / 0.07, most=100)

    def pooled(self, pixels_BCHW: Tensor) -> Tensor:
        """What the queries see of pictures, (B, 1 + queries, D); the first is for the dot product."""
        return self.connector(self.image(pixels_BCHW).last_hidden_state)

    def image_vectors(self, pixels_BCHW: Tensor) -> Tensor:
        return unit(self.pooled(pixels_BCHW)[:, 0])

    def text_vectors(self, batch: Batch) -> Tensor:
        return unit(self.text(batch["tokens"], batch["segments"] > 0)[1])

    def losses(self, batch: Batch) -> Sums:
        pooled_BQD = self.pooled(batch["pixels"])
        states_BTD, texts_BD = self.text(batch["tokens"], batch["segments"] > 0)
        contrast = clip_sum(unit(pooled_BQD[:, 0]), unit(texts_BD), self.scale(), positives(batch))
        caption, count = cross_entropy_sum(self.text.captions(states_BTD, pooled_BQD[:, 1:]), batch["targets"])
        return {"contrast": (contrast, batch.count), "caption": (caption, int(count))}

    @torch.no_grad()
    def log_likelihoods(self, images: Tensor, texts: Sequence[str]) -> Tensor:
        """log p(text | picture), its end included, (images, texts), in nats."""
        pooled_IQD = self._pooled(images)
        found = []
        for text in texts:
            row = self.text_batch([text])
            states_1TD, _ = self.text(row["tokens"], row["segments"] > 0)
            parts = []
            for part in pooled_IQD[:, 1:].split(ROWS):
                logits = self.text.captions(states_1TD[:, :-1].expand(len(part), -1, -1), part)
                parts.append(token_log_probs(logits, row["targets"][:, :-1].expand(len(part), -1)).sum(1))
            found.append(torch.cat(parts))
        return torch.stack(found, 1)

    def caption(self, images: Tensor, language: str = "en") -> list[str]:
        """The most likely caption of each picture, word by word, by the decoding engine. Nobody asks it for one, so
        that it writes in the language that is likeliest, whatever `language` says."""
        pictures_IQD = self._pooled(images)[:, 1:]
        captioner = Captioner(self.text, pictures_IQD, self.example("", "").tokens[0])
        sampling = Sampling(temperature=0, max_tokens=self.options.text_length - 1)
        requests = [Request(Prompt(str(n), [{"role": "user", "content": ""}]), sampling, 0) for n in range(len(images))]
        decoder = LocalDecoder(captioner, self.tokenizer)
        call = decoder.call("sample", requests, [[n] for n in range(len(images))])
        written: dict[int, str] = {}
        with evaluating(captioner):
            while call.advance():
                written |= {number: answer.response.text for number, answer in call.finished()}
        return [written[number] for number in range(len(images))]

    def _pooled(self, images: Tensor) -> Tensor:
        return in_parts(self.pooled, images.to(next(self.parameters()).device))


SYSTEM = Coca
