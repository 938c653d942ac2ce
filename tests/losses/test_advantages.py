"""Rewards, advantages and whitening against loops over the tokens that count, on ragged answers."""

import math
import statistics

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from preceptor.losses.advantages import gae, group_relative, kl_penalised_rewards, leave_one_out, whiten

seeds = st.integers(0, 10_000)


def ragged(seed, answers=4, time=7, holes=False):
    """Rewards, values and a mask with at least one token an answer; not-a-number where nothing counts."""
    draw = torch.Generator().manual_seed(seed)
    if holes:
        mask = torch.rand(answers, time, generator=draw) < 0.5
        mask[torch.arange(answers), torch.randint(time, (answers,), generator=draw)] = True
    else:
        mask = torch.arange(time) < torch.randint(1, time + 1, (answers, 1), generator=draw)
    rewards, values = torch.randn(2, answers, time, generator=draw, dtype=torch.float64)
    return rewards.masked_fill(~mask, math.nan), values.masked_fill(~mask, math.nan), mask


def gae_by_definition(rewards, values, gamma, lambda_):
    """A_t = sum_l (gamma lambda)^l delta_{t+l} for one answer without padding."""
    values = [*values, 0.0]
    deltas = [r + gamma * values[t + 1] - values[t] for t, r in enumerate(rewards)]
    return [sum((gamma * lambda_) ** (s - t) * deltas[s] for s in range(t, len(deltas))) for t in range(len(deltas))]


@settings(max_examples=40, deadline=None)
@given(seeds, st.sampled_from([1.0, 0.9]), st.sampled_from([0.0, 0.95, 1.0]), st.booleans())
def test_gae_equals_its_definition_on_the_tokens_that_count(seed, gamma, lambda_, holes):
    rewards, values, mask = ragged(seed, holes=holes)
    advantages, returns = gae(rewards, values, mask, gamma, lambda_)
    for b in range(len(mask)):
        own = values[b][mask[b]]
        expected = gae_by_definition(rewards[b][mask[b]].tolist(), own.tolist(), gamma, lambda_)
        assert advantages[b][mask[b]].tolist() == pytest.approx(expected, abs=1e-12)
        torch.testing.assert_close(returns[b][mask[b]], advantages[b][mask[b]] + own, atol=1e-12, rtol=0)
    assert (advantages[~mask] == 0).all() and (returns[~mask] == 0).all()


def test_lambda_one_gives_the_reward_to_come_and_lambda_zero_the_next_step():
    rewards, values = torch.tensor([[1.0, 2.0, 4.0]]), torch.tensor([[10.0, 20.0, 30.0]])
    mask = torch.ones(1, 3, dtype=torch.bool)
    advantages, returns = gae(rewards, values, mask, lambda_=1.0)
    assert returns.tolist() == [[7.0, 6.0, 4.0]] and advantages.tolist() == [[-3.0, -14.0, -26.0]]
    advantages, _ = gae(rewards, values, mask, lambda_=0.0)
    assert advantages.tolist() == [[11.0, 12.0, -26.0]]
    advantages, _ = gae(rewards, values, mask, gamma=0.5, lambda_=0.0)
    assert advantages.tolist() == [[1.0, -3.0, -26.0]]


@settings(max_examples=20, deadline=None)
@given(seeds)
def test_gae_does_not_see_padding_or_neighbours(seed):
    rewards, values, mask = ragged(seed)
    advantages, returns = gae(rewards, values, mask)
    wide = [torch.nn.functional.pad(x, (2, 3), value=value)
            for x, value in ((rewards, math.nan), (values, math.inf), (mask, False))]
    padded_advantages, padded_returns = gae(*wide)
    assert torch.equal(padded_advantages[:, 2:-3], advantages) and torch.equal(padded_returns[:, 2:-3], returns)
    alone, _ = gae(rewards[1:2], values[1:2], mask[1:2])
    assert torch.equal(alone[0], advantages[1])


def test_gae_is_a_constant():
    values = torch.randn(2, 3, requires_grad=True)
    advantages, returns = gae(torch.zeros(2, 3), values, torch.ones(2, 3, dtype=torch.bool))
    assert not advantages.requires_grad and not returns.requires_grad


def test_the_score_stands_at_the_last_token_that_counts():
    """On the padding (trl issue 3750) the score of a short answer would be lost."""
    mask = torch.tensor([[True, True, False, False], [True, True, True, True], [False, True, False, False]])
    log_ratio = torch.where(mask, 1.0, math.nan)
    rewards = kl_penalised_rewards(torch.tensor([10.0, 20.0, 30.0]), log_ratio, mask, coefficient=0.5)
    expected = [[-0.5, 9.5, 0.0, 0.0], [-0.5, -0.5, -0.5, 19.5], [0.0, 29.5, 0.0, 0.0]]
    assert rewards.tolist() == expected


