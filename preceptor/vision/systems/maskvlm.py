"""MaskVLM (Kwon et al. 2023, arXiv 2208.02131): what is hidden in a picture or a text, rebuilt with the other whole."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from preceptor.data.batches import Batch
from preceptor.data.pictures.pretext import hidden_patches, hidden_words, mismatched
from preceptor.losses.image_text import clip_sum
from preceptor.losses.matching import hidden_patch_sum, matching_sum
from preceptor.models.vision.fusion import (
    MaskedHead,
    MatchingHead,
    bert_text_tower,
    masked_image_tower,
    patches_of,
)
from preceptor.models.vision.match import Scale
from preceptor.models.vision.streams import CrossStreams
from preceptor.vision.fusion_options import MaskVlmOptions
from preceptor.vision.masked import filled_in_sum, word_masking
from preceptor.vision.system import Embeds, PairByPair, Sums, positives, unit

States = tuple[Tensor, Tensor, Tensor]  # of pictures (B, 1 + P, D), of texts (B, T, D), what is no padding (B, T)


class MaskVlm(PairByPair, Embeds):
    """Two encoders for the dot product, two more that look across; hidden words and pixels are told by the latter.

    Pairs that do not belong together are those that the dot product finds most alike.
    """

    options_class = MaskVlmOptions

    def __init__(self, options: MaskVlmOptions, tokenizer: Any, size: int, sources: dict[str, Path]) -> None:
        super().__init__(options, tokenizer, size, sources)
        self.masking = word_masking(tokenizer, options.hidden_words)
        self.image = masked_image_tower(options, size)
        self.text = bert_text_tower(options, tokenizer)
        self.fusion = CrossStreams(options.width, options.heads, options.fusion_layers)
        self.image_vector, self.text_vector = (nn.Linear(options.width, options.vector) for _ in range(2))
        self.words_head = MaskedHead(options.width, len(tokenizer))
        self.pixels_head = nn.Linear(options.width, 3 * options.patch**2)
        self.matching_head = MatchingHead(options.width)
        self.scale = Scale(start=1 / 0.07, most=100)

    def image_vectors(self, pixels_BCHW: Tensor) -> Tensor:
        return unit(self.image_vector(self.image(pixels_BCHW).last_hidden_state[:, 0]))

    def text_vectors(self, batch: Batch) -> Tensor:
        return unit(self.text_vector(self.read_texts(batch)[:, 0]))

    def losses(self, batch: Batch) -> Sums:
        pixels = batch["pixels"]
        hidden_BP = hidden_patches(len(pixels), (self.size // self.options.patch) ** 2, self.options.hidden_patches,
                                   pixels.device)
        whole = self.read(pixels, batch)
        images_BV, texts_BV = unit(self.image_vector(whole[0][:, 0])), unit(self.text_vector(whole[1][:, 0]))
        true_BB, logits_BB = positives(batch), self.scale() * images_BV @ texts_BV.T
        return {"contrast": (clip_sum(images_BV, texts_BV, self.scale(), true_BB), batch.count),
                "matching": self.matching(whole, true_BB, logits_BB)} | self.rebuilt(
                    pixels, whole, hidden_words(batch, self.masking), hidden_BP)

    def matching(self, whole: States, true_BB: Tensor, logits_BB: Tensor) -> tuple[Tensor, int]:
        """Pairs that belong together, with a wrong text for each picture and a wrong picture for each text."""
        own = torch.arange(len(true_BB), device=true_BB.device)
        pictures, wrong_texts = mismatched(true_BB, logits_BB)
        texts, wrong_pictures = mismatched(true_BB.T, logits_BB.T)
        rows, others = torch.cat([own, pictures, wrong_pictures]), torch.cat([own, wrong_texts, texts])
        belongs = torch.arange(len(rows), device=own.device) < len(own)
        return matching_sum(self.matched((whole[0][rows], whole[1][others], whole[2][others])), belongs), len(rows)

    def rebuilt(self, pixels_BCHW: Tensor, whole: States, texts: Batch, hidden_BP: Tensor) -> Sums:
        """The words hidden in `texts` with the whole pictures in view, and the hidden patches with the whole texts."""
        image_BND, text_BTD, seen_BT = whole
        words_BTD = self.fusion.seen_text(image_BND, self.read_texts(texts), seen_BT)
        holed_BND = self.image(pixels_BCHW, bool_masked_pos=hidden_BP).last_hidden_state
        painted_BPK = self.pixels_head(self.fusion.seen_image(holed_BND, text_BTD, seen_BT)[:, 1:])
        return {"words": filled_in_sum(self.words_head, words_BTD, texts["targets"]),
                "pixels": hidden_patch_sum(painted_BPK, patches_of(pixels_BCHW, self.options.patch), hidden_BP)}

    def read(self, pixels_BCHW: Tensor, texts: Batch) -> States:
        """What each encoder makes of its own."""
        return self.image(pixels_BCHW).last_hidden_state, self.read_texts(texts), texts["segments"] > 0

    def read_texts(self, texts: Batch) -> Tensor:
        """The states of texts, (B, T, D)."""
        return self.text(input_ids=texts["tokens"], attention_mask=(texts["segments"] > 0).long()).last_hidden_state

    def matched(self, states: States) -> Tensor:
        """The logit (B,) of each pair, by the class tokens of both encoders that look across."""
        image_BND, text_BTD, seen_BT = states
        return self.matching_head(self.fusion.seen_image(image_BND, text_BTD, seen_BT)[:, 0],
                                  self.fusion.seen_text(image_BND, text_BTD, seen_BT)[:, 0])

    def match(self, pixels_BCHW: Tensor, texts: Batch) -> Tensor:
        """log p(they belong together) - log p(they do not)."""
        return self.matched(self.read(pixels_BCHW, texts))


SYSTEM = MaskVlm
