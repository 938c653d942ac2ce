"""The multi-view information bottleneck (Federici et al. 2020, arXiv 2002.07017): a picture and its text are two views
of one thing, and each view's representation should hold what both share and nothing else."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import softplus

from preceptor.data.batches import Batch
from preceptor.losses.bottleneck import symmetric_divergence_sum
from preceptor.losses.image_text import clip_sum
from preceptor.models.vision.match import Scale
from preceptor.models.vision.towers import clip_image_tower, clip_text_tower
from preceptor.vision.fusion_options import MibOptions
from preceptor.vision.system import Sums, TwoTowers, positives, unit

NARROWEST = 1e-4    # deviation; a posterior of none at all would make the divergence infinite
Posterior = tuple[Tensor, Tensor]   # mean and deviation, both (B, D)


class Mib(TwoTowers):
    """CLIP's towers, each of which gives a Gaussian; the contrast is of draws, `divergence` weighs `beta`.

    Used, a picture and a text are the means.
    """

    options_class = MibOptions

    def __init__(self, options: MibOptions, tokenizer: Any, size: int, sources: dict[str, Path]) -> None:
        super().__init__(options, tokenizer, size, sources)
        self.image = clip_image_tower(options, size, 2 * options.vector)
        self.text = clip_text_tower(options, tokenizer, 2 * options.vector)
        self.scale = Scale(start=1 / 0.07, most=100)
        self.weights = {"divergence": options.beta}

    def of_pictures(self, pixels_BCHW: Tensor) -> Posterior:
        """p(z | picture)."""
        return gaussian(self.image(pixels_BCHW).image_embeds)

    def of_texts(self, batch: Batch) -> Posterior:
        """p(z | text)."""
        return gaussian(self.text(batch["tokens"]).text_embeds)

    def image_vectors(self, pixels_BCHW: Tensor) -> Tensor:
        return unit(self.of_pictures(pixels_BCHW)[0])

    def text_vectors(self, batch: Batch) -> Tensor:
        return unit(self.of_texts(batch)[0])

    def losses(self, batch: Batch) -> Sums:
        pictures, texts = self.of_pictures(batch["pixels"]), self.of_texts(batch)
        images_BD, texts_BD = (unit(mean + deviation * torch.randn_like(mean)) for mean, deviation in (pictures, texts))
        contrast = clip_sum(images_BD, texts_BD, self.scale(), positives(batch))
        return {"contrast": (contrast, batch.count),
                "divergence": (symmetric_divergence_sum(*pictures, *texts), batch.count)}


def gaussian(numbers_BN: Tensor) -> Posterior:
    """Half of the numbers are the mean; the other half, made positive, the deviation."""
    mean_BD, wide_BD = numbers_BN.chunk(2, -1)
    return mean_BD, softplus(wide_BD) + NARROWEST


SYSTEM = Mib
