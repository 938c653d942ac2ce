"""Qwen-VL (Bai et al. 2023, arXiv 2308.12966): queries with places look at the patches once. First tower and queries
learn, then the language model with them, then it and the queries: three steps with another `train` each."""

from pathlib import Path
from typing import Any

from torch import Tensor

from preceptor.models.vision.connectors import Resampler
from preceptor.models.vision.towers import patch_states
from preceptor.vision.splice import Spliced
from preceptor.vision.splice_options import QwenVlOptions


class QwenVl(Spliced):
    """The number of words is that of the queries, whatever the number of patches."""

    options_class = QwenVlOptions

    def __init__(self, options: QwenVlOptions, tokenizer: Any, size: int, sources: dict[str, Path]) -> None:
        super().__init__(options, tokenizer, size, sources)
        self.vectors = options.vectors
        self.connector = Resampler(self.patches, self.image.config.hidden_size, options.vectors, self.width,
                                   self.language_model.config.num_attention_heads)

    def prefix(self, pixels_PCHW: Tensor) -> Tensor:
        return self.connector(patch_states(self.image, pixels_PCHW))


SYSTEM = QwenVl
