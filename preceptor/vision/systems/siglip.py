"""SigLIP (Zhai et al. 2023, arXiv 2303.15343): two towers, and of every pair of a batch the question if it is one."""

from pathlib import Path
from typing import Any

from torch import Tensor

from preceptor.data.batches import Batch
from preceptor.losses.image_text import siglip_sum
from preceptor.models.vision.match import Scale
from preceptor.models.vision.towers import siglip_image_tower, siglip_text_tower, to_length
from preceptor.vision.options import SiglipOptions
from preceptor.vision.system import Sums, TwoTowers, positives, unit


class Siglip(TwoTowers):
    """An attention pool sees the picture; text that sees both ways, at one length, seen from its last position."""

    options_class = SiglipOptions

    def __init__(self, options: SiglipOptions, tokenizer: Any, size: int, sources: dict[str, Path]) -> None:
        super().__init__(options, tokenizer, size, sources)
        self.image = siglip_image_tower(options, size)
        self.text = siglip_text_tower(options, tokenizer)
        self.scale = Scale(start=10, bias=-10)

    def image_vectors(self, pixels_BCHW: Tensor) -> Tensor:
        return unit(self.image(pixels_BCHW).pooler_output)

    def text_vectors(self, batch: Batch) -> Tensor:
        tokens_BT = to_length(batch["tokens"], self.options.text_length, self.tokenizer.pad_token_id)
        return unit(self.text(tokens_BT).pooler_output)

    def losses(self, batch: Batch) -> Sums:
        images_BD, texts_BD = self.image_vectors(batch["pixels"]), self.text_vectors(batch)
        total = siglip_sum(images_BD, texts_BD, self.scale(), self.scale.bias, positives(batch),
                           self.options.chunk or None)
        return {"sigmoid": (total, batch.count)}


SYSTEM = Siglip
