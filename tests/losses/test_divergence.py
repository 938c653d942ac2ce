"""Every entry of the table in losses/divergence.py, proved by enumerating a small vocabulary."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from preceptor.losses.divergence import adapted_coefficient, full_kl, k1, k2, k3


def two_policies(seed=0, size=6):
    draw = torch.Generator().manual_seed(seed)
    p, q = torch.randn(2, size, generator=draw, dtype=torch.float64)
    return p.requires_grad_(), q


def gradients_of_kl(logits_p, logits_q):
    """grad KL(p || q) and grad KL(q || p) with respect to the logits of p, from the definition."""
    log_p, log_q = logits_p.log_softmax(-1), logits_q.log_softmax(-1)
    forward = (log_p.exp() * (log_p - log_q)).sum()
    reverse = (log_q.exp() * (log_q - log_p)).sum()
    return torch.autograd.grad(forward, logits_p, retain_graph=True)[0], torch.autograd.grad(reverse, logits_p)[0]


def in_loss(estimator, logits_p, logits_q):
    """Expected gradient when the estimator is differentiated at samples from p."""
    log_p, log_q = logits_p.log_softmax(-1), logits_q.log_softmax(-1)
    return torch.autograd.grad((log_p.exp().detach() * estimator(log_p - log_q)).sum(), logits_p)[0]


def in_reward(estimator, logits_p, logits_q):
    """Expected gradient when the estimator weighs grad log p(x), as a constant."""
    log_p, log_q = logits_p.log_softmax(-1), logits_q.log_softmax(-1)
    weight = (log_p.exp() * estimator(log_p - log_q)).detach()
    return torch.autograd.grad((weight * log_p).sum(), logits_p)[0]


def same(found, expected):
    return torch.allclose(found, expected, atol=1e-12, rtol=0)


def test_values():
    p, q = two_policies()
    log_p, log_q = p.log_softmax(-1), q.log_softmax(-1)
    weights, ratio = log_p.exp(), log_p - log_q
    kl = full_kl(p, q).item()
    assert (weights * k1(ratio)).sum().item() == pytest.approx(kl, abs=1e-12)
    assert (weights * k3(ratio)).sum().item() == pytest.approx(kl, abs=1e-12)
    assert abs((weights * k2(ratio)).sum().item() - kl) > 1e-3  # biased
    assert (k3(ratio) >= 0).all() and (k1(ratio) < 0).any()


def test_gradients_in_the_loss():
    p, q = two_policies()
    right, other = gradients_of_kl(p, q)
    assert not same(right, other) and right.abs().max() > 0.01
    assert same(in_loss(k1, p, q), torch.zeros_like(right))
    assert same(in_loss(k2, p, q), right)
    assert same(in_loss(k3, p, q), other)
    assert same(torch.autograd.grad(full_kl(p, q), p)[0], right)


def test_gradients_in_the_reward():
    p, q = two_policies()
    right, other = gradients_of_kl(p, q)
    assert same(in_reward(k1, p, q), right)
    assert not same(in_reward(k2, p, q), right)
    assert same(in_reward(k3, p, q), right - other)


@settings(max_examples=30, deadline=None)
@given(st.floats(-5, 5))
def test_estimators_equal_their_formulas(r):
    ratio = torch.tensor(r, dtype=torch.float64)
    assert k1(ratio).item() == r
    assert k2(ratio).item() == pytest.approx(r * r / 2)
    assert k3(ratio).item() == pytest.approx(math.exp(-r) - 1 + r, abs=1e-12)


def test_k3_keeps_small_values_in_single_precision():
    assert k3(torch.tensor(1e-3)).item() == pytest.approx(0.5e-6, rel=1e-3)


def test_full_kl_is_that_of_torch_at_every_position():
    draw = torch.Generator().manual_seed(1)
    p, q = torch.randn(2, 3, 4, 9, generator=draw, dtype=torch.float64)
    categorical = torch.distributions.Categorical
    expected = torch.distributions.kl_divergence(categorical(logits=p), categorical(logits=q))
    torch.testing.assert_close(full_kl(p, q), expected, atol=1e-12, rtol=0)
    torch.testing.assert_close(full_kl(p, p), torch.zeros(3, 4, dtype=torch.float64))
    assert full_kl(p.bfloat16(), q.bfloat16()).dtype == torch.float32


def test_full_kl_with_forbidden_tokens():
    banned = torch.tensor([0.0, 0.0, -torch.inf], dtype=torch.float64, requires_grad=True)
    free = torch.zeros(3, dtype=torch.float64)
    value = full_kl(banned, free)
    assert value.item() == pytest.approx(math.log(3 / 2), abs=1e-12)
    value.backward()
    assert torch.isfinite(banned.grad).all()
    assert full_kl(banned, banned).item() == 0
    assert full_kl(free, banned).item() == math.inf


def test_the_adapted_coefficient_by_hand_and_within_a_fifth():
    """Ziegler et al. 2019: KL 6.6 against a target of 6 is an error of 0.1."""
    assert adapted_coefficient(0.1, 6.6, 500, 6, 10_000) == pytest.approx(0.1 * (1 + 0.1 * 500 / 10_000))
    assert adapted_coefficient(0.1, 60, 500, 6, 10_000) == pytest.approx(0.1 * (1 + 0.2 * 500 / 10_000))
    assert adapted_coefficient(0.1, -3, 500, 6, 10_000) == pytest.approx(0.1 * (1 - 0.2 * 500 / 10_000))
    assert adapted_coefficient(0.1, 6, 500, 6, 10_000) == 0.1


def test_the_adapted_coefficient_brings_the_divergence_to_its_target():
    """A policy whose divergence is 1 / beta, as that of a Gaussian policy in a linear reward is."""
    coefficient = 5.0
    for _ in range(400):
        coefficient = adapted_coefficient(coefficient, 1 / coefficient, 64, 2.0, 640)
    assert 1 / coefficient == pytest.approx(2.0, rel=1e-3)
