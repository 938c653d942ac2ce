"""Chameleon (Chameleon Team 2024, arXiv 2405.09818): words and pictures as one kind of token, from the first layer on.

Queries and keys are normed, and the logits' normaliser is held near one, or training diverges where both kinds of
token compete for the same norms (section 2.3).
"""

from typing import ClassVar

from torch import nn

from preceptor.data.batches import Batch, Example
from preceptor.data.records import Conversation
from preceptor.losses.likelihood import cross_entropy_sum, z_loss_sum
from preceptor.models.vision.chameleon import chameleon
from preceptor.models.vision.splice import spread
from preceptor.tokenizer.chat import encode_conversation
from preceptor.vision.mixed import Mixed, of_all_tokens
from preceptor.vision.mixed_options import ChameleonOptions
from preceptor.vision.system import Sums


class Chameleon(Mixed):
    """Every token predicts the next one, whatever kind they are."""

    options_class = ChameleonOptions
    weights: ClassVar[dict[str, float]] = {"z": 1e-5}

    def network(self, vocabulary: int) -> nn.Module:
        return chameleon(self.options, vocabulary=vocabulary, end=self.tokenizer.eos_token_id,
                         pad=self.tokenizer.pad_token_id, swin_norm=self.options.swin_norm)

    def conversation(self, record: Conversation) -> Example:
        example = encode_conversation(self.tokenizer, record)
        example = of_all_tokens(example) if self.options.counted == "all" else example
        return spread(example, self.mark, 1 + self.places)

    def losses(self, batch: Batch) -> Sums:
        logits_NV, targets_N = self.logits(self.with_codes(batch))
        total, count = cross_entropy_sum(logits_NV, targets_N)
        return {"tokens": (total, int(count)), "z": (z_loss_sum(logits_NV), int(count))}


SYSTEM = Chameleon
