"""ViT-VQGAN (Yu et al. 2022, arXiv 2110.04627): transformers around a narrow codebook of unit vectors."""

from pathlib import Path
from typing import Any

from torch import Tensor

from preceptor.data.batches import Batch
from preceptor.losses.quantisation import logit_laplace_sum, squared_error_sum
from preceptor.models.vision.autoencoders import VitDecoder, VitEncoder
from preceptor.models.vision.discriminator import PatchDiscriminator
from preceptor.models.vision.quantizer import Quantizer
from preceptor.vision.generative_options import VitTokenizerOptions
from preceptor.vision.image_tokenizer import ImageTokenizer, features_of, game, perceptual_sum
from preceptor.vision.system import Sums

MARGIN = 0.1    # of the logit-Laplace density


class VitVqGan(ImageTokenizer):
    """The decoder gives the place of a logit-Laplace density for each pixel; the picture is where it peaks."""

    options_class = VitTokenizerOptions

    def __init__(self, options: VitTokenizerOptions, tokenizer: Any, size: int, sources: dict[str, Path]) -> None:
        super().__init__(options, tokenizer, size, sources)
        shape = size, options.patch, options.width, options.layers, options.heads
        self.encoder, self.decoder = VitEncoder(*shape), VitDecoder(*shape)
        self.quantizer = Quantizer(options.codes, options.width, options.code_width, learn=options.codebook,
                                   cosine=True)
        self.discriminator = PatchDiscriminator(options.discriminator_channels)
        self.look = [features_of(sources)]      # in a list, so that it is no part: neither trained nor saved

    def pictures_of(self, painted: Tensor) -> Tensor:
        return 2 * (painted.sigmoid() - MARGIN) / (1 - 2 * MARGIN) - 1

    def losses(self, batch: Batch) -> Sums:
        pixels = batch["pixels"]
        found, location = self.painted(pixels)
        drawn = self.pictures_of(location)
        density = logit_laplace_sum(location, ((pixels + 1) / 2).clamp(0, 1), margin=MARGIN)
        sums = {"pixels": squared_error_sum(drawn, pixels), "codes": self.codebook_loss(found),
                "density": self.options.logit_laplace * density}
        if self.look[0] is not None:
            sums["features"] = self.options.perceptual * perceptual_sum(self.look[0], drawn, pixels)
        painting = sum(value for name, value in sums.items() if name != "codes")
        return {name: (value, batch.count) for name, value in sums.items()} | game(self, batch, drawn, painting)


SYSTEM = VitVqGan
