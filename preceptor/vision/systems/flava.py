"""FLAVA (Singh et al. 2022, arXiv 2112.04482): an encoder of pictures, one of texts, one over both, and six losses."""

from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from preceptor.data.batches import IGNORE, Batch
from preceptor.data.pictures.pretext import hidden_patches, hidden_words, mismatched
from preceptor.losses.image_text import clip_sum
from preceptor.losses.likelihood import cross_entropy_sum
from preceptor.models.vision.fusion import flava_masked_head, flava_matching_head, flava_towers
from preceptor.models.vision.match import Scale
from preceptor.vision.fusion_options import FlavaOptions
from preceptor.vision.masked import PatchClasses, filled_in_sum, word_masking
from preceptor.vision.system import Sums, TwoTowers, positives, unit


class Holes(NamedTuple):
    """What a batch's losses are of: texts with holes, codes (B, P) of the hidden patches and IGNORE for the others, and
    pairs that do not belong together, as rows of pictures and rows of texts."""

    texts: Batch
    codes_BP: Tensor
    wrong_pictures: Tensor
    wrong_texts: Tensor


class Flava(TwoTowers):
    """Every pair of a batch is also a picture by itself and a text by itself, so that all six losses are there in each
    step; the paper takes pictures and texts without partners from other data, in turn with pairs."""

    options_class = FlavaOptions

    def __init__(self, options: FlavaOptions, tokenizer: Any, size: int, sources: dict[str, Path]) -> None:
        super().__init__(options, tokenizer, size, sources)
        self.masking = word_masking(tokenizer, options.hidden_words)
        self.image, self.text, self.fusion = flava_towers(options, tokenizer, size, options.codes,
                                                          options.fusion_layers)
        self.image_vector, self.text_vector = (nn.Linear(options.width, options.vector) for _ in range(2))
        self.image_bridge, self.text_bridge = (nn.Linear(options.width, options.width) for _ in range(2))
        self.codes_head, self.fused_codes_head = (flava_masked_head(self.image.config) for _ in range(2))
        self.words_head, self.fused_words_head = (flava_masked_head(self.text.config) for _ in range(2))
        self.matching_head = flava_matching_head(self.fusion.config)
        self.scale = Scale(start=1 / 0.07, most=100)
        self.classes = PatchClasses.given(sources, size, options)

    def image_vectors(self, pixels_BCHW: Tensor) -> Tensor:
        return unit(self.image_vector(self.image(pixels_BCHW).last_hidden_state[:, 0]))

    def text_vectors(self, batch: Batch) -> Tensor:
        seen_BT = (batch["segments"] > 0).long()
        states_BTD = self.text(input_ids=batch["tokens"], attention_mask=seen_BT).last_hidden_state
        return unit(self.text_vector(states_BTD[:, 0]))

    def losses(self, batch: Batch) -> Sums:
        pixels = batch["pixels"]
        hidden_BP = hidden_patches(len(pixels), (self.size // self.options.patch) ** 2, self.options.hidden_patches,
                                   pixels.device)
        codes_BP = self.classes.codes(pixels).masked_fill(~hidden_BP, IGNORE)
        holes = Holes(hidden_words(batch, self.masking), codes_BP, *mismatched(positives(batch)))
        return {"contrast": self.contrast(batch)} | self.masked(pixels, holes)

    def contrast(self, batch: Batch) -> tuple[Tensor, int]:
        """The dot product's loss, of pictures and texts without holes."""
        images_BV, texts_BV = self.image_vectors(batch["pixels"]), self.text_vectors(batch)
        return clip_sum(images_BV, texts_BV, self.scale(), positives(batch)), batch.count

    def masked(self, pixels_BCHW: Tensor, holes: Holes) -> Sums:
        """The other five: what is hidden in a picture, in a text, in each with the other beside it, and which pairs
        belong together. Pairs that do not are asked nothing else."""
        texts, codes_BP = holes.texts, holes.codes_BP
        seen_BT, pairs = texts["segments"] > 0, torch.arange(len(pixels_BCHW), device=pixels_BCHW.device)
        image = self.image(pixels_BCHW, bool_masked_pos=codes_BP != IGNORE, output_hidden_states=True)
        text = self.text(input_ids=texts["tokens"], attention_mask=seen_BT.long(), output_hidden_states=True)
        # The states in front of the encoders' last norms go on, as in the code of the paper.
        image_BND, text_BTD = self.image_bridge(image.hidden_states[-1]), self.text_bridge(text.hidden_states[-1])
        pictures, others = torch.cat([pairs, holes.wrong_pictures]), torch.cat([pairs, holes.wrong_texts])
        fused = self.fused(image_BND[pictures], text_BTD[others], seen_BT[others])
        belongs = (torch.arange(len(others), device=pairs.device) < len(pairs)).long()
        matching, count = cross_entropy_sum(self.matching_head(fused), belongs)
        own = fused[:len(pairs)]
        patches, words = own[:, 2:1 + image_BND.shape[1]], own[:, -text_BTD.shape[1]:]
        return {"codes": filled_in_sum(self.codes_head, image.last_hidden_state[:, 1:], codes_BP),
                "words": filled_in_sum(self.words_head, text.last_hidden_state, texts["targets"]),
                "fused_codes": filled_in_sum(self.fused_codes_head, patches, codes_BP),
                "fused_words": filled_in_sum(self.fused_words_head, words, texts["targets"]),
                "matching": (matching, int(count))}

    def fused(self, image_BND: Tensor, text_BTD: Tensor, seen_BT: Tensor) -> Tensor:
        """States of the encoder over both: its class token, the picture's, the patches, the text."""
        mask = torch.nn.functional.pad(seen_BT.long(), (1 + image_BND.shape[1], 0), value=1)
        return self.fusion(torch.cat([image_BND, text_BTD], 1), attention_mask=mask).last_hidden_state


SYSTEM = Flava
