"""VQ-VAE, VQ-GAN and ViT-VQGAN as rows; the game in one optimiser equals the game in two."""

from pathlib import Path

import pytest
import torch
from torch import nn

from preceptor.data.batches import Batch
from preceptor.data.pictures.store import Pictures
from preceptor.learn.optimiser import build_optimisers
from preceptor.losses.adversarial import discriminator_sum, generator_sum
from preceptor.losses.quantisation import squared_error_sum
from preceptor.models.vision.discriminator import PatchDiscriminator
from preceptor.run.errors import UserError
from preceptor.vision.generative_options import AdversarialOptions
from preceptor.vision.image_tokenizer import game
from preceptor.vision.stage import weighed
from tests.vision.conftest import Book, run_stage
from tests.vision.rows import check_row

SMALL = {"codes": 12, "code_width": 8, "halvings": 3}


def test_vq_vae_is_a_row(book: Book, tmp_path: Path) -> None:
    system = check_row("vq_vae", book, tmp_path, **SMALL)
    pictures = Pictures(book.pictures).take([0, 1, 2])
    codes = system.encode(pictures)
    assert codes.shape == (3, 16) and 0 <= codes.min() and codes.max() < 12
    torch.testing.assert_close(system.reconstruct(pictures), system.decode(codes).clamp(-1, 1))


def test_vq_gan_goes_on_from_a_vq_vae_and_sees_with_a_clip(book: Book, tmp_path: Path, tokenizer_step: Path) -> None:
    tiny = {"width": 16, "layers": 1, "heads": 2, "patch": 8, "rows": 4, "vector": 8}
    needs = {"pictures": book.pictures, "tokenizer": book.tokenizer}
    clip = run_stage("vision", tmp_path / "clip", needs, system="clip", steps=0, **tiny)
    system = check_row("vq_gan", book, tmp_path, {"start": tokenizer_step, "features": clip},
                       train="encoder, quantizer, decoder, discriminator", discriminator_channels=8, **SMALL)
    assert system.look == [None]        # opened again it paints without the CLIP


def test_vit_vqgan_is_a_row(book: Book, tmp_path: Path) -> None:
    system = check_row("vit_vqgan", book, tmp_path, discriminator_channels=8, **SMALL)
    assert system.encode(Pictures(book.pictures).take([0])).shape == (1, 16)
    found = system.quantizer.look_up(torch.arange(12)).norm(dim=1)
    torch.testing.assert_close(found, torch.ones(12))


class Sides(nn.Module):
    """A decoder and a discriminator as small as they come, with the loss of the systems."""

    weights: dict[str, float] = {}
    options = AdversarialOptions(weight_decay=0.0)

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.decoder, self.discriminator = nn.Module(), Judge()
        self.decoder.last = nn.Conv2d(3, 3, 3, padding=1)

    def losses(self, batch: Batch) -> dict:
        drawn = self.decoder.last(batch["pixels"])
        pixels = squared_error_sum(drawn, batch["pixels"])
        return {"pixels": (pixels, batch.count)} | game(self, batch, drawn, pixels)


class Judge(nn.Sequential):
    """A discriminator of one layer and its two views."""

    def __init__(self) -> None:
        super().__init__(nn.Conv2d(3, 4, 3), nn.LeakyReLU(0.2), nn.Conv2d(4, 1, 3), nn.Flatten())

    judging = PatchDiscriminator.judging


def batch_of(number: int) -> Batch:
    pixels = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(number))
    return Batch({"pixels": pixels}, [1] * 4, [[]] * 4)


def test_one_optimiser_plays_both_sides_as_two_would() -> None:
    """Each loss moves one side alone, so the sum's gradient is both, and Adam's state is each weight's own."""
    ours, theirs = Sides(), Sides()
    options = ours.options
    (single,) = build_optimisers(ours, options, {})
    for group in single.param_groups:
        group["lr"] = options.learning_rate
    settings = {"lr": options.learning_rate, "betas": (options.beta1, options.beta2), "eps": options.epsilon,
                "weight_decay": 0.0}
    two = [torch.optim.AdamW(side.parameters(), **settings) for side in (theirs.decoder, theirs.discriminator)]
    for number in range(5):
        batch = batch_of(number)
        loss, count, _ = weighed(ours, batch)
        single.zero_grad()
        (loss / count).backward()
        single.step()

        pixels, last = batch["pixels"], theirs.decoder.last.weight
        drawn = theirs.decoder.last(pixels)
        rebuilt = squared_error_sum(drawn, pixels) / 4
        fooled = generator_sum(theirs.discriminator(drawn)) / 4
        pulls = [torch.autograd.grad(one, last, retain_graph=True)[0].norm() for one in (rebuilt, fooled)]
        balance = options.adversarial * (pulls[0] / (pulls[1] + 1e-4)).detach()
        of_decoder = torch.autograd.grad(rebuilt + balance * fooled, list(theirs.decoder.parameters()))
        judged = discriminator_sum(theirs.discriminator(pixels), theirs.discriminator(drawn.detach())) / 4
        of_judge = torch.autograd.grad(judged, list(theirs.discriminator.parameters()))
        for side, found in ((theirs.decoder, of_decoder), (theirs.discriminator, of_judge)):
            for weight, gradient in zip(side.parameters(), found):
                weight.grad = gradient
        for optimiser in two:
            optimiser.step()
    for (name, mine), other in zip(ours.named_parameters(), theirs.parameters()):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-6, msg=name)


def test_a_frozen_decoder_cannot_play() -> None:
    sides = Sides()
    sides.decoder.requires_grad_(False)
    with pytest.raises(UserError, match="decoder is frozen"):
        weighed(sides, batch_of(0))
