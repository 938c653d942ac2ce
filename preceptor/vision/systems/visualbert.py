"""VisualBERT (Li et al. 2019, arXiv 1908.03557): one BERT over the words and the patches, put in a row."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from preceptor.data.batches import IGNORE, Batch
from preceptor.data.pictures.pretext import half_retold, hidden_words, retold
from preceptor.losses.likelihood import cross_entropy_sum
from preceptor.models.vision.fusion import PatchStem, visual_bert
from preceptor.vision.fusion_options import MaskedOptions
from preceptor.vision.masked import filled_in_sum, word_masking
from preceptor.vision.system import PairByPair, Sums, positives

MATCHES, OTHER = 0, 1   # of the two logits of matching, as transformers numbers them


class VisualBert(PairByPair):
    """Half of the pictures of a batch are shown with a text that is not true of them.

    The paper's texts are two captions, of which one is always true; a row here has one, so that words are filled in
    only where the text is the picture's own.
    """

    options_class = MaskedOptions

    def __init__(self, options: MaskedOptions, tokenizer: Any, size: int, sources: dict[str, Path]) -> None:
        super().__init__(options, tokenizer, size, sources)
        self.masking = word_masking(tokenizer, options.hidden_words)
        self.image = PatchStem(size, options.patch, options.width)
        self.fusion = visual_bert(options, tokenizer, (size // options.patch) ** 2)

    def losses(self, batch: Batch) -> Sums:
        order_B, own_B = half_retold(positives(batch))
        return self.objectives(batch["pixels"], hidden_words(retold(batch, order_B), self.masking), own_B)

    def objectives(self, pixels_BCHW: Tensor, texts: Batch, own_B: Tensor) -> Sums:
        """Both losses of pictures beside texts with holes, of which some are not their own."""
        states_BND, matching_B2 = self.read(pixels_BCHW, texts)
        targets_BT = texts["targets"].masked_fill(~own_B[:, None], IGNORE)
        words = filled_in_sum(self.fusion.cls.predictions, states_BND[:, :targets_BT.shape[1]], targets_BT)
        matching, count = cross_entropy_sum(matching_B2, torch.where(own_B, MATCHES, OTHER))
        return {"words": words, "matching": (matching, int(count))}

    def read(self, pixels_BCHW: Tensor, texts: Batch) -> tuple[Tensor, Tensor]:
        """The states (B, T + P, D) of words and patches, and the two logits (B, 2) of matching."""
        out = self.fusion.visual_bert(input_ids=texts["tokens"], attention_mask=(texts["segments"] > 0).long(),
                                      visual_embeds=self.image(pixels_BCHW))
        return out.last_hidden_state, self.fusion.cls.seq_relationship(out.pooler_output)

    def match(self, pixels_BCHW: Tensor, texts: Batch) -> Tensor:
        """log p(they belong together) - log p(they do not)."""
        logits_B2 = self.read(pixels_BCHW, texts)[1]
        return logits_B2[:, MATCHES] - logits_B2[:, OTHER]


SYSTEM = VisualBert
