"""What is drawn for masked and matching objectives: true texts are never taken for untrue ones, and holes are holes."""

import pytest
import torch

from preceptor.data.batches import IGNORE, Batch
from preceptor.data.masking import Masking
from preceptor.data.pictures.pretext import EASY, half_retold, hidden_patches, hidden_words, mismatched, retold
from preceptor.losses.image_text import same_concept

CONCEPTS = torch.tensor([0, 1, 0, 2, 1, 0])


def test_a_text_that_is_true_is_never_a_negative() -> None:
    torch.manual_seed(0)
    positives = same_concept(CONCEPTS)
    counts = torch.zeros(6, 6)
    for _ in range(600):
        rows, others = mismatched(positives)
        assert rows.tolist() == list(range(6))
        counts[rows, others] += 1
    assert not counts[positives].any()
    alike = (~positives).float()    # all untrue ones are drawn as often
    torch.testing.assert_close(counts / 600, alike / alike.sum(1, keepdim=True), rtol=0, atol=0.08)


def test_hard_negatives_are_drawn_by_likeness() -> None:
    torch.manual_seed(0)
    positives, logits = same_concept(CONCEPTS), torch.randn(6, 6, generator=torch.Generator().manual_seed(3))
    logits[positives] = 50.0    # most alike of all, and still no negative
    counts = torch.zeros(6, 6)
    for _ in range(600):
        rows, others = mismatched(positives, logits.requires_grad_())
        counts[rows, others] += 1
    alike = (~positives) / (~positives).sum(1, keepdim=True)
    expected = EASY * alike + (1 - EASY) * logits.detach().masked_fill(positives, -torch.inf).softmax(1)
    torch.testing.assert_close(counts / 600, expected, rtol=0, atol=0.08)


def test_where_every_text_is_true_there_is_no_negative() -> None:
    rows, others = mismatched(torch.ones(3, 3, dtype=torch.bool))
    assert len(rows) == len(others) == 0
    order, own = half_retold(torch.ones(3, 3, dtype=torch.bool))
    assert order.tolist() == [0, 1, 2] and own.all()
    some = torch.tensor([[True, True], [False, True]])
    assert mismatched(some)[0].tolist() == [1] and mismatched(some)[1].tolist() == [0]


def test_half_of_the_texts_are_not_their_own() -> None:
    torch.manual_seed(0)
    positives = same_concept(CONCEPTS)
    for _ in range(20):
        order, own = half_retold(positives)
        assert (~own).sum() == 3 and (order[own] == torch.arange(6)[own]).all()
        assert not positives[torch.arange(6), order][~own].any()
    order, own = half_retold(same_concept(torch.arange(1)))
    assert order.tolist() == [0] and own.tolist() == [True]


def test_patches_are_hidden_in_every_picture_alike() -> None:
    hidden = hidden_patches(5, 16, 0.4, torch.device("cpu"))
    assert hidden.shape == (5, 16) and hidden.sum(1).tolist() == [6] * 5
    assert hidden_patches(2, 4, 0.01, torch.device("cpu")).sum(1).tolist() == [1, 1]


def texts() -> Batch:
    tokens = torch.tensor([[1, 10, 11, 12, 13, 2], [1, 20, 21, 2, 0, 0], [1, 30, 31, 32, 2, 0]])
    segments = torch.tensor([[1] * 6, [1] * 4 + [0] * 2, [1] * 5 + [0]])
    return Batch({"tokens": tokens, "targets": tokens, "positions": tokens, "segments": segments}, [1] * 3, [[]] * 3)


def test_words_are_hidden_and_remembered() -> None:
    masking = Masking(mask=3, pad=0, vocabulary=40, special=frozenset({0, 1, 2, 3}), share=0.5)
    batch = texts()
    torch.manual_seed(0)
    found = hidden_words(batch, masking)
    torch.manual_seed(0)
    assert torch.equal(hidden_words(batch, masking)["tokens"], found["tokens"])     # of the generator alone
    holes = found["targets"] != IGNORE
    assert holes.sum(1).tolist() == [2, 1, 2] and torch.equal(found["targets"][holes], batch["tokens"][holes])
    assert torch.equal(found["tokens"][~holes], batch["tokens"][~holes])
    assert torch.equal(found["segments"], batch["segments"])
    fates = [hidden_words(batch, masking) for _ in range(300)]
    chosen = torch.cat([one["tokens"][one["targets"] != IGNORE] for one in fates])
    assert (chosen == 3).float().mean().item() == pytest.approx(0.8, abs=0.04)
    assert not torch.isin(chosen, torch.tensor([0, 1, 2])).any()


def test_texts_change_places_whole() -> None:
    found = retold(texts(), torch.tensor([1, 1, 0]))
    assert found["tokens"][:, 1].tolist() == [20, 20, 10] and found["segments"].sum(1).tolist() == [4, 4, 6]
