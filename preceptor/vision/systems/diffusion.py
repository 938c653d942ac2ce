"""The diffusion generative classifier (Li et al. 2023, arXiv 2303.16203): minus the error in guessing the noise.

A diffusion transformer learns to paint pictures of a text (`vision/painting.py`).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from preceptor.data.batches import Batch
from preceptor.models.vision.diffusion import DiffusionTransformer
from preceptor.models.vision.towers import clip_text_tower
from preceptor.vision.generative import some_without_text
from preceptor.vision.generative_options import DiffusionOptions
from preceptor.vision.painting import Painting, Read
from preceptor.vision.system import Sums


class Diffusion(Painting):
    """CLIP's text tower (of a CLIP, with `start`) and a diffusion transformer over pixels."""

    options_class = DiffusionOptions

    def __init__(self, options: DiffusionOptions, tokenizer: Any, size: int, sources: dict[str, Path]) -> None:
        super().__init__(options, tokenizer, size, sources)
        self.text = clip_text_tower(options, tokenizer, options.width)
        self.painter = DiffusionTransformer(size, options.patch, options.width, options.layers, options.heads,
                                            options.width)
        self.take_levels()

    def losses(self, batch: Batch) -> Sums:
        texts = some_without_text(batch, self.options.unconditional, self.text_batch([""]))
        return {"noise": (self.noise_sum(batch["pixels"], self.read(texts)), batch.count)}

    def read(self, texts: Batch) -> Read:
        """What the painter sees of texts, with gradients."""
        out = self.text(texts["tokens"])
        return out.last_hidden_state, out.text_embeds, texts["segments"] > 0

    def conditions(self, texts: Sequence[str]) -> Read:
        return self.read(self.text_batch(texts))


SYSTEM = Diffusion
