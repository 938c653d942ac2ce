"""MiniGPT-v2 (Chen et al. 2023, arXiv 2310.09478): every patch is read, four as one word; a tag says what is wanted."""

from pathlib import Path
from typing import Any

from torch import Tensor

from preceptor.data.pictures.captions import DESCRIBE
from preceptor.models.adapters import add_lora
from preceptor.models.vision.connectors import Squares, check_squares
from preceptor.models.vision.towers import patch_states
from preceptor.vision.splice import Spliced
from preceptor.vision.splice_options import MiniGptV2Options

TAGS = {"caption": "[caption]", "box": "[refer]"}  # by the category of a record; all others are [vqa]


class MiniGptV2(Spliced):
    """The tower is frozen; the language model learns by LoRA, here in all its linear maps."""

    options_class = MiniGptV2Options

    def __init__(self, options: MiniGptV2Options, tokenizer: Any, size: int, sources: dict[str, Path]) -> None:
        super().__init__(options, tokenizer, size, sources)
        self.vectors = check_squares(self.patches)
        add_lora(self.language_model, options.lora_rank, options.lora_alpha)
        self.connector = Squares(self.image.config.hidden_size, self.width)

    def prefix(self, pixels_PCHW: Tensor) -> Tensor:
        return self.connector(patch_states(self.image, pixels_PCHW))

    def worded(self, text: str, category: str | None) -> str:
        kind = "caption" if text in DESCRIBE.values() else category or ""
        return f"{TAGS.get(kind, '[vqa]')} {text}"


SYSTEM = MiniGptV2
