"""Losses of image tokenizers: beta on the right term, closed forms, and the reference of diffusers."""

import math

import pytest
import torch
from torch import Tensor

from preceptor.losses.adversarial import adaptive_weight, discriminator_sum, generator_sum
from preceptor.losses.quantisation import codebook_sum, logit_laplace_sum, squared_error_sum, straight_through


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_beta_weighs_the_commitment_and_not_the_codebook() -> None:
    """The bug of taming-transformers, Chameleon and diffusers' default: beta on the codebook's term."""
    states, codes = draw(3, 5, 4).requires_grad_(), draw(3, 5, 4, seed=1).requires_grad_()
    loss = codebook_sum(states, codes, beta=0.1)
    of_states, of_codes = torch.autograd.grad(loss, (states, codes))
    away = 2 * (codes - states).detach() / (5 * 4)
    torch.testing.assert_close(of_codes, away, rtol=1e-12, atol=0)
    torch.testing.assert_close(of_states, -0.1 * away, rtol=1e-12, atol=0)
    only = codebook_sum(states, codes, beta=0.1, learn_codes=False)
    assert torch.autograd.grad(only, codes, allow_unused=True)[0] is None
    assert only.item() == pytest.approx(loss.item() * 0.1 / 1.1, rel=1e-12)


@pytest.mark.parametrize("beta", [0.25, 1.5])
def test_quantizer_loss_equals_that_of_diffusers_without_its_bug(beta: float) -> None:
    vae = pytest.importorskip("diffusers.models.autoencoders.vae", reason="diffusers is not installed")
    torch.manual_seed(0)
    theirs = vae.VectorQuantizer(16, 4, beta=beta, legacy=False)
    states = draw(2, 4, 3, 3).float().requires_grad_()
    _, loss, (_, _, indices) = theirs(states)
    rows = states.flatten(2).transpose(1, 2)
    codes = theirs.embedding(indices.view(2, 9))
    ours = codebook_sum(rows, codes, beta) / 2
    torch.testing.assert_close(ours, loss, rtol=1e-6, atol=0)
    leaves = (states, theirs.embedding.weight)
    torch.testing.assert_close(torch.autograd.grad(ours, leaves, retain_graph=True), torch.autograd.grad(loss, leaves),
                               rtol=1e-4, atol=1e-8)


def test_the_gradient_passes_straight_through() -> None:
    states, codes = draw(2, 3, 4).requires_grad_(), draw(2, 3, 4, seed=1).requires_grad_()
    through = straight_through(states, codes)
    torch.testing.assert_close(through, codes, rtol=1e-12, atol=1e-12)
    weights = draw(2, 3, 4, seed=2)
    of_states, of_codes = torch.autograd.grad((through * weights).sum(), (states, codes), allow_unused=True)
    assert torch.equal(of_states, weights) and of_codes is None


def test_logit_laplace_is_a_density_of_the_pixels() -> None:
    """Summed over all pixel values it is one, wherever its peak and however wide, so the loss is a true -log p."""
    margin = 0.1
    inner = torch.linspace(0, 1, 400_002, dtype=torch.float64)[1:-1]       # y, of which the pixel is a linear map
    pixels = ((inner - margin) / (1 - 2 * margin)).view(-1, 1, 1, 1)
    for location, log_scale in ((0.0, 0.0), (1.3, -1.0), (-2.0, 0.4)):
        nats = torch.stack([logit_laplace_sum(torch.full((1, 1, 1, 1), location, dtype=torch.float64), one[None],
                                              log_scale, margin) for one in pixels[::4000]])
        whole = torch.tensor([math.exp(-abs(math.log(y / (1 - y)) - location) / math.exp(log_scale))
                              / (2 * math.exp(log_scale) * y * (1 - y)) for y in inner[::4000].tolist()])
        torch.testing.assert_close((-nats).exp(), whole.double(), rtol=1e-5, atol=0)
        dense = (-(inner.logit() - location).abs() / math.exp(log_scale)).exp() / (2 * math.exp(log_scale)
                                                                                  * inner * (1 - inner))
        assert torch.trapezoid(dense, inner).item() == pytest.approx(1, abs=2e-3)


def test_sums_are_over_images_of_means_within_one() -> None:
    images, others = draw(3, 2, 4, 4), draw(3, 2, 4, 4, seed=1)
    assert squared_error_sum(images, others).item() == pytest.approx(
        sum(((images[n] - others[n]) ** 2).mean().item() for n in range(3)), rel=1e-12)


def test_hinge_losses_stop_where_the_margin_is_kept() -> None:
    real = torch.tensor([[2.0, 0.5], [1.0, -1.0]])
    fake = torch.tensor([[-3.0, 0.0], [-1.0, 2.0]])
    # by hand: real (0 + .5) / 2 and (0 + 2) / 2, fake (0 + 1) / 2 and (0 + 3) / 2; halved
    assert discriminator_sum(real, fake).item() == pytest.approx((0.25 + 1 + 0.5 + 1.5) / 2)
    assert generator_sum(fake).item() == pytest.approx(1.5 - 0.5)


def test_with_the_adaptive_weight_both_losses_pull_equally_hard_at_the_last_layer() -> None:
    last = draw(4, 4).requires_grad_()
    output = draw(6, 4) @ last
    reconstruction, adversarial = ((output - 1) ** 2).mean(), 0.003 * output.sin().sum()
    weight = adaptive_weight(reconstruction, adversarial, last)
    pulls = [torch.autograd.grad(loss, last, retain_graph=True)[0].norm() for loss in
             (reconstruction, weight * adversarial)]
    assert not weight.requires_grad
    assert pulls[1].item() == pytest.approx(pulls[0].item(), rel=2e-2)      # but for the 1e-4 in the denominator
    assert adaptive_weight(reconstruction, 0 * adversarial, last, most=50.0).item() == 50
