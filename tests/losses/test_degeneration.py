"""Unlikelihood, SimCTG and DITTO against plain loops, closed-form gradients, and the defects of published programs."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from preceptor.data.batches import IGNORE
from preceptor.losses.contrastive import simctg_sum
from preceptor.losses.ditto import ditto_sum
from preceptor.losses.unlikelihood import (
    log_one_minus,
    repeated_ngrams,
    sequence_unlikelihood_sum,
    token_unlikelihood_sum,
)

V, D = 5, 3


def packed(documents: list[list[int]], width: int, pad: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """(tokens, targets, segments) of one row that holds these documents side by side."""
    tokens, targets, segments = [], [], []
    for number, text in enumerate(documents, start=1):
        tokens += text
        targets += [*text[1:], IGNORE]
        segments += [number] * len(text)
    room = width - len(tokens)
    return (torch.tensor([tokens + [pad] * room]), torch.tensor([targets + [IGNORE] * room]),
            torch.tensor([segments + [0] * room]))


def slow_unlikelihood(logits: Tensor, text: list[int]) -> float:
    """One document by the definition: logits [T, V] of its own positions."""
    total = 0.0
    for t in range(len(text) - 1):
        chances = logits[t].softmax(-1)
        for candidate in set(text[:t + 1]) - {text[t + 1]}:
            total -= math.log(1 - float(chances[candidate]))
    return total


documents_drawn = st.lists(st.lists(st.integers(0, V - 1), min_size=1, max_size=6), min_size=1, max_size=3)


@settings(max_examples=60, deadline=None)
@given(documents_drawn, st.integers(0, 10_000))
def test_token_unlikelihood_is_the_definition_document_by_document(documents: list[list[int]], seed: int) -> None:
    """No negative leaks from one sample to another, as it does in the published program."""
    tokens, targets, segments = packed(documents, 20)
    logits = torch.randn(1, 20, V, generator=torch.Generator().manual_seed(seed)) * 2
    start, expected = 0, 0.0
    for text in documents:
        expected += slow_unlikelihood(logits[0, start:start + len(text)], text)
        start += len(text)
    assert float(token_unlikelihood_sum(logits, tokens, targets, segments)) == pytest.approx(expected, rel=1e-4,
    abs=1e-4)


def test_the_padding_s_token_does_not_matter() -> None:
    """The published program takes token 1 for padding, and counts every other padding as a negative."""
    logits = torch.randn(1, 9, V, generator=torch.Generator().manual_seed(0))
    losses = {float(token_unlikelihood_sum(logits, *packed([[1, 2, 3, 1]], 9, pad=pad))) for pad in range(V)}
    assert len(losses) == 1


def test_a_batch_of_two_is_two_batches_of_one() -> None:
    logits = torch.randn(2, 6, V, generator=torch.Generator().manual_seed(1))
    rows = [packed([[1, 2, 1, 2]], 6), packed([[3, 3, 4, 0, 3]], 6)]
    both = [torch.cat(parts) for parts in zip(*rows)]
    alone = sum(token_unlikelihood_sum(logits[n:n + 1], *rows[n]) for n in range(2))
    torch.testing.assert_close(token_unlikelihood_sum(logits, *both), alone)


def test_the_gradient_is_the_paper_s() -> None:
    """For one negative c: dL/dz_i = p_i m_i - [i = x]; m_c = 1 + alpha, other m_i = 1 - alpha p_c / (1 - p_c)."""
    logits = torch.randn(1, 2, V, generator=torch.Generator().manual_seed(2), dtype=torch.double).requires_grad_()
    tokens, targets, segments = torch.tensor([[3, 1]]), torch.tensor([[1, IGNORE]]), torch.tensor([[1, 1]])
    alpha = 0.7
    loss = -logits[0, 0].log_softmax(-1)[1] + alpha * token_unlikelihood_sum(logits, tokens, targets, segments)
    gradient = torch.autograd.grad(loss, logits)[0][0, 0]
    p = logits[0, 0].softmax(-1).detach()
    m = torch.full((V,), 1 - alpha * float(p[3] / (1 - p[3])), dtype=torch.double)
    m[3] = 1 + alpha
    expected = p * m
    expected[1] -= 1
    torch.testing.assert_close(gradient, expected, atol=1e-6, rtol=0)


def test_a_certain_negative_has_a_finite_loss_and_gradient() -> None:
    logits = torch.zeros(1, 2, V)
    logits[0, 0, 3] = 200.0
    logits.requires_grad_()
    loss = token_unlikelihood_sum(logits, torch.tensor([[3, 1]]), torch.tensor([[1, IGNORE]]), torch.ones(1, 2).long())
    assert loss.isfinite() and torch.autograd.grad(loss, logits)[0].isfinite().all() and float(loss.detach()) > 10


def test_log_one_minus_in_closed_form() -> None:
    chances = torch.tensor([0.0, 1e-6, 0.3, 0.999])
    torch.testing.assert_close(log_one_minus(chances.log()), torch.log1p(-chances), atol=1e-4, rtol=1e-4)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 2), max_size=12), st.integers(1, 4))
def test_repeated_ngrams_are_found_place_by_place(text: list[int], n: int) -> None:
    grams = [tuple(text[i:i + n]) for i in range(len(text) - n + 1)]
    expected = [any(grams[start] in grams[:start] for start in range(max(0, i - n + 1), min(i, len(text) - n) + 1))
                for i in range(len(text))]
    assert repeated_ngrams(torch.tensor([text], dtype=torch.long), n)[0].tolist() == expected


def test_a_repeat_that_ends_at_the_last_token_is_found() -> None:
    """The published program stops one n-gram early."""
    assert repeated_ngrams(torch.tensor([[1, 2, 3, 4, 1, 2, 3, 4]])).tolist() == [[False] * 4 + [True] * 4]
    assert not repeated_ngrams(torch.tensor([[1, 2, 3]])).any()


def test_sequence_unlikelihood_counts_marked_tokens_only() -> None:
    log_probs = torch.tensor([[0.5, 0.25], [0.9, 0.1]]).log()
    marked = torch.tensor([[True, False], [False, True]])
    assert float(sequence_unlikelihood_sum(log_probs, marked)) == pytest.approx(-math.log(0.5) - math.log(0.9),
    abs=1e-6)


def slow_simctg(hidden: Tensor, margin: float) -> float:
    """One document by the paper's double sum, its mean over n (n - 1) pairs."""
    count = len(hidden)
    total = 0.0
    for i in range(count):
        for j in range(count):
            if i != j:
                similarity = float(torch.cosine_similarity(hidden[i], hidden[j], dim=0))
                total += max(0.0, margin - 1 + similarity)
    return total / (count * (count - 1)) if count > 1 else 0.0


