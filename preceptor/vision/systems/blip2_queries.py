"""BLIP-2's first stage (Li et al. 2023, arXiv 2301.12597, section 3.2): a Q-Former learns to see beside a frozen tower.

Three losses with one trunk and three masks: contrast, match, write. transformers has the networks and no training code
for them; where the paper leaves something open, this is as the authors' code has it: the most alike query counts for a
pair, match is a mean over queries, and what does not belong together is drawn by likeness (a tenth of it alike, unlike
there: data/pictures/pretext.py says why).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from preceptor.data.batches import IGNORE, Batch
from preceptor.data.pictures.pretext import mismatched
from preceptor.losses.image_text import softmax_sum
from preceptor.losses.likelihood import cross_entropy_sum
from preceptor.models.vision.connectors import QueryFormer
from preceptor.models.vision.match import Scale
from preceptor.models.vision.querying import Mask, Words, Writer, who_sees_whom
from preceptor.models.vision.towers import patch_states
from preceptor.vision.splice import tower_for
from preceptor.vision.splice_options import QueryPretrainingOptions
from preceptor.vision.system import ROWS, Sums, System, in_parts, positives, unit


class Blip2Queries(System):
    """Its parts `image` and `fusion` are those of the second stage."""

    options_class = QueryPretrainingOptions

    def __init__(self, options: QueryPretrainingOptions, tokenizer: Any, size: int, sources: dict[str, Path]) -> None:
        super().__init__(options, tokenizer, size, sources)
        width, words = options.query_width, len(tokenizer)
        self.image = tower_for(sources, options, size)
        self.fusion = QueryFormer(self.image.config.hidden_size, options.queries, width, options.query_layers,
                                  options.heads)
        self.text = Words(words, options.text_length, width)
        self.heads = nn.ModuleDict({"image": nn.Linear(width, options.vector), "text": nn.Linear(width, options.vector),
                                    "match": nn.Linear(width, 2), "write": Writer(words, width)})
        self.scale = Scale(start=1 / 0.07, most=100)

    def losses(self, batch: Batch) -> Sums:
        patches, seen = patch_states(self.image, batch["pixels"]), batch["segments"] > 0
        true_BB, tokens = positives(batch), batch["tokens"]
        logits_BB = self.scale() * self.cosines(*self.vectors(patches, tokens, seen))
        own = torch.arange(batch.count, device=tokens.device)
        (pictures, wrong_texts), (texts, wrong_pictures) = mismatched(true_BB, logits_BB), mismatched(true_BB.T,
                                                                                                      logits_BB.T)
        rows, others = torch.cat([own, wrong_pictures, pictures]), torch.cat([own, texts, wrong_texts])
        judged = self.matches(patches[rows], tokens[others], seen[others])
        belongs = (torch.arange(len(rows), device=tokens.device) < batch.count).long()
        return {"contrast": (softmax_sum(logits_BB, true_BB, self.options.smoothing), batch.count),
                "match": (cross_entropy(judged, belongs, reduction="sum"), len(rows)),
                "write": self.written(patches, batch)}

    def _states(self, mask: Mask, patches_BTS: Tensor, tokens_BL: Tensor, seen_BL: Tensor) -> tuple[Tensor, Tensor]:
        """States of the queries (B, N, Q) and of the words (B, L, Q) under one of the masks."""
        queries = self.options.queries
        states = self.fusion(patches_BTS, self.text(tokens_BL), who_sees_whom(mask, queries, seen_BL))
        return states[:, :queries], states[:, queries:]

    def vectors(self, patches_BTS: Tensor, tokens_BL: Tensor, seen_BL: Tensor) -> tuple[Tensor, Tensor]:
        """Unit vectors of the queries (B, N, V) and of the texts (B, V), neither knowing of the other."""
        queries, words = self._states("contrast", patches_BTS, tokens_BL, seen_BL)
        return unit(self.heads["image"](queries)), unit(self.heads["text"](words[:, 0]))

    def cosines(self, queries_INV: Tensor, texts_TV: Tensor) -> Tensor:
        """The cosine (I, T) of each text with the query of each picture that is most like it."""
        return torch.einsum("inv,tv->itn", queries_INV, texts_TV).amax(-1)

    def matches(self, patches_BTS: Tensor, tokens_BL: Tensor, seen_BL: Tensor) -> Tensor:
        """Logits (B, 2) of "no" and "yes, they belong together", the mean over queries."""
        return self.heads["match"](self._states("match", patches_BTS, tokens_BL, seen_BL)[0]).mean(1)

    def written(self, patches_BTS: Tensor, batch: Batch) -> tuple[Tensor, int]:
        """-log p(text | queries), summed, and of how many tokens."""
        tokens = batch["tokens"].clone()
        tokens[:, 0] = self.text.words.num_embeddings - 1
        words = self._states("write", patches_BTS, tokens, batch["segments"] > 0)[1]
        counted = batch["targets"] != IGNORE
        logits = self.heads["write"](words[counted], self.text.words)
        total, count = cross_entropy_sum(logits, batch["targets"][counted])
        return total, int(count)

    @torch.no_grad()
    def score(self, images: Tensor, texts: Sequence[str]) -> Tensor:
        """The logit of "yes" less that of "no", (images, texts)."""
        told = self.text_batch(texts)
        tokens, seen = told["tokens"], told["segments"] > 0
        patches = in_parts(lambda part: patch_states(self.image, part), images.to(tokens.device))
        pairs = torch.cartesian_prod(torch.arange(len(images)), torch.arange(len(texts))).view(-1, 2).to(tokens.device)
        found = [self.matches(patches[part[:, 0]], tokens[part[:, 1]], seen[part[:, 1]]) for part in pairs.split(ROWS)]
        no, yes = torch.cat(found).unbind(1)
        return (yes - no).view(len(images), len(texts))


SYSTEM = Blip2Queries
