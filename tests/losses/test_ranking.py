"""The K-wise ranking loss against a loop over pairs, closed forms and scikit-learn."""

import math
from itertools import permutations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import log_loss

from preceptor.losses.ranking import pairwise_accuracy, pairwise_ranking, score_regression


def batch(seed, prompts=4, answers=5):
    """Scores, ranks with ties, and presence with between 0 and K answers."""
    draw = torch.Generator().manual_seed(seed)
    scores = torch.randn(prompts, answers, generator=draw, dtype=torch.float64)
    ranks = torch.randint(3, (prompts, answers), generator=draw)
    present = torch.arange(answers) < torch.randint(answers + 1, (prompts, 1), generator=draw)
    return scores, ranks, present


def by_loop(scores, ranks, present):
    total, prompts, correct, all_pairs = 0.0, 0, 0.0, 0
    for row, order, here in zip(scores.tolist(), ranks.tolist(), present.tolist()):
        pairs = [(row[i], row[j]) for i, j in permutations(range(len(row)), 2)
                 if here[i] and here[j] and order[i] < order[j]]
        if pairs:
            total += sum(-math.log(1 / (1 + math.exp(loser - winner))) for winner, loser in pairs) / len(pairs)
            prompts += 1
            all_pairs += len(pairs)
            correct += sum(1.0 if winner > loser else 0.5 if winner == loser else 0.0 for winner, loser in pairs)
    return total, prompts, correct, all_pairs


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000))
def test_equals_a_loop_over_pairs(seed):
    scores, ranks, present = batch(seed)
    loss, prompts, correct, pairs = by_loop(scores, ranks, present)
    found, number = pairwise_ranking(scores, ranks, present)
    assert found.item() == pytest.approx(loss, abs=1e-12) and number.item() == prompts
    right, judged = pairwise_accuracy(scores, ranks, present)
    assert right.item() == correct and judged.item() == pairs


def test_one_pair_is_the_logistic_loss_of_scikit_learn():
    scores = torch.tensor([[1.3, -0.4]], dtype=torch.float64)
    loss, _ = pairwise_ranking(scores, torch.tensor([[0, 1]]), torch.ones(1, 2, dtype=torch.bool))
    assert loss.item() == pytest.approx(log_loss([1], [1 / (1 + math.exp(-1.7))], labels=[0, 1]), abs=1e-12)


def test_smaller_rank_is_better():
    """A sign error would give the high loss to the right order."""
    ranks, present = torch.tensor([[0, 1, 2]]), torch.ones(1, 3, dtype=torch.bool)
    right, _ = pairwise_ranking(torch.tensor([[9.0, 0.0, -9.0]]), ranks, present)
    wrong, _ = pairwise_ranking(torch.tensor([[-9.0, 0.0, 9.0]]), ranks, present)
    assert right.item() < 1e-3 and wrong.item() == pytest.approx((9 + 9 + 18) / 3, abs=1e-3)
    assert pairwise_accuracy(torch.tensor([[9.0, 0.0, -9.0]]), ranks, present)[0] == 3


def test_a_model_that_knows_nothing_pays_log_2_and_is_half_right():
    scores, present = torch.zeros(2, 4), torch.ones(2, 4, dtype=torch.bool)
    ranks = torch.tensor([[0, 1, 2, 3], [1, 0, 0, 0]])
    loss, prompts = pairwise_ranking(scores, ranks, present)
    assert loss.item() == pytest.approx(2 * math.log(2)) and prompts == 2
    correct, pairs = pairwise_accuracy(scores, ranks, present)
    assert (correct.item(), pairs.item()) == (4.5, 9)


def test_every_prompt_has_the_same_weight():
    """Nine answers (36 pairs) and two (one pair), each wrong by the same margin on each pair's side."""
    scores = torch.zeros(2, 9)
    ranks = torch.arange(9).repeat(2, 1)
    present = torch.ones(2, 9, dtype=torch.bool)
    present[1, 2:] = False
    loss, prompts = pairwise_ranking(scores, ranks, present)
    assert loss.item() / prompts.item() == pytest.approx(math.log(2), abs=1e-6)


def test_a_prompt_of_ties_counts_nowhere():
    scores, present = torch.randn(1, 4), torch.ones(1, 4, dtype=torch.bool)
    loss, prompts = pairwise_ranking(scores.requires_grad_(), torch.zeros(1, 4, dtype=torch.long), present)
    loss.backward()
    assert loss.item() == 0 and prompts.item() == 0 and scores.grad.abs().sum() == 0


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([math.nan, math.inf, -math.inf, 1e30]))
def test_padding_changes_neither_loss_nor_gradient(seed, rubbish):
    scores, ranks, present = batch(seed)
    scores.requires_grad_()
    loss, prompts = pairwise_ranking(scores, ranks, present)
    expected, = torch.autograd.grad(loss, scores)
    dirty = torch.cat([scores.detach().masked_fill(~present, rubbish), torch.full((4, 2), rubbish)], 1).requires_grad_()
    wide_ranks = torch.cat([ranks, torch.zeros(4, 2, dtype=torch.long)], 1)
    wide_present = torch.cat([present, torch.zeros(4, 2, dtype=torch.bool)], 1)
    found, number = pairwise_ranking(dirty, wide_ranks, wide_present)
    gradient, = torch.autograd.grad(found, dirty)
    torch.testing.assert_close(found, loss, atol=1e-12, rtol=0)
    assert number == prompts
    torch.testing.assert_close(gradient[:, :5], expected, atol=1e-12, rtol=0)
    assert gradient[:, 5:].abs().sum() == 0


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.floats(-50, 50), st.permutations(range(5)))
def test_only_differences_and_not_the_order_of_answers_matter(seed, shift, order):
    scores, ranks, present = batch(seed)
    loss, _ = pairwise_ranking(scores, ranks, present)
    moved, _ = pairwise_ranking((scores + shift)[:, order], ranks[:, order], present[:, order])
    torch.testing.assert_close(moved, loss, atol=1e-9, rtol=0)


def test_gradcheck_and_large_margins():
    scores, ranks, present = batch(3)
    assert torch.autograd.gradcheck(lambda s: pairwise_ranking(s, ranks, present)[0], scores.requires_grad_())
    far = torch.tensor([[-1e4, 1e4]])
    loss, _ = pairwise_ranking(far, torch.tensor([[0, 1]]), torch.ones(1, 2, dtype=torch.bool))
    assert loss.item() == pytest.approx(2e4)  # log(sigmoid()) in two steps would give infinity


def test_accuracy_has_no_gradient():
    scores, ranks, present = batch(3)
    assert not pairwise_accuracy(scores.requires_grad_(), ranks, present)[0].requires_grad


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.0, math.nan, math.inf]))
def test_score_regression_equals_a_loop(seed, rubbish):
    scores, ranks, present = batch(seed)
    targets = ranks.double() - 1
    expected = [sum((score - target) ** 2 for score, target, here in zip(*row) if here) / sum(row[2])
                for row in zip(scores.tolist(), targets.tolist(), present.tolist()) if any(row[2])]
    dirty = scores.masked_fill(~present, rubbish).requires_grad_()
    loss, prompts = score_regression(dirty, targets, present)
    loss.backward()
    assert loss.item() == pytest.approx(sum(expected), abs=1e-9) and prompts.item() == len(expected)
    per_answer = 2 * (scores - targets) / present.sum(1, keepdim=True).clamp(min=1) * present
    torch.testing.assert_close(dirty.grad, per_answer, atol=1e-12, rtol=0)
