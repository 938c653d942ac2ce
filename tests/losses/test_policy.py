"""PPO's losses against loops, and its gradient against the policy gradient."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from preceptor.losses.likelihood import token_log_probs
from preceptor.losses.policy import clipped_surrogate, clipped_value_loss, policy_gradient, token_weights


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.1, 0.2, 0.5]))
def test_surrogate_equals_a_loop(seed, clip):
    old, step, advantages = -random(12, seed=seed).abs(), 0.4 * random(12, seed=seed + 1), random(12, seed=seed + 2)
    found = clipped_surrogate(old + step, old, advantages, clip)
    loss, clipped, k1, k3 = 0.0, 0, 0.0, 0.0
    for r, a in zip(step.tolist(), advantages.tolist()):
        ratio = math.exp(r)
        loss -= min(ratio * a, min(max(ratio, 1 - clip), 1 + clip) * a)
        clipped += (a > 0 and ratio > 1 + clip) or (a < 0 and ratio < 1 - clip)
        k1 += -r
        k3 += ratio - 1 - r
    assert found.loss.item() == pytest.approx(loss, abs=1e-10)
    assert (found.clipped.item(), found.count) == (clipped, 12)
    assert found.k1.item() == pytest.approx(k1, abs=1e-10)
    assert found.k3.item() == pytest.approx(k3, abs=1e-10)


@pytest.mark.parametrize(
    ("ratio", "advantage", "moves"),
    [(1.5, 1.0, False), (1.5, -1.0, True), (0.5, 1.0, True), (0.5, -1.0, False), (1.1, 1.0, True), (0.9, -1.0, True)],
)
def test_the_clip_stops_only_steps_that_have_gone_far_enough(ratio, advantage, moves):
    log_probs = torch.tensor([math.log(ratio)], dtype=torch.float64, requires_grad=True)
    found = clipped_surrogate(log_probs, torch.zeros(1).double(), torch.tensor([advantage]).double())
    found.loss.backward()
    assert log_probs.grad.item() == pytest.approx(-ratio * advantage if moves else 0.0)
    assert found.clipped.item() == (not moves)


def test_at_ratio_one_the_gradient_is_the_policy_gradient():
    logits, tokens = random(8, 5).requires_grad_(), torch.arange(8) % 5
    advantages = random(8, seed=1)
    log_probs = token_log_probs(logits, tokens)
    surrogate, = torch.autograd.grad(
        clipped_surrogate(log_probs, log_probs.detach(), advantages).loss, logits, retain_graph=True
    )
    policy_gradient, = torch.autograd.grad(-(advantages * log_probs).sum(), logits)
    torch.testing.assert_close(surrogate, policy_gradient, atol=1e-14, rtol=0)
    # By hand: d log p(x) / d logit_v = [v = x] - p(v). A wrong sign would lower the good tokens.
    by_hand = -advantages[:, None] * (torch.eye(5)[tokens].double() - logits.detach().softmax(-1))
    torch.testing.assert_close(surrogate, by_hand, atol=1e-14, rtol=0)


def test_the_temperature_of_sampling_keeps_the_ratio_at_one():
    logits, tokens = random(8, 5), torch.arange(8) % 5
    old = token_log_probs(logits / 0.7, tokens)
    assert clipped_surrogate(token_log_probs(logits / 0.7, tokens), old, torch.ones(8).double()).k3 == 0
    assert clipped_surrogate(token_log_probs(logits, tokens), old, torch.ones(8).double()).k3 > 0.01


def test_surrogate_has_the_gradients_of_differences_and_only_the_policy_has_one():
    old, advantages = -random(6).abs(), random(6, seed=1)
    now = (old + 0.1 * random(6, seed=2)).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: clipped_surrogate(x, old, advantages).loss, now)
    attached, constants = old.clone().requires_grad_(), advantages.clone().requires_grad_()
    found = clipped_surrogate(now, attached, constants)
    found.loss.backward()
    assert attached.grad is None and constants.grad is None
    assert not (found.k1.requires_grad or found.k3.requires_grad or found.clipped.requires_grad)


@pytest.mark.parametrize(("ratio", "advantage", "moves"), [(1.25, 1.0, True), (1.35, 1.0, False), (0.75, -1.0, False)])
def test_the_clip_may_be_higher_above_one(ratio, advantage, moves):
    log_probs = torch.tensor([math.log(ratio)], dtype=torch.float64, requires_grad=True)
    found = clipped_surrogate(log_probs, torch.zeros(1).double(), torch.tensor([advantage]).double(), 0.2, 0.28)
    found.loss.backward()
    assert bool(log_probs.grad) == moves and found.clipped.item() == (not moves)


def test_weights_weigh_the_loss_and_nothing_else():
    old, step, advantages, w = -random(9).abs(), 0.4 * random(9, seed=1), random(9, seed=2), random(9, seed=3).abs()
    plain = clipped_surrogate(old + step, old, advantages)
    weighed = clipped_surrogate(old + step, old, advantages, weights=w)
    each = [clipped_surrogate(old[n : n + 1] + step[n : n + 1], old[n : n + 1], advantages[n : n + 1]).loss
            for n in range(9)]
    assert weighed.loss.item() == pytest.approx(sum(a.item() * b.item() for a, b in zip(w, each)), abs=1e-12)
    assert weighed[1:] == plain[1:]
    with pytest.raises(ValueError, match="without padding"):
        clipped_surrogate(old, old, advantages, weights=w[:1])


def test_the_policy_gradient_by_hand():
    logits, tokens, advantages = random(8, 5).requires_grad_(), torch.arange(8) % 5, random(8, seed=1).requires_grad_()
    policy_gradient(token_log_probs(logits, tokens), advantages).backward()
    by_hand = -advantages.detach()[:, None] * (torch.eye(5)[tokens].double() - logits.detach().softmax(-1))
    torch.testing.assert_close(logits.grad, by_hand, atol=1e-14, rtol=0)
    assert advantages.grad is None


def test_token_weights_make_the_averages_of_their_definitions():
    lengths, losses = [3, 1, 6], random(10).split([3, 1, 6])
    wanted = {"token": sum(float(part.sum()) for part in losses) / 10,
              "answer": sum(float(part.mean()) for part in losses) / 3,
              "constant": sum(float(part.sum()) / 20 for part in losses) / 3}
    for averaging, value in wanted.items():
        weights = token_weights(torch.tensor(lengths), averaging, 20)
        found = sum(float(weight * part.sum()) for weight, part in zip(weights, losses)) / 10
        assert found == pytest.approx(value, rel=1e-6), averaging


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.1, 0.2, math.inf]))
def test_value_loss_equals_a_loop(seed, clip):
    values, old, returns = random(12, seed=seed), random(12, seed=seed + 1), random(12, seed=seed + 2)
    found = clipped_value_loss(values, old, returns, clip)
    loss, clipped = 0.0, 0
    for v, o, r in zip(values.tolist(), old.tolist(), returns.tolist()):
        near = min(max(v, o - clip), o + clip)
        loss += 0.5 * max((v - r) ** 2, (near - r) ** 2)
        clipped += (near - r) ** 2 > (v - r) ** 2
    assert found.loss.item() == pytest.approx(loss, abs=1e-10)
    assert (found.clipped.item(), found.count) == (clipped, 12)


def test_value_loss_without_clip_is_half_the_squared_error():
    values, old, returns = random(9), random(9, seed=1), random(9, seed=2)
    found = clipped_value_loss(values, old, returns, clip=math.inf)
    torch.testing.assert_close(found.loss, 0.5 * torch.nn.functional.mse_loss(values, returns, reduction="sum"))
    assert found.clipped == 0


@pytest.mark.parametrize(("value", "moves"), [(0.1, True), (0.5, False), (-0.5, True)])
def test_a_value_that_has_moved_far_towards_the_return_stops(value, moves):
    values = torch.tensor([value], dtype=torch.float64, requires_grad=True)
    clipped_value_loss(values, torch.zeros(1).double(), torch.ones(1).double()).loss.backward()
    assert values.grad.item() == pytest.approx(value - 1 if moves else 0.0)


def test_value_loss_gradcheck_and_constants():
    old, returns = random(6), random(6, seed=1).requires_grad_()
    values = random(6, seed=2).requires_grad_()
    assert torch.autograd.gradcheck(lambda v: clipped_value_loss(v, old, returns.detach()).loss, values)
    clipped_value_loss(values, old, returns).loss.backward()
    assert returns.grad is None


@pytest.mark.parametrize("loss", [clipped_surrogate, clipped_value_loss])
@pytest.mark.parametrize("shapes", [[(2, 3)] * 3, [(6,), (6, 1), (6,)], [(6,), (5,), (6,)], [(6,), (1,), (6,)]])
def test_padded_or_mismatched_tensors_are_refused(loss, shapes):
    with pytest.raises(ValueError, match="without padding"):
        loss(*(torch.zeros(shape) for shape in shapes))
