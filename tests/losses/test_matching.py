"""Matching and hidden patches against closed forms, plain loops and transformers' masked image modelling."""

import math

import pytest
import torch

from preceptor.losses.matching import hidden_patch_sum, matching_sum


def test_matching_is_the_likelihood_of_yes_and_no() -> None:
    logits, true = torch.tensor([2.0, -1.0, 0.0, 3.0]), torch.tensor([True, False, True, False])
    expected = sum(math.log1p(math.exp(-value if yes else value)) for value, yes in zip(logits.tolist(), true.tolist()))
    assert matching_sum(logits, true).item() == pytest.approx(expected, rel=1e-6)
    assert matching_sum(torch.tensor([60.0, -60.0]), torch.tensor([True, False])).item() == pytest.approx(0, abs=1e-12)
    assert matching_sum(torch.tensor([-60.0]), torch.tensor([True])).item() == pytest.approx(60)  # no overflow to inf


def test_only_hidden_patches_count() -> None:
    draw = torch.Generator().manual_seed(0)
    predicted, patches = (torch.randn(3, 4, 12, generator=draw, dtype=torch.float64) for _ in range(2))
    predicted.requires_grad_()
    hidden = torch.tensor([[1, 0, 1, 0], [0, 0, 0, 1], [1, 1, 1, 1]]).bool()
    total, count = hidden_patch_sum(predicted, patches, hidden)
    expected = sum((predicted[b, p] - patches[b, p]).abs().sum().item() / 12
                   for b in range(3) for p in range(4) if hidden[b, p])
    assert count == 7 and total.item() == pytest.approx(expected, rel=1e-12)
    assert ((torch.autograd.grad(total, predicted)[0] != 0).all(-1) == hidden).all()


def test_hidden_pixels_equal_masked_image_modelling_of_transformers() -> None:
    from transformers import ViTConfig, ViTForMaskedImageModeling

    from preceptor.models.vision.fusion import patches_of
    torch.manual_seed(0)
    theirs = ViTForMaskedImageModeling(ViTConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
                                                 intermediate_size=32, image_size=16, patch_size=4, encoder_stride=4))
    pixels, hidden = torch.randn(2, 3, 16, 16), torch.rand(2, 16) < 0.6
    out = theirs(pixels, bool_masked_pos=hidden)
    total, count = hidden_patch_sum(patches_of(out.reconstruction, 4), patches_of(pixels, 4), hidden)
    torch.testing.assert_close(total / count, out.loss, rtol=1e-6, atol=1e-6)
