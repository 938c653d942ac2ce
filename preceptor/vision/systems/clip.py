"""CLIP (Radford et al. 2021, arXiv 2103.00020): two towers, one dot product, the softmax over the batch both ways."""

from pathlib import Path
from typing import Any

from torch import Tensor

from preceptor.data.batches import Batch
from preceptor.losses.image_text import clip_sum
from preceptor.models.vision.match import Scale
from preceptor.models.vision.towers import clip_image_tower, clip_text_tower
from preceptor.vision.options import ClipOptions
from preceptor.vision.system import Sums, TwoTowers, positives, unit


class Clip(TwoTowers):
    """A class token sees the picture; causal text, seen from its end token."""

    options_class = ClipOptions

    def __init__(self, options: ClipOptions, tokenizer: Any, size: int, sources: dict[str, Path]) -> None:
        super().__init__(options, tokenizer, size, sources)
        self.image = clip_image_tower(options, size, options.vector)
        self.text = clip_text_tower(options, tokenizer, options.vector)
        self.scale = Scale(start=1 / 0.07, most=100)

    def image_vectors(self, pixels_BCHW: Tensor) -> Tensor:
        return unit(self.image(pixels_BCHW).image_embeds)

    def text_vectors(self, batch: Batch) -> Tensor:
        return unit(self.text(batch["tokens"]).text_embeds)

    def losses(self, batch: Batch) -> Sums:
        images_BD, texts_BD = self.image_vectors(batch["pixels"]), self.text_vectors(batch)
        total = clip_sum(images_BD, texts_BD, self.scale(), positives(batch))
        return {"contrast": (total, batch.count)}


SYSTEM = Clip
