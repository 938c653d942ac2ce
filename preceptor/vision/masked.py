"""What masked systems share: holes in texts, and classes of patches by an image tokenizer that stays as it is."""

from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from preceptor.data.batches import IGNORE
from preceptor.data.masking import Masking
from preceptor.losses.likelihood import cross_entropy_sum
from preceptor.run.errors import UserError
from preceptor.tokenizer.special import mask_token
from preceptor.vision.image_tokenizer import ImageTokenizer


def word_masking(tokenizer: Any, share: float) -> Masking:
    """Holes for this share of a text's tokens, never in special ones; the tokenizer gets a mask where it has none."""
    mask = mask_token(tokenizer, add=True)
    special = {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    return Masking(mask=mask, pad=tokenizer.pad_token_id, vocabulary=len(tokenizer), share=share,
                   special=frozenset(special | set(tokenizer.all_special_ids)))


def filled_in_sum(head: nn.Module, states_BND: Tensor, targets_BN: Tensor) -> tuple[Tensor, int]:
    """-log p of what was hidden, summed, and how many places that are (1 where there is none, with a sum of 0).

    Args:
        head: from states (places, D) to logits (places, V).
        targets_BN: what was there, IGNORE where nothing is hidden.
    """
    hidden_BN = targets_BN != IGNORE
    total, count = cross_entropy_sum(head(states_BND[hidden_BN]), targets_BN[hidden_BN])
    return total, max(int(count), 1)


class PatchClasses:
    """The classes of patches, in place of a detector's of regions or of DALL-E's tokenizer: the codes of an image
    tokenizer, the step's input `quantizer`. It neither learns nor is saved with what learns from it."""

    def __init__(self, source: Path, size: int, patch: int, codes: int) -> None:
        """Raises:
            UserError: that is no image tokenizer, or not one with `codes` codes and a code for every patch.
        """
        from preceptor.vision.keep import load_system
        tokenizer = load_system(source)
        if not isinstance(tokenizer, ImageTokenizer):
            raise UserError(f"The {tokenizer.options.system} in '{source}' gives patches no classes.",
                            "Name a step with an image tokenizer, such as vq_vae, as 'quantizer'.")
        self.tokenizer = tokenizer.requires_grad_(False)
        blank = torch.zeros(1, 3, size, size)
        places = self.tokenizer.encode(blank).shape[1] if size == tokenizer.size else 0
        if places != (size // patch) ** 2 or tokenizer.options.codes != codes:
            raise UserError(f"The image tokenizer in '{source}' has {tokenizer.options.codes} codes, {places} in a "
                            f"picture of {size} pixels; here are {(size // patch) ** 2} patches of {codes} classes.",
                            "Give both the same pictures and 'codes'; 'halvings' of 3 goes with a 'patch' of 8.")

    @classmethod
    def given(cls, sources: dict[str, Path], size: int, options: Any) -> Self | None:
        """Those of the input `quantizer`; None for a system that is opened again to be used and not to learn."""
        return cls(sources["quantizer"], size, options.patch, options.codes) if "quantizer" in sources else None

    def codes(self, pixels_BCHW: Tensor) -> Tensor:
        """The code of each patch, (B, P), row by row."""
        return self.tokenizer.encode(pixels_BCHW)

    @torch.no_grad()
    def logits(self, pixels_BCHW: Tensor) -> Tensor:
        """How well each code fits each patch, (B, P, V), as logits of a distribution over codes.

        Patches are taken for draws from a mixture of round Gaussians about the codes, whose variance is what the
        nearest codes leave of these patches: -D |z - e|^2 / (2 mean |z - nearest e|^2).
        """
        quantizer = self.tokenizer.quantizer
        states_BPD = quantizer.measured(quantizer.inward(self.tokenizer.encoder(pixels_BCHW)))
        codes_VD = quantizer.look_up(torch.arange(len(quantizer.sizes), device=states_BPD.device))
        away_BPV = torch.cdist(states_BPD, codes_VD.expand(len(states_BPD), -1, -1)) ** 2
        left = away_BPV.amin(-1).mean().clamp(min=1e-9)
        return -away_BPV * states_BPD.shape[-1] / (2 * left)
