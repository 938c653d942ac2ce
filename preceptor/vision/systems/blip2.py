"""BLIP-2's second stage (Li et al. 2023, arXiv 2301.12597, section 3.3): queries that a frozen tower answers and a
frozen language model reads."""

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from preceptor.models.vision.connectors import QueryFormer
from preceptor.models.vision.towers import patch_states
from preceptor.vision.splice import Spliced
from preceptor.vision.splice_options import QueryOptions


class Blip2(Spliced):
    """The Q-Former is that of the first stage (`start`), or fresh."""

    options_class = QueryOptions

    def __init__(self, options: QueryOptions, tokenizer: Any, size: int, sources: dict[str, Path]) -> None:
        super().__init__(options, tokenizer, size, sources)
        self.vectors = options.queries
        self.fusion = QueryFormer(self.image.config.hidden_size, options.queries, options.query_width,
                                  options.query_layers, options.heads)
        self.connector = nn.Linear(options.query_width, self.width)

    def prefix(self, pixels_PCHW: Tensor) -> Tensor:
        return self.connector(self.fusion(patch_states(self.image, pixels_PCHW)))


SYSTEM = Blip2
