"""VQ-VAE (van den Oord et al. 2017, arXiv 1711.00937): convolutions around a codebook, trained on pixels and codes."""

from pathlib import Path
from typing import Any

from preceptor.data.batches import Batch
from preceptor.losses.quantisation import squared_error_sum
from preceptor.models.vision.autoencoders import ConvDecoder, ConvEncoder
from preceptor.models.vision.quantizer import Quantizer
from preceptor.vision.generative_options import ImageTokenizerOptions
from preceptor.vision.image_tokenizer import ImageTokenizer
from preceptor.vision.system import Sums


class VqVae(ImageTokenizer):
    """The codebook is a moving average unless its option says otherwise."""

    options_class = ImageTokenizerOptions

    def __init__(self, options: ImageTokenizerOptions, tokenizer: Any, size: int, sources: dict[str, Path]) -> None:
        super().__init__(options, tokenizer, size, sources)
        shape = options.channels, options.halvings, options.blocks, options.code_width
        self.encoder, self.decoder = ConvEncoder(*shape), ConvDecoder(*shape)
        self.quantizer = Quantizer(options.codes, options.code_width, options.code_width, learn=options.codebook)

    def losses(self, batch: Batch) -> Sums:
        found, drawn = self.painted(batch["pixels"])
        return {"pixels": (squared_error_sum(drawn, batch["pixels"]), batch.count),
                "codes": (self.codebook_loss(found), batch.count)}


SYSTEM = VqVae