@settings(max_examples=20, deadline=None)
@given(seeds, st.sampled_from([0.0, 0.02, 1.5]), st.booleans())
def test_rewards_of_an_answer_sum_to_score_minus_kl(seed, coefficient, holes):
    log_ratio, _, mask = ragged(seed, holes=holes)
    scores = torch.arange(4, dtype=torch.float64)
    rewards = kl_penalised_rewards(scores, log_ratio, mask, coefficient)
    expected = scores - coefficient * torch.where(mask, log_ratio, 0.0).sum(1)
    torch.testing.assert_close(rewards.sum(1), expected, atol=1e-12, rtol=0)


def test_an_answer_without_tokens_does_not_lose_its_score_in_silence():
    with pytest.raises(ValueError, match="no place for its score"):
        kl_penalised_rewards(torch.ones(2), torch.zeros(2, 3), torch.tensor([[True] * 3, [False] * 3]), 0.1)


@settings(max_examples=30, deadline=None)
@given(seeds, st.floats(-100, 100), st.floats(0.1, 100))
def test_whitening(seed, shift, scale):
    x, _, mask = ragged(seed, answers=6)
    white = whiten(x, mask)
    counted = white[mask]
    assert counted.mean().item() == pytest.approx(0, abs=1e-9)
    assert counted.var(unbiased=False).item() == pytest.approx(1, abs=1e-5)
    assert (white[~mask] == 0).all()
    torch.testing.assert_close(whiten(x * scale + shift, mask), white, atol=1e-5, rtol=0)
    kept = whiten(x, mask, shift_mean=False)
    torch.testing.assert_close(kept[mask], counted + x[mask].mean(), atol=1e-9, rtol=0)


def test_whitening_by_hand_uses_one_mean_for_the_batch():
    x = torch.tensor([[1.0, 3.0], [5.0, 99.0]], dtype=torch.float64)
    mask = torch.tensor([[True, True], [True, False]])
    deviation = math.sqrt(8 / 3)  # of 1, 3, 5, divided by their number and not by one less
    expected = torch.tensor([[-2 / deviation, 0.0], [2 / deviation, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(whiten(x, mask), expected, atol=1e-7, rtol=0)


def test_whitening_a_constant_and_nothing():
    mask = torch.ones(2, 2, dtype=torch.bool)
    assert whiten(torch.full((2, 2), 3.0), mask).tolist() == [[0.0, 0.0], [0.0, 0.0]]
    assert whiten(torch.full((2, 2), 3.0), mask, shift_mean=False).tolist() == [[3.0, 3.0], [3.0, 3.0]]
    with pytest.raises(ValueError, match="at least one"):
        whiten(torch.ones(2, 2), ~mask)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 5), st.integers(1, 4))
def test_baselines_of_a_group_equal_loops(seed, group, groups):
    rewards = torch.randn(group * groups, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    without, standing = leave_one_out(rewards, group), group_relative(rewards, group)
    plain = group_relative(rewards, group, divide=False)
    for i, reward in enumerate(rewards.tolist()):
        first = i - i % group
        members = rewards[first : first + group].tolist()
        others = members[: i - first] + members[i - first + 1 :]
        assert without[i].item() == pytest.approx(reward - sum(others) / len(others), abs=1e-9)
        centred = reward - statistics.mean(members)
        assert plain[i].item() == pytest.approx(centred, abs=1e-9)
        assert standing[i].item() == pytest.approx(centred / (statistics.stdev(members) + 1e-4), abs=1e-9)


def test_a_group_whose_rewards_are_equal_teaches_nothing():
    rewards = torch.tensor([0.1, 0.1, 0.1, 2.0, 1.0, 0.0])
    for baseline in (group_relative, leave_one_out):
        assert baseline(rewards, 3)[:3].abs().max() < 1e-3 < baseline(rewards, 3)[3:].abs().max()


@pytest.mark.parametrize("baseline", [leave_one_out, group_relative])
@pytest.mark.parametrize(("shape", "group"), [((6,), 1), ((6,), 4), ((3, 2), 3)])
def test_what_is_no_group_is_refused(baseline, shape, group):
    with pytest.raises(ValueError, match="groups of"):
        baseline(torch.zeros(shape), group)
