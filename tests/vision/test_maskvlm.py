"""MaskVLM: what is hidden is told from the other modality alone; hard pairs; its objectives pair by pair; a row."""

import math
from pathlib import Path

import pytest
import torch

from preceptor.data.pictures.pretext import hidden_words, mismatched
from preceptor.models.vision.autoencoders import unpatched
from preceptor.models.vision.fusion import patches_of
from preceptor.vision.system import System, positives
from tests.vision.by_heart import knows, learn
from tests.vision.conftest import Book
from tests.vision.rows import check_row
from tests.vision.test_towers import TEXTS, batch_of, tiny


def lively(book: Book) -> System:
    system = tiny("maskvlm", book, vector=8)
    with torch.no_grad():
        for weight in system.parameters():
            weight.add_(torch.randn_like(weight) * 0.1)
    return system


def test_patches_are_cut_and_put_together_again() -> None:
    pixels = torch.randn(2, 3, 16, 16)
    assert torch.equal(unpatched(patches_of(pixels, 4), 4), pixels)
    assert torch.equal(patches_of(pixels, 4)[1, 5], pixels[1, :, 4:8, 4:8].flatten())


@torch.no_grad()
def test_hidden_patches_are_painted_from_the_text_and_hidden_words_told_from_the_picture(book: Book) -> None:
    system = lively(book)
    batch = batch_of(system)
    pixels, hidden = batch["pixels"], torch.zeros(5, 4, dtype=torch.bool)
    hidden[:, 1] = True
    texts = hidden_words(batch, system.masking)

    def rebuilt(pictures: torch.Tensor, told: object) -> dict[str, float]:
        found = system.rebuilt(pictures, system.read(pictures, told), texts, hidden)
        return {name: (total / count).item() for name, (total, count) in found.items()}

    painted = pixels.clone()
    painted[:, :, :8, 8:] = 0.3     # the hidden patch has other pixels
    other = type(batch)({name: value.flip(0) for name, value in batch.tensors.items()}, batch.counts, batch.documents)
    assert rebuilt(pixels, batch)["words"] != pytest.approx(rebuilt(painted, batch)["words"], abs=1e-6)
    assert rebuilt(pixels, batch)["pixels"] != pytest.approx(rebuilt(pixels, other)["pixels"], abs=1e-6)
    whole, image = system.read(pixels, batch), system.image(pixels, bool_masked_pos=hidden).last_hidden_state
    same = system.image(painted, bool_masked_pos=hidden).last_hidden_state
    torch.testing.assert_close(image, same, rtol=0, atol=0)     # so the picture's own half cannot give it away
    seen = system.fusion.seen_image(image, whole[1], whole[2])
    assert not torch.allclose(seen[:, 0], system.fusion.seen_image(image, whole[1].flip(0), whole[2].flip(0))[:, 0])


@torch.no_grad()
def test_streams_look_both_ways_and_past_padding(book: Book) -> None:
    system = lively(book)
    batch = batch_of(system)
    image, text, seen = system.read(batch["pixels"], batch)
    padded = text.clone()
    padded[~seen] = 9.0
    torch.testing.assert_close(system.fusion.seen_image(image, padded, seen),
                               system.fusion.seen_image(image, text, seen))
    torch.testing.assert_close(system.fusion.seen_text(image, padded, seen)[seen],
                               system.fusion.seen_text(image, text, seen)[seen])
    last = image.clone()
    last[:, -1] += 1.0      # without a mask the first place would not see what stands behind it
    assert (system.fusion.seen_image(last, text, seen)[:, 0] - system.fusion.seen_image(image, text, seen)[:, 0]
            ).abs().max() > 1e-4


def test_its_objectives_are_those_of_the_pairs_one_by_one(book: Book) -> None:
    system = lively(book)
    batch = batch_of(system, positives=True)
    true = positives(batch)
    whole = system.read(batch["pixels"], batch)
    logits = torch.randn(5, 5)
    torch.manual_seed(3)
    total, count = system.matching(whole, true, logits)
    torch.manual_seed(3)
    (rows, texts), (columns, pictures) = mismatched(true, logits), mismatched(true.T, logits.T)
    wrong = [*zip(rows.tolist(), texts.tolist()), *zip(pictures.tolist(), columns.tolist())]
    assert not any(true[pair] for pair in wrong) and count == 5 + len(wrong) == 15
    scores = system.score(batch["pixels"], TEXTS)
    expected = sum(math.log1p(math.exp(-scores[n, n])) for n in range(5))
    expected += sum(math.log1p(math.exp(scores[pair])) for pair in wrong)
    assert total.item() == pytest.approx(expected, rel=1e-4)


def test_only_what_is_hidden_counts(book: Book) -> None:
    system = lively(book)
    batch = batch_of(system)
    found = system.losses(batch)
    assert set(found) == {"contrast", "matching", "words", "pixels"}
    assert found["pixels"][1] == 5 * round(0.6 * 4)
    lengths = (batch["segments"] > 0).sum(1) - 2    # without start and end
    assert found["words"][1] == sum(max(1, round(0.3 * length)) for length in lengths.tolist())


def test_it_learns_four_pictures_by_heart(book: Book) -> None:
    system = tiny("maskvlm", book, vector=8, layers=1, fusion_layers=1)
    learn(system, 120, copies=4, rate=5e-3)
    assert knows(system) == [0, 1, 2, 3]


def test_it_is_a_row(book: Book, tmp_path: Path) -> None:
    system = check_row("maskvlm", book, tmp_path, vector=8, fusion_layers=1)
    vectors = system.embed(torch.zeros(2, 3, 32, 32))
    assert vectors.shape == (2, 8) and torch.allclose(vectors.norm(dim=1), torch.ones(2))
