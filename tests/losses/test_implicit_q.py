"""Implicit language Q-learning against loops, and its optimum in a world where every value can be written down."""

import pytest
import torch
from torch import Tensor

from preceptor.losses.implicit_q import (
    conservative_loss,
    expectile,
    follow,
    implicit_policy,
    q_loss,
    value_loss,
)
from tests.losses.enumerable import ANSWERS, TablePolicy, V, rewards

COUNTS = (40 * TablePolicy(4).log_probs().detach().exp()).round().clamp(min=1).long()  # how often each was written
DATA = COUNTS / COUNTS.sum().double()
REWARDS = rewards(5)


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def expectile_of(values: Tensor, weights: Tensor, tau: float) -> float:
    """The m with sum w |tau - [x < m]| (x - m) = 0, by bisection."""
    low, high = values.min().item(), values.max().item()
    for _ in range(80):
        middle = (low + high) / 2
        pull = (weights * torch.where(values < middle, 1 - tau, tau) * (values - middle)).sum().item()
        low, high = (middle, high) if pull > 0 else (low, middle)
    return low


@pytest.mark.parametrize("tau", [0.5, 0.7, 0.99])
def test_the_expectile_is_where_the_loss_is_least(tau: float) -> None:
    values, weights = draw(0, 9), draw(1, 9).softmax(0)
    best = torch.tensor(expectile_of(values, weights, tau), dtype=torch.float64, requires_grad=True)
    (weights * expectile(values - best, tau)).sum().backward()
    assert best.grad.item() == pytest.approx(0, abs=1e-9)
    if tau == 0.5:
        assert best.item() == pytest.approx((weights * values).sum().item())
    assert tau < 0.9 or best.item() > values.topk(2).values[1].item()


def test_losses_equal_loops() -> None:
    """Two answers of three and two tokens, two heads: the second answer's value never reaches into the first."""
    q, values, target = draw(0, 2, 5), draw(1, 5), draw(2, 2, 5)
    paid, last = draw(3, 5), torch.tensor([False, False, True, False, True])
    expected_q = expected_v = 0.0
    for t in range(5):
        following = 0.0 if last[t] else values[t + 1].item()
        expected_q += sum((paid[t].item() + 0.9 * following - q[h, t].item()) ** 2 for h in range(2))
        error = min(target[0, t].item(), target[1, t].item()) - values[t].item()
        expected_v += (0.8 if error >= 0 else 0.2) * error ** 2
    assert q_loss(q, values, paid, last, 0.9).item() == pytest.approx(expected_q)
    assert value_loss(values, target, 0.8).item() == pytest.approx(expected_v)
    table, actions = draw(4, 2, 5, V), torch.tensor([0, 2, 1, 1, 0])
    expected = sum((table[h, t].logsumexp(0) - table[h, t, actions[t]]).item() for h in range(2) for t in range(5))
    assert conservative_loss(table, actions).item() == pytest.approx(expected)


def test_each_loss_moves_only_what_it_should() -> None:
    q, values, target = (draw(n, 2, 5).requires_grad_() for n in range(3))
    values = values[0].detach().requires_grad_()
    q_loss(q, values, draw(3, 5), torch.ones(5, dtype=torch.bool)).backward()
    value_loss(values.detach().requires_grad_(), target, 0.7).backward()
    assert q.grad.abs().sum() > 0 and values.grad is None and target.grad is None
    assert torch.autograd.gradcheck(lambda x: value_loss(x, target.detach(), 0.7), values)
    assert torch.autograd.gradcheck(lambda x: conservative_loss(x, torch.tensor([0, 2])), draw(5, 2, 2, V)
                                    .requires_grad_())


class Tables:
    """Q and V of the start and of the state after each first token, one state a row, learned from all answers."""

    def __init__(self) -> None:
        self.q = torch.zeros(2, 1 + V, V, dtype=torch.float64, requires_grad=True)
        self.v = torch.zeros(1 + V, dtype=torch.float64, requires_grad=True)
        written = torch.arange(len(ANSWERS)).repeat_interleave(COUNTS).tolist()
        self.states = torch.tensor([[0, 1 + ANSWERS[n][0]] for n in written]).flatten()
        self.actions = torch.tensor([ANSWERS[n] for n in written]).flatten()
        self.last = torch.tensor([False, True]).repeat(len(written))
        self.paid = torch.tensor([[0.0, REWARDS[n].item()] for n in written], dtype=torch.float64).flatten()

    def loss(self, tau: float) -> Tensor:
        """Both losses, as the algorithm takes them."""
        q, values = self.q[:, self.states, self.actions], self.v[self.states]
        return (q_loss(q, values, self.paid, self.last) + value_loss(values, q.detach(), tau)) / len(self.last)


def optimum(tau: float) -> tuple[Tensor, Tensor]:
    """Q and V by backward induction: V is the tau-expectile of Q over the data's next tokens."""
    by_first = DATA.view(V, V)
    q = torch.stack([torch.zeros(V, dtype=torch.float64), *REWARDS.view(V, V)])
    v = [0.0] + [expectile_of(q[1 + a], by_first[a] / by_first[a].sum(), tau) for a in range(V)]
    q[0] = torch.tensor(v[1:], dtype=torch.float64)
    v[0] = expectile_of(q[0], by_first.sum(1), tau)
    return q, torch.tensor(v, dtype=torch.float64)


@pytest.mark.parametrize("tau", [0.5, 0.8])
def test_it_reaches_its_analytic_optimum(tau: float) -> None:
    """At 1/2 these are the values of the data's own policy; above, of a better one."""
    tables = Tables()
    optimiser = torch.optim.Adam([tables.q, tables.v], lr=0.1)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimiser, 0.993)
    for _ in range(1000):
        optimiser.zero_grad()
        tables.loss(tau).backward()
        optimiser.step()
        schedule.step()
    q, v = optimum(tau)
    torch.testing.assert_close(tables.q.detach(), q.expand(2, -1, -1), atol=1e-3, rtol=0)
    torch.testing.assert_close(tables.v.detach(), v, atol=1e-3, rtol=0)
    mean = (DATA * REWARDS).sum().item()
    assert v[0].item() == pytest.approx(mean) if tau == 0.5 else v[0].item() > mean + 0.1


def test_near_1_the_value_is_that_of_the_best_answer_and_the_policy_finds_it() -> None:
    q, v = optimum(1 - 1e-9)
    assert v[0].item() == pytest.approx(REWARDS.max().item(), abs=1e-5)
    data = TablePolicy(4)
    first = implicit_policy(data.first, q[0], 50.0).softmax(0)
    second = implicit_policy(data.second, q[1:], 50.0).softmax(1)
    chosen = (first[:, None] * second).flatten()
    assert chosen.argmax() == REWARDS.argmax() and chosen.max() > 0.99
    # V is the same for every token: with it or without it the policy is one.
    torch.testing.assert_close(implicit_policy(data.first, q[0] - v[0], 50.0).softmax(0), first)
    torch.testing.assert_close(implicit_policy(data.first, q[0], 0.0), data.first)


def test_following_is_a_moving_average() -> None:
    target, source = torch.zeros(3), torch.ones(3, requires_grad=True)
    for _ in range(4):
        follow(target, source, 0.1)
    assert target.tolist() == pytest.approx([1 - 0.9 ** 4] * 3)
