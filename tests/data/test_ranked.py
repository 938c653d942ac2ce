"""Rows of a prompt with its answers: their layout, their order, their cursor, and what predicts each token."""

import random
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from preceptor.data.ranked import RankedBatches, RankedPrompt, answer_tokens, collate_ranked

PAD = 1


def ranked(seed: int, most: int = 9) -> RankedPrompt:
    draw = random.Random(seed)
    answers = [[draw.randrange(5, 300) for _ in range(draw.randint(1, 9))] for _ in range(draw.randint(2, most))]
    ranks = [0, 1, *(draw.randrange(3) for _ in answers[2:])]
    return RankedPrompt(str(seed), [draw.randrange(5, 300) for _ in range(draw.randint(1, 20))], answers, ranks)


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


def test_numbers_of_answers_come_along() -> None:
    batch = collate_ranked([RankedPrompt("a", [7], [[9], [8]], [1, 0], {"rating": [2.0, 5.0]}),
                            RankedPrompt("b", [7], [[9], [6], [5]], [0, 0, 1], {"rating": [1.0, 3.0, 4.0]})], PAD)
    assert batch["rating"].tolist() == [[2, 5, 0], [1, 3, 4]]
    assert [part["rating"].tolist() for part in batch.split(2)] == [[[2, 5, 0]], [[1, 3, 4]]]


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 1000), min_size=1, max_size=5, unique=True))
def test_each_token_of_an_answer_is_predicted_from_the_one_before_it(seeds: list[int]) -> None:
    prompts = [ranked(seed) for seed in seeds]
    batch = collate_ranked(prompts, PAD)
    found = answer_tokens(batch)
    expected = [(r, k, token) for r, one in enumerate(prompts) for k, answer in enumerate(one.answers)
                for token in answer]
    assert list(zip(found.rows.tolist(), found.answers.tolist(), found.targets.tolist())) == expected
    assert found.last.tolist() == [n == len(answer) - 1 for one in prompts for answer in one.answers
                                   for n in range(len(answer))]
    before = batch["tokens"][found.rows, found.sources].tolist()
    assert before == [([one.prompt[-1]] + answer)[n] for one in prompts for answer in one.answers
                      for n in range(len(answer))]
    # The place itself has the position of the token that it predicts, less one.
    positions = batch["positions"][found.rows, found.sources].tolist()
    assert positions == [len(one.prompt) - 1 + n for one in prompts for answer in one.answers
                         for n in range(len(answer))]


def test_the_numbers_of_prompts_must_agree() -> None:
    with pytest.raises(KeyError):
        collate_ranked([RankedPrompt("a", [7], [[9]], [0], {"rating": [1.0]}), RankedPrompt("b", [7], [[9]], [0])], PAD)
