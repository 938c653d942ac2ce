"""The autoregressive generative classifier: log p(codes of the picture | text), the codes one after another.

Parti-style (Yu et al. 2022, arXiv 2206.10789, section 2), with a decoder alone; used by Bayes' rule as a classifier.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from preceptor.data.batches import Batch
from preceptor.generate.decoder import Sampling
from preceptor.models.causal import build_llama
from preceptor.models.vision.code_writer import behind, code_log_probs, only_codes
from preceptor.vision.generative import some_without_text, written_codes
from preceptor.vision.generative_options import AutoregressiveOptions
from preceptor.vision.system import ROWS, Sums
from preceptor.vision.systems.vq_vae import VqVae


class Autoregressive(VqVae):
    """The frozen parts of a VQ-VAE (or VQ-GAN: `start`) and the language model over its codes."""

    options_class = AutoregressiveOptions
    reads = "captions"

    def __init__(self, options: AutoregressiveOptions, tokenizer: Any, size: int, sources: dict[str, Path]) -> None:
        super().__init__(options, tokenizer, size, sources)
        self.places = (size // 2**options.halvings) ** 2
        self.language_model = build_llama(
            vocabulary=len(tokenizer) + options.codes, width=options.width, layers=options.layers, heads=options.heads,
            feed_forward=3 * options.width, context=options.text_length + self.places, end=tokenizer.eos_token_id,
            pad=tokenizer.pad_token_id)
        only_codes(self.language_model, len(tokenizer))

    def losses(self, batch: Batch) -> Sums:
        codes_BT = self.encode(batch["pixels"])
        texts = some_without_text(batch, self.options.unconditional, self.text_batch([""]))
        return {"codes": (-self._log_probs(codes_BT, texts).sum(), codes_BT.numel())}

    def score(self, images: Tensor, texts: Sequence[str]) -> Tensor:
        """log p(picture | text) - log p(picture) in nats: p(picture) is that behind the empty text. It changes no order
        within a row, and makes pictures comparable for one text."""
        return self.log_likelihoods(images, texts) - self.log_likelihoods(images, [""])

    @torch.no_grad()
    def log_likelihoods(self, images: Tensor, texts: Sequence[str]) -> Tensor:
        """log p(codes of the picture | text), (images, texts), in nats."""
        codes_IT = self.encode(images)
        found = []
        for text in texts:
            parts = [self._log_probs(part, self.text_batch([text] * len(part))) for part in codes_IT.split(ROWS)]
            found.append(torch.cat(parts))
        return torch.stack(found, 1)

    def draw(self, texts: Sequence[str], seed: int = 0) -> Tensor:
        """A picture for each text, (texts, 3, H, W), written by the decoding engine."""
        prompts = [self.example("", text).tokens for text in texts]
        sampling = Sampling(max_tokens=self.places, top_k=self.options.top_k)
        codes = written_codes(self.language_model, self.tokenizer, prompts, sampling, seed)
        return self.decode(codes - len(self.tokenizer)).clamp(-1, 1)

    def _log_probs(self, codes_BT: Tensor, texts: Batch) -> Tensor:
        tokens_BN, targets_BN = behind(texts["tokens"], texts["segments"] > 0, codes_BT, len(self.tokenizer))
        return code_log_probs(self.language_model, tokens_BN, targets_BN)


SYSTEM = Autoregressive
