"""Llip (Lavoie et al. 2024, arXiv 2405.00740): SigLIP, but every text sees the picture in its own way."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from preceptor.data.batches import Batch
from preceptor.losses.image_text import sigmoid_sum
from preceptor.models.vision.match import Scale
from preceptor.models.vision.mixture import Mixture, MixtureTower
from preceptor.models.vision.towers import siglip_text_tower, to_length
from preceptor.vision.options import LlipOptions
from preceptor.vision.system import Sums, System, in_parts, positives, unit

AT_ONCE = 16  # pictures that all texts look at together when it scores: each pair has a vector of its own


class Llip(System):
    """Mixture tokens see the picture, and the very text that is compared with it mixes them: positives and negatives
    alike, or the loss would have a shortcut."""

    options_class = LlipOptions

    def __init__(self, options: LlipOptions, tokenizer: Any, size: int, sources: dict[str, Path]) -> None:
        super().__init__(options, tokenizer, size, sources)
        self.image = MixtureTower(options, size, options.mixture)
        self.text = siglip_text_tower(options, tokenizer)
        self.fusion = Mixture(options.width, options.width, options.mixture_heads, options.temperature)
        self.scale = Scale(start=10, bias=-10)

    def text_vectors(self, batch: Batch) -> Tensor:
        tokens_BT = to_length(batch["tokens"], self.options.text_length, self.tokenizer.pad_token_id)
        return unit(self.text(tokens_BT).pooler_output)

    def losses(self, batch: Batch) -> Sums:
        cosines_BB = self.fusion.cosines(self.image(batch["pixels"]), self.text_vectors(batch))
        return {"sigmoid": (sigmoid_sum(cosines_BB, self.scale(), self.scale.bias, positives(batch)), batch.count)}

    @torch.no_grad()
    def score(self, images: Tensor, texts: Sequence[str]) -> Tensor:
        texts_TV = self.embed_texts(texts)
        tokens_IKD = in_parts(self.image, images.to(texts_TV.device))
        return torch.cat([self.fusion.cosines(part, texts_TV) for part in tokens_IKD.split(AT_ONCE)])


SYSTEM = Llip
