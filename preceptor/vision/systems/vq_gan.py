"""VQ-GAN (Esser et al. 2021, arXiv 2012.09841): a VQ-VAE that must also please features and fool a discriminator."""

from pathlib import Path
from typing import Any

from preceptor.data.batches import Batch
from preceptor.losses.quantisation import squared_error_sum
from preceptor.models.vision.discriminator import PatchDiscriminator
from preceptor.vision.generative_options import AdversarialOptions
from preceptor.vision.image_tokenizer import features_of, game, perceptual_sum
from preceptor.vision.system import Sums
from preceptor.vision.systems.vq_vae import VqVae


class VqGan(VqVae):
    """Warmed up by a step of VQ-VAE that it starts from, then the game."""

    options_class = AdversarialOptions

    def __init__(self, options: AdversarialOptions, tokenizer: Any, size: int, sources: dict[str, Path]) -> None:
        super().__init__(options, tokenizer, size, sources)
        self.discriminator = PatchDiscriminator(options.discriminator_channels)
        self.look = [features_of(sources)]      # in a list, so that it is no part: neither trained nor saved

    def losses(self, batch: Batch) -> Sums:
        pixels = batch["pixels"]
        found, drawn = self.painted(pixels)
        sums = {"pixels": squared_error_sum(drawn, pixels), "codes": self.codebook_loss(found)}
        if self.look[0] is not None:
            sums["features"] = self.options.perceptual * perceptual_sum(self.look[0], drawn, pixels)
        apart = game(self, batch, drawn, sums["pixels"] + sums.get("features", 0.0))
        return {name: (value, batch.count) for name, value in sums.items()} | apart


SYSTEM = VqGan