@settings(max_examples=50, deadline=None)
@given(documents_drawn, st.floats(0.1, 1.5), st.integers(0, 10_000))
def test_simctg_is_the_double_sum_document_by_document(documents: list[list[int]], margin: float, seed: int) -> None:
    _, targets, segments = packed(documents, 20)
    hidden = torch.randn(1, 20, D, generator=torch.Generator().manual_seed(seed))
    start, expected = 0, 0.0
    for text in documents:
        expected += (len(text) - 1) * slow_simctg(hidden[0, start:start + len(text)], margin)
        start += len(text)
    assert float(simctg_sum(hidden, targets, segments, margin)) == pytest.approx(expected, rel=1e-3, abs=1e-4)


def test_simctg_without_a_margin_is_nothing_and_padding_never_counts() -> None:
    _, targets, segments = packed([[1, 2, 3]], 6)
    hidden = torch.ones(1, 6, D)
    assert float(simctg_sum(hidden, targets, segments, 0.0)) == pytest.approx(0, abs=1e-6)
    assert float(simctg_sum(hidden, targets, segments, 0.5)) == pytest.approx(2 * 0.5)
    hidden[0, 3:] = torch.tensor([5.0, -1.0, 2.0])
    assert float(simctg_sum(hidden, targets, segments, 0.5)) == pytest.approx(2 * 0.5)


def test_ditto_by_hand() -> None:
    chances = torch.tensor([0.4, 0.2, 0.5, 0.1])  # two copies of two tokens
    loss, count = ditto_sum(chances.log(), 2)
    assert count == 2
    assert float(loss) == pytest.approx(-math.log(1 - abs(0.5 - 0.2)) - math.log(1 - abs(0.1 - 0.1)), abs=1e-6)


def test_ditto_moves_the_later_copy_only_and_towards_half() -> None:
    log_probs = torch.tensor([0.4, 0.2, 0.5, 0.05]).log().requires_grad_()
    gradient = torch.autograd.grad(ditto_sum(log_probs, 2)[0], log_probs)[0]
    assert gradient[:2].tolist() == [0, 0] and gradient[2] > 0 > gradient[3]


def test_ditto_is_finite_where_a_copy_is_certain() -> None:
    log_probs = torch.tensor([-200.0, 0.0]).requires_grad_()
    loss, _ = ditto_sum(log_probs, 1)
    assert loss.isfinite() and torch.autograd.grad(loss, log_probs)[0].isfinite().all()
