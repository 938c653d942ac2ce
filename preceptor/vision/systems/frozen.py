"""Frozen (Tsimpoukelli et al. 2021, arXiv 2106.13884): a picture as two words, learned through a frozen language model.

The paper's tower is an NF-ResNet; here it is SigLIP's, fresh or of the row that the step starts from.
"""

from pathlib import Path
from typing import Any

from torch import Tensor

from preceptor.models.vision.connectors import Prefix
from preceptor.models.vision.towers import whole_picture, whole_width
from preceptor.vision.splice import Spliced
from preceptor.vision.splice_options import FrozenOptions


class Frozen(Spliced):
    """Gradients flow through the language model, and change the tower and the map behind it."""

    options_class = FrozenOptions

    def __init__(self, options: FrozenOptions, tokenizer: Any, size: int, sources: dict[str, Path]) -> None:
        super().__init__(options, tokenizer, size, sources)
        self.vectors = options.vectors
        self.connector = Prefix(whole_width(self.image), options.vectors, self.width)

    def prefix(self, pixels_PCHW: Tensor) -> Tensor:
        return self.connector(whole_picture(self.image, pixels_PCHW))


SYSTEM = Frozen
