"""ViLBERT (Lu et al. 2019, arXiv 1908.02265): a stream of patches and a stream of words, joined by co-attention."""

from pathlib import Path
from typing import Any

from torch import Tensor

from preceptor.data.batches import IGNORE, Batch
from preceptor.data.pictures.pretext import half_retold, hidden_patches, hidden_words, retold
from preceptor.losses.matching import matching_sum
from preceptor.losses.soft_targets import distillation_sum
from preceptor.models.vision.fusion import MaskedHead, MatchingHead, bert_text_tower, masked_image_tower
from preceptor.models.vision.streams import CoAttentionStreams
from preceptor.vision.fusion_options import VilbertOptions
from preceptor.vision.masked import PatchClasses, filled_in_sum, word_masking
from preceptor.vision.system import PairByPair, Sums, positives


class Vilbert(PairByPair):
    """Half of the pictures are shown with a text that is not true of them; what is hidden in either counts only where
    they belong together. Patches stand for a detector's regions, and the codes of `quantizer` for its classes."""

    options_class = VilbertOptions

    def __init__(self, options: VilbertOptions, tokenizer: Any, size: int, sources: dict[str, Path]) -> None:
        super().__init__(options, tokenizer, size, sources)
        self.masking = word_masking(tokenizer, options.hidden_words)
        self.image = masked_image_tower(options, size)
        self.text = bert_text_tower(options, tokenizer)
        self.fusion = CoAttentionStreams(options.width, options.heads, options.fusion_layers)
        self.words_head = MaskedHead(options.width, len(tokenizer))
        self.classes_head = MaskedHead(options.width, options.codes)
        self.matching_head = MatchingHead(options.width)
        self.classes = PatchClasses.given(sources, size, options)

    def losses(self, batch: Batch) -> Sums:
        pixels = batch["pixels"]
        order_B, own_B = half_retold(positives(batch))
        texts = hidden_words(retold(batch, order_B), self.masking)
        hidden_BP = hidden_patches(len(pixels), (self.size // self.options.patch) ** 2, self.options.hidden_patches,
                                   pixels.device)
        return self.objectives(pixels, texts, own_B, hidden_BP, self.classes.logits(pixels))

    def objectives(self, pixels_BCHW: Tensor, texts: Batch, own_B: Tensor, hidden_BP: Tensor,
                   classes_BPV: Tensor) -> Sums:
        """The three losses of pictures and texts with holes, of which some do not belong together."""
        image_BND, text_BTD = self.read(pixels_BCHW, texts, hidden_BP)
        counted_BP = hidden_BP & own_B[:, None]
        classes = distillation_sum(self.classes_head(image_BND[:, 1:]), classes_BPV, counted_BP)
        targets_BT = texts["targets"].masked_fill(~own_B[:, None], IGNORE)
        matching = matching_sum(self.matching_head(image_BND[:, 0], text_BTD[:, 0]), own_B)
        return {"words": filled_in_sum(self.words_head, text_BTD, targets_BT),
                "classes": (classes, int(counted_BP.sum())), "matching": (matching, len(own_B))}

    def read(self, pixels_BCHW: Tensor, texts: Batch, hidden_BP: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The states of both streams, (B, 1 + P, D) with the class token in front, and (B, T, D)."""
        seen_BT = texts["segments"] > 0
        image = self.image(pixels_BCHW, bool_masked_pos=hidden_BP).last_hidden_state
        text = self.text(input_ids=texts["tokens"], attention_mask=seen_BT.long()).last_hidden_state
        return self.fusion(image, text, seen_BT)

    def match(self, pixels_BCHW: Tensor, texts: Batch) -> Tensor:
        """log p(they belong together) - log p(they do not)."""
        image_BND, text_BTD = self.read(pixels_BCHW, texts)
        return self.matching_head(image_BND[:, 0], text_BTD[:, 0])


SYSTEM = Vilbert
