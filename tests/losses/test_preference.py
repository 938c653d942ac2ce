"""Preference losses against loops and closed forms, and their minima in a world where each can be written down."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from preceptor.losses.preference import dpo, ipo, kto, kto_divergence, orpo_odds, simpo
from preceptor.losses.ranking import answer_pairs, mean_over_pairs, pairwise_ranking
from tests.losses.enumerable import T, TablePolicy, preferences, rewards, tilted

N = 10
REFERENCE = TablePolicy(1).log_probs().detach()
REWARDS = rewards()


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.05, 2), st.floats(0, 0.5), st.floats(0, 1.5))
def test_each_equals_its_equation(seed: int, beta: float, smoothing: float, margin: float) -> None:
    w, x = draw(seed, N), draw(seed + 1, N)
    for found, expected in (
            (dpo(w, x, beta, smoothing), lambda a, b: -(1 - smoothing) * math.log(sigmoid(beta * (a - b)))
             - smoothing * math.log(sigmoid(-beta * (a - b)))),
            (ipo(w, x, beta), lambda a, b: (a - b - 1 / (2 * beta)) ** 2),
            (simpo(w, x, beta, margin), lambda a, b: -math.log(sigmoid(beta * a - beta * b - margin)))):
        assert found.tolist() == pytest.approx([expected(a, b) for a, b in zip(w.tolist(), x.tolist())], rel=1e-9)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_orpo_equals_its_equation(seed: int) -> None:
    w, x = -draw(seed, N).abs() - 0.01, -draw(seed + 1, N).abs() - 0.01
    odds = [[math.exp(y) / (1 - math.exp(y)) for y in row.tolist()] for row in (w, x)]
    expected = [-math.log(sigmoid(math.log(a / b))) for a, b in zip(*odds)]
    assert orpo_odds(w, x).tolist() == pytest.approx(expected, rel=1e-9)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.05, 2), st.floats(0, 3))
def test_kto_equals_its_equation(seed: int, beta: float, z: float) -> None:
    ratio, good = draw(seed, N), draw(seed + 1, N) > 0
    found = kto(ratio, good, torch.tensor(z), beta, good_weight=1.5, bad_weight=0.7)
    expected = [1.5 - 1.5 * sigmoid(beta * (h - z)) if yes else 0.7 - 0.7 * sigmoid(beta * (z - h))
                for h, yes in zip(ratio.tolist(), good.tolist())]
    assert found.tolist() == pytest.approx(expected, rel=1e-6)


def test_the_divergence_of_kto_is_no_less_than_0_and_has_no_gradient() -> None:
    ratio = torch.tensor([0.5, 1.5, -0.5], requires_grad=True)
    z = kto_divergence(ratio)
    assert z.item() == pytest.approx(0.5) and not z.requires_grad
    assert kto_divergence(torch.tensor([-3.0, 1.0])).item() == 0
    kto(ratio, torch.tensor([True, False, True]), ratio.sum(), 0.1).sum().backward()
    expected = [-0.1 * sigmoid(u) * sigmoid(-u) * (1 if good else -1)
                for u, good in ((0.1 * (r - 1.5), g) for r, g in ((0.5, True), (1.5, False), (-0.5, True)))]
    assert ratio.grad.tolist() == pytest.approx(expected, rel=1e-5)  # nothing came by way of z


def test_the_gradient_of_dpo_weighs_a_pair_by_how_wrong_it_is() -> None:
    """-beta sigmoid(-beta (h_w - h_l)) for the winner, its opposite for the loser (Rafailov et al., below eq. 7)."""
    w, x = draw(0, N).requires_grad_(), draw(1, N).requires_grad_()
    dpo(w, x, 0.3).sum().backward()
    expected = -0.3 * torch.sigmoid(-0.3 * (w - x)).detach()
    torch.testing.assert_close(w.grad, expected, atol=1e-12, rtol=0)
    torch.testing.assert_close(x.grad, -expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("loss", [
    lambda w, x: dpo(w, x, 0.5, 0.1), lambda w, x: ipo(w, x, 0.5), lambda w, x: simpo(w, x, 2.0, 0.5),
    lambda w, x: orpo_odds(-w.abs() - 0.1, -x.abs() - 0.1),
    lambda w, x: kto(w, x > 0, torch.tensor(0.3).double(), 0.5)], ids=["dpo", "ipo", "simpo", "orpo", "kto"])
def test_gradients_are_those_of_differences(loss) -> None:
    assert torch.autograd.gradcheck(lambda w, x: loss(w, x).sum(), (draw(0, N).requires_grad_(),
                                                                   draw(1, N).requires_grad_()))


def test_extreme_answers_stay_finite() -> None:
    far = torch.tensor([-1e5, 0.0, 1e5], requires_grad=True)
    for loss in (dpo(far, -far, 1.0), simpo(far, -far, 2.0, 0.5), kto(far, far > 0, torch.tensor(0.0), 1.0)):
        assert loss.isfinite().all()
    sure = torch.tensor([-1e-12, 0.0, -1e4], requires_grad=True)
    orpo_odds(sure, sure.flip(0)).sum().backward()
    assert sure.grad.isfinite().all()


def test_smoothed_labels_draw_the_margin_to_their_odds() -> None:
    margin = torch.tensor(math.log(0.8 / 0.2) / 0.5, dtype=torch.float64, requires_grad=True)
    dpo(margin, torch.zeros(()).double(), 0.5, smoothing=0.2).backward()
    assert margin.grad.item() == pytest.approx(0, abs=1e-12)


def over_all_pairs(pair_loss: Tensor, rates: Tensor) -> Tensor:
    """The expectation of pair_loss[w, x] when i is put before j with probability rates[i, j]."""
    return (pair_loss * rates).masked_fill(torch.eye(len(rates), dtype=torch.bool), 0.0).sum()


@pytest.mark.parametrize("beta", [0.2, 1.0])
def test_dpo_reaches_the_optimum_of_the_regularised_objective(beta: float) -> None:
    """pi* ~ pi_ref exp(r / beta): an answer's sign, the reference's part and beta must all be right."""
    policy, rates = TablePolicy(2), preferences(REWARDS)
    policy.minimise(lambda p: over_all_pairs(dpo((p - REFERENCE)[:, None], (p - REFERENCE)[None, :], beta), rates))
    torch.testing.assert_close(policy.log_probs().detach(), tilted(REFERENCE, REWARDS / beta), atol=1e-5, rtol=0)


@pytest.mark.parametrize("tau", [0.5, 2.0])
@pytest.mark.parametrize("rates", [preferences(REWARDS), preferences(1e9 * REWARDS)], ids=["noise", "no_noise"])
def test_ipo_reaches_its_optimum_also_where_labels_have_no_noise(tau: float, rates: Tensor) -> None:
    """pi* ~ pi_ref exp(P(y beats a uniformly drawn answer) / tau)  (Azar et al., equation 7)."""
    policy = TablePolicy(2)
    policy.minimise(lambda p: over_all_pairs(ipo((p - REFERENCE)[:, None], (p - REFERENCE)[None, :], tau), rates))
    expected = tilted(REFERENCE, rates.mean(1) / tau)
    torch.testing.assert_close(policy.log_probs().detach(), expected, atol=1e-5, rtol=0)


def test_simpo_without_a_margin_reaches_its_optimum() -> None:
    policy, rates, beta = TablePolicy(2), preferences(REWARDS), 2.0
    policy.minimise(lambda p: over_all_pairs(simpo(p[:, None] / T, p[None, :] / T, beta, 0.0), rates))
    expected = (REWARDS * T / beta).log_softmax(0)
    torch.testing.assert_close(policy.log_probs().detach(), expected, atol=1e-5, rtol=0)


def test_the_odds_of_orpo_reach_their_optimum() -> None:
    """odds(p^(1/T)) = c e^r, with the one c by which the probabilities sum to 1."""
    policy, rates = TablePolicy(2), preferences(REWARDS)
    policy.minimise(lambda p: over_all_pairs(orpo_odds(p[:, None] / T, p[None, :] / T), rates))
    low, high = -30.0, 30.0
    for _ in range(100):
        log_c = (low + high) / 2
        total = (torch.nn.functional.logsigmoid(log_c + REWARDS) * T).exp().sum()
        low, high = (low, log_c) if total > 1 else (log_c, high)
    expected = torch.nn.functional.logsigmoid(log_c + REWARDS) * T
    torch.testing.assert_close(policy.log_probs().detach(), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("share", "rises"), [(0.3, False), (0.45, True), (0.9, True)])
def test_kto_raises_answers_that_are_good_often_enough(share: float, rises: bool) -> None:
    """At good_weight 1.5 and bad_weight 1 the boundary is 0.4."""
    ratio = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    loss = kto(ratio, torch.tensor([True, False]), torch.tensor(0.2), 0.1, good_weight=1.5)
    (loss * torch.tensor([share, 1 - share])).sum().backward()
    assert (ratio.grad.sum().item() < 0) == rises


def test_a_ranking_is_all_its_pairs_with_one_weight_a_prompt() -> None:
    """Through `mean_over_pairs`, DPO at ratio = score and beta = 1 is the reward model's own loss."""
    scores, present = draw(3, 4, 5), torch.arange(5) < torch.tensor([[5], [3], [2], [1]])
    ranks = torch.randint(3, (4, 5), generator=torch.Generator().manual_seed(0))
    found = mean_over_pairs(dpo(*answer_pairs(scores, present), 1.0), ranks, present)
    expected = pairwise_ranking(scores, ranks, present)
    assert found[0].item() == pytest.approx(expected[0].item(), abs=1e-12) and found[1] == expected[1]
