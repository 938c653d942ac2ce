"""What image tokenizers share: pictures to codes and back, their losses, and the game against a discriminator."""

from typing import Any

import torch
from torch import Tensor, nn

from preceptor.data.batches import Batch
from preceptor.losses.adversarial import adaptive_weight, discriminator_sum, generator_sum
from preceptor.losses.quantisation import codebook_sum, squared_error_sum
from preceptor.models.vision.discriminator import judged_apart
from preceptor.models.vision.quantizer import Quantised
from preceptor.run.errors import UserError
from preceptor.vision.system import Sums, System, in_parts, unit


class ImageTokenizer(System):
    """Has the parts `encoder`, `quantizer` and `decoder`. It reads no text, so it has no `score`."""

    reads = "pictures"
    encoder: nn.Module
    quantizer: nn.Module
    decoder: nn.Module

    def painted(self, pixels_BCHW: Tensor) -> tuple[Quantised, Tensor]:
        """The codes of pictures, and what the decoder makes of them, with gradients."""
        found = self.quantizer(self.encoder(pixels_BCHW))
        return found, self.decoder(found.vectors)

    def codebook_loss(self, found: Quantised) -> Tensor:
        """The codebook's sum over a batch."""
        return codebook_sum(found.states, found.codes, self.options.commitment, self.options.codebook == "gradient")

    def pictures_of(self, painted: Tensor) -> Tensor:
        """The decoder's output as pictures."""
        return painted

    def encode(self, images: Tensor) -> Tensor:
        """Codes (I, T), row by row."""
        device = next(self.parameters()).device
        return in_parts(lambda part: self.quantizer.encode(self.encoder(part.to(device))), images)

    def decode(self, codes: Tensor) -> Tensor:
        """Pictures (I, 3, H, W) of codes."""
        return in_parts(lambda part: self.pictures_of(self.decoder(self.quantizer.decode(part))), codes)

    def reconstruct(self, images: Tensor) -> Tensor:
        """Pictures to codes and back."""
        return self.decode(self.encode(images)).clamp(-1, 1)


def features_of(sources: dict[str, Any]) -> nn.Module | None:
    """The frozen image tower of the step's input `features`, a system with one such as CLIP; None without the input.

    Raises:
        UserError: that system has no image tower.
    """
    if "features" not in sources:
        return None
    from preceptor.vision.keep import load_system
    tower = getattr(load_system(sources["features"]), "image", None)
    if tower is None:
        raise UserError(f"'{sources['features']}' has no image tower to look through.", "Name a step with a CLIP.")
    return tower.requires_grad_(False)


def perceptual_sum(tower: nn.Module, predicted_BCHW: Tensor, images_BCHW: Tensor) -> Tensor:
    """sum over images of the mean, over the tower's blocks, of the squared distance of unit features (Zhang et al.
    2018, arXiv 1801.03924, equation 1, with a tower of ours in place of VGG and all weights 1)."""
    ours, theirs = (tower(one, output_hidden_states=True).hidden_states[1:] for one in (predicted_BCHW, images_BCHW))
    width = ours[0].shape[-1]
    return sum(width * squared_error_sum(unit(one), unit(other)) for one, other in zip(ours, theirs)) / len(ours)


def game(system: ImageTokenizer, batch: Batch, drawn: Tensor, reconstruction: Tensor) -> Sums:
    """Both sides of the game in one pass: each loss moves its own side alone, so that one optimiser with a state for
    every weight is two optimisers that step at once.

    `reconstruction` is the sum whose pull on the decoder's last layer the generator's loss is balanced against.

    Raises:
        UserError: the decoder is frozen, so there is no such pull.
    """
    count, options, last = batch.count, system.options, system.decoder.last.weight
    if not last.requires_grad:
        raise UserError("The decoder is frozen, and a game needs two sides that learn.",
                        "Let 'train' name encoder, quantizer, decoder and discriminator, or take vq_vae.")
    fooled = generator_sum(system.discriminator.judging(drawn))
    balance = adaptive_weight(reconstruction / count, fooled / count, last) if torch.is_grad_enabled() else 1.0
    verdicts = judged_apart(system.discriminator, batch["pixels"], drawn)
    return {"generator": (options.adversarial * balance * fooled, count),
            "discriminator": (discriminator_sum(*verdicts), count)}
