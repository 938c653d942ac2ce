"""Scores and masks of single weights against loops over them."""

import math

import pytest
import torch

from preceptor.deploy.weight_scores import (
    block_influence,
    group_scores,
    keep_largest,
    keep_two_of_four,
    magnitude_scores,
    wanda_scores,
)


@pytest.fixture
def weight() -> torch.Tensor:
    return torch.randn(6, 16, generator=torch.Generator().manual_seed(0))


def test_wanda_scores_are_those_of_a_loop(weight: torch.Tensor) -> None:
    tokens = torch.randn(11, 16, generator=torch.Generator().manual_seed(1))
    found = wanda_scores(weight, tokens.norm(dim=0))
    for o in range(6):
        for i in range(16):
            norm = math.sqrt(sum(float(token[i]) ** 2 for token in tokens))
            assert found[o, i] == pytest.approx(abs(float(weight[o, i])) * norm, rel=1e-5)


@pytest.mark.parametrize("sparsity", [0.0, 0.3, 0.5, 0.9])
def test_the_lowest_scores_of_each_row_go_and_exactly_as_many_as_asked(weight: torch.Tensor, sparsity: float) -> None:
    keep = keep_largest(weight.abs(), sparsity)
    for row, kept in zip(weight.abs().tolist(), keep.tolist()):
        gone = sorted(range(16), key=lambda i: row[i])[:math.floor(16 * sparsity)]
        assert [i for i in range(16) if not kept[i]] == sorted(gone)


def test_a_share_that_floating_point_cannot_hold_still_drops_as_many_as_it_says() -> None:
    assert int((~keep_largest(torch.arange(10.0), 0.3)).sum()) == 3
    assert int((~keep_largest(torch.zeros(100), 0.29)).sum()) == 29  # equal scores too


def test_two_of_every_four_stay_and_they_are_the_best_two(weight: torch.Tensor) -> None:
    keep = keep_two_of_four(weight.abs())
    for o in range(6):
        for first in range(0, 16, 4):
            group = weight[o, first:first + 4].abs().tolist()
            best = sorted(range(4), key=lambda i: -group[i])[:2]
            assert [i for i in range(4) if keep[o, first + i]] == sorted(best)
    assert (keep_two_of_four(torch.zeros(3, 8)).view(3, 2, 4).sum(-1) == 2).all()  # ties too


def test_a_group_is_worth_the_sum_of_its_weights(weight: torch.Tensor) -> None:
    found = group_scores(magnitude_scores(weight), 4)
    for group in range(4):
        expected = sum(abs(float(weight[o, i])) for o in range(6) for i in range(4 * group, 4 * group + 4))
        assert found[group] == pytest.approx(expected, rel=1e-5)


def test_the_influence_of_a_block_is_zero_where_it_only_scales_and_two_where_it_turns_round(
        weight: torch.Tensor) -> None:
    assert block_influence(weight, 3 * weight).abs().max() < 1e-6
    assert (block_influence(weight, -weight) - 2).abs().max() < 1e-6
