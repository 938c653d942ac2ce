"""Rows of a prompt with its answers: the loss and its gradient are those of one forward pass for each answer."""

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from preceptor.data.records import Comparison, Prompt, Response
from preceptor.losses.ranking import pairwise_ranking
from preceptor.models.reward_model import AnswerEncoder
from preceptor.models.scalar import scalar_from_causal
from preceptor.reward.batches import RankedBatches, RankedPrompt, collate_ranked
from preceptor.reward.stage import ranking_loss

PAD = 1


def ranked(seed: int, most: int = 9) -> RankedPrompt:
    draw = random.Random(seed)
    answers = [[draw.randrange(5, 300) for _ in range(draw.randint(1, 9))] for _ in range(draw.randint(2, most))]
    ranks = [0, 1, *(draw.randrange(3) for _ in answers[2:])]
    return RankedPrompt(str(seed), [draw.randrange(5, 300) for _ in range(draw.randint(1, 20))], answers, ranks)


def plain_loss(model: nn.Module, prompts: list[RankedPrompt]) -> torch.Tensor:
    """One forward pass of transformers' own classifier for each answer, then a loop over pairs."""
    total = torch.zeros(())
    for one in prompts:
        scores = [model(torch.tensor([one.prompt + answer])).logits[0, 0] for answer in one.answers]
        pairs = [(i, j) for i, a in enumerate(one.ranks) for j, b in enumerate(one.ranks) if a < b]
        total = total - sum(nn.functional.logsigmoid(scores[i] - scores[j]) for i, j in pairs) / len(pairs)
    return total


def test_loss_and_gradient_equal_one_forward_pass_for_each_answer(sft: Path) -> None:
    model = scalar_from_causal(sft / "model")
    prompts = [ranked(seed) for seed in range(5)]
    expected = plain_loss(model, prompts)
    names, parameters = zip(*model.named_parameters())
    gradients = torch.autograd.grad(expected / 5, parameters)
    loss, count, metrics = ranking_loss(model, collate_ranked(prompts, PAD))
    assert count == 5 and loss.item() == pytest.approx(expected.item(), abs=1e-5)
    for name, ours, theirs in zip(names, torch.autograd.grad(loss / 5, parameters), gradients):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-5, msg=name)
    assert max(float(gradient.abs().max()) for gradient in gradients) > 1e-2  # else the tolerance would hide it
    assert 0 <= float(metrics["accuracy"]) <= 5


def test_micro_batches_add_up(sft: Path) -> None:
    model = scalar_from_causal(sft / "model")
    batch = collate_ranked([ranked(seed) for seed in range(5)], PAD)
    whole, _, metrics = ranking_loss(model, batch)
    parts = [ranking_loss(model, micro) for micro in batch.split(3)]
    assert sum(loss.item() for loss, _, _ in parts) == pytest.approx(whole.item(), abs=1e-5)
    assert sum(count for _, count, _ in parts) == 5
    assert sum(float(extra["accuracy"]) for _, _, extra in parts) == pytest.approx(float(metrics["accuracy"]))


def test_the_layout_of_a_row() -> None:
    batch = collate_ranked([RankedPrompt("a", [7, 8], [[9], [10, 11]], [1, 0]),
                            RankedPrompt("b", [7], [[9, 9], [6], [5]], [0, 0, 1])], PAD)
    assert batch["tokens"].tolist() == [[7, 8, 9, 10, 11], [7, 9, 9, 6, 5]]
    assert batch["positions"].tolist() == [[0, 1, 2, 2, 3], [0, 1, 2, 1, 1]]
    assert batch["segments"].tolist() == [[1, 1, 2, 3, 3], [1, 2, 2, 3, 4]]
    assert batch["ends"].tolist() == [[2, 4, -1], [2, 3, 4]]
    assert batch["ranks"].tolist() == [[1, 0, 0], [0, 0, 1]]
    assert batch.documents == [["a"], ["b"]] and batch.count == 2


def test_pairs_are_those_that_the_ranking_sets_apart() -> None:
    for seed in range(20):
        one = ranked(seed)
        assert one.pairs == sum(a < b for a in one.ranks for b in one.ranks)


def supply(count: int, rows: int, epochs: int) -> RankedBatches:
    return RankedBatches([ranked(seed, 4) for seed in range(count)], rows=rows, epochs=epochs, pad=PAD, seed=5)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(1, 5), st.integers(1, 3), st.data())
def test_every_prompt_once_an_epoch_and_the_cursor_is_exact(count: int, rows: int, epochs: int, data: Any) -> None:
    drawn = list(supply(count, rows, epochs))
    assert len(drawn) == supply(count, rows, epochs).total
    ids = [id for batch in drawn for row in batch.documents for id in row]
    assert all(sorted(ids[first:first + count]) == sorted(map(str, range(count)))
               for first in range(0, len(ids), count)) and len(ids) == count * epochs
    place = data.draw(st.integers(0, len(drawn)))
    first, again = supply(count, rows, epochs), supply(count, rows, epochs)
    for _ in range(place):
        next(first)
    again.restore(first.state())
    for batch, expected in zip(again, drawn[place:], strict=True):
        assert batch.documents == expected.documents and torch.equal(batch["tokens"], expected["tokens"])


def test_skipped_batches_never_come_and_are_not_counted() -> None:
    every = list(supply(20, 3, 2))
    some = supply(20, 3, 2)
    some.skip(range(2, 5))
    assert some.total == len(every) - 3
    next(some)
    again = supply(20, 3, 2)
    again.restore(some.state())
    assert [batch.documents for batch in again] == [batch.documents for batch in [every[1], *every[5:]]]


def test_a_prompt_is_cut_for_its_longest_answer(tokenizer: Any) -> None:
    prompt = Prompt("p", [{"role": "user", "content": "one two three four five six seven eight"}])
    comparison = Comparison("c", prompt, [Response("yes"), Response("no no no no")], [[1], [0]], "l", "person")
    free, tight = AnswerEncoder(tokenizer, 160), AnswerEncoder(tokenizer, 20)
    whole, cut = RankedPrompt.of(comparison, free), RankedPrompt.of(comparison, tight)
    longest = max(map(len, whole.answers))
    assert cut.answers == whole.answers and cut.ranks == [1, 0]
    assert cut.prompt == whole.prompt[-(20 - longest):] and len(whole.prompt) + longest > 20
    assert free.truncated == 0 and tight.truncated == 1


def test_a_loss_of_log_2_before_anything_is_learned(sft: Path) -> None:
    model = scalar_from_causal(sft / "model")
    with torch.no_grad():
        model.score.weight.zero_()
    loss, count, metrics = ranking_loss(model, collate_ranked([ranked(1), ranked(2)], PAD))
    scores, present = torch.zeros(1, 2), torch.ones(1, 2, dtype=torch.bool)
    expected, _ = pairwise_ranking(scores, torch.tensor([[0, 1]]), present)
    assert loss.item() / count == pytest.approx(expected.item(), abs=1e-6)
    assert float(metrics["accuracy"]) == 1.0  # half of two prompts: equal scores count one half
