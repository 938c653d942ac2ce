"""FLAVA: six losses, outputs and gradients equal to FlavaForPreTraining; false negatives; a row."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import normalize

from preceptor.data.batches import IGNORE
from preceptor.data.pictures.pretext import hidden_words
from preceptor.models.vision.checkpoints import as_transformers, take_transformers
from preceptor.vision.system import System
from preceptor.vision.systems.flava import Holes
from tests.vision.by_heart import KnownClasses, colours_of, knows, learn
from tests.vision.conftest import Book
from tests.vision.rows import check_row
from tests.vision.test_towers import batch_of, tiny

THEIRS = {"contrast": "global_contrastive", "codes": "mim", "words": "mlm", "fused_codes": "mmm_image",
          "fused_words": "mmm_text", "matching": "itm"}


def flava(book: Book, **options: Any) -> System:
    system = tiny("flava", book, vector=8, codes=6, **options)
    system.classes = KnownClasses(6)
    return system


def losses_of_transformers(theirs: nn.Module, batch: dict, holes: Holes) -> dict[str, torch.Tensor]:
    """Theirs has the losses of one modality only where the other is not there, and drops the contrast's rows whose
    text is not their own; so each is asked in the call that has it."""
    texts, pixels = holes.texts, batch["pixels"]
    rows, others = holes.wrong_pictures, holes.wrong_texts
    seen, hidden = (texts["segments"] > 0).long(), holes.codes_BP != IGNORE
    common = {"return_loss": True}

    def pairs(pictures: torch.Tensor, told: torch.Tensor, labels: torch.Tensor) -> dict:
        return theirs(input_ids=batch["tokens"][told], input_ids_masked=texts["tokens"][told],
                      pixel_values=pixels[pictures], attention_mask=seen[told], bool_masked_pos=hidden[pictures],
                      mlm_labels=texts["targets"][told].clone(), mim_labels=holes.codes_BP[pictures].clone(),
                      itm_labels=labels, **common).loss_info

    own = torch.arange(len(pixels))
    alone = pairs(own, own, torch.ones(len(own), dtype=torch.long))
    labels = torch.cat([torch.ones(len(own)), torch.zeros(len(rows))]).long()
    mixed = pairs(torch.cat([own, rows]), torch.cat([own, others]), labels)
    picture = theirs(pixel_values=pixels, bool_masked_pos=hidden, mim_labels=holes.codes_BP.clone(), **common).loss_info
    text = theirs(input_ids=texts["tokens"], input_ids_masked=texts["tokens"], attention_mask=seen,
                  mlm_labels=texts["targets"].clone(), **common).loss_info
    return {"global_contrastive": alone.global_contrastive, "mim": picture.mim, "mlm": text.mlm, "itm": mixed.itm,
            "mmm_image": mixed.mmm_image, "mmm_text": mixed.mmm_text}


def test_six_losses_outputs_and_gradients_are_those_of_transformers(book: Book) -> None:
    ours = flava(book)
    with torch.no_grad():
        for weight in ours.parameters():
            weight.add_(torch.randn_like(weight) * 0.1)
    theirs, batch = as_transformers(ours, "flava"), batch_of(ours)
    torch.manual_seed(1)
    hidden = torch.rand(5, 4) < 0.5
    hidden[:, 0] = True
    codes = torch.randint(6, (5, 4)).masked_fill(~hidden, IGNORE)
    holes = Holes(hidden_words(batch, ours.masking), codes, torch.tensor([0, 2, 3]), torch.tensor([4, 1, 0]))
    found = {"contrast": ours.contrast(batch)} | ours.masked(batch["pixels"], holes)
    expected = losses_of_transformers(theirs, batch.tensors, holes)
    for name, (total, count) in found.items():
        torch.testing.assert_close(total / count, expected[THEIRS[name]], rtol=1e-6, atol=1e-6, msg=name)
    out = theirs(input_ids=batch["tokens"], input_ids_masked=batch["tokens"], pixel_values=batch["pixels"],
                 attention_mask=(batch["segments"] > 0).long(), return_loss=False)
    vectors = theirs.flava.image_projection(out.image_embeddings[:, 0])
    torch.testing.assert_close(ours.image_vectors(batch["pixels"]), normalize(vectors, dim=1), rtol=0, atol=1e-5)
    vectors = theirs.flava.text_projection(out.text_embeddings[:, 0])
    torch.testing.assert_close(ours.text_vectors(batch), normalize(vectors, dim=1), rtol=0, atol=1e-5)
    sum(total / count for total, count in found.values()).backward()
    sum(expected.values()).backward()
    back = flava(book)
    for parameter in theirs.parameters():   # gradients travel by the same map as weights
        parameter.data = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
    take_transformers(back, theirs, "flava")
    largest = max(float(parameter.grad.abs().max()) for parameter in ours.parameters())
    for (name, mine), their in zip(ours.named_parameters(), back.parameters()):
        torch.testing.assert_close(mine.grad, their.data, rtol=1e-4, atol=1e-4 * largest, msg=name)


def test_weights_go_to_transformers_and_back_to_the_same_bits(book: Book) -> None:
    ours, other = flava(book), flava(book)
    for weight in other.parameters():
        weight.data.zero_()
    take_transformers(other, as_transformers(ours, "flava"), "flava")
    for mine, back in zip(ours.parameters(), other.parameters()):
        assert torch.equal(mine, back)


def test_one_concept_twice_in_a_batch_is_no_negative(book: Book) -> None:
    system = flava(book)
    twice = colours_of(system, copies=2)
    images, texts = system.image_vectors(twice["pixels"]), system.text_vectors(twice)
    table = system.scale() * images @ texts.T
    expected = 0.0
    for one in (table, table.T):
        expected -= sum(one.log_softmax(1)[row, [row % 4, row % 4 + 4]].mean() for row in range(8)) / 2
    torch.testing.assert_close(system.contrast(twice)[0], expected, rtol=1e-5, atol=1e-5)
    same = colours_of(system)
    same.tensors["concepts"] = torch.zeros(4, dtype=torch.long)
    assert system.losses(same)["matching"][1] == 4      # all true: no pair is said to be wrong


def test_a_picture_alone_does_not_see_the_text_and_the_fused_one_does(book: Book) -> None:
    system = flava(book)
    batch = batch_of(system)
    codes = torch.randint(6, (5, 4))
    none = torch.zeros(0, dtype=torch.long)
    first = Holes(hidden_words(batch, system.masking), codes, none, none)
    order = torch.tensor([1, 2, 3, 4, 0])
    moved = type(batch)({name: value[order] for name, value in first.texts.tensors.items()}, batch.counts, [[]] * 5)
    before, after = system.masked(batch["pixels"], first), system.masked(batch["pixels"], first._replace(texts=moved))
    assert before["codes"][0].item() == pytest.approx(after["codes"][0].item(), rel=1e-6)
    assert abs(before["fused_codes"][0].item() - after["fused_codes"][0].item()) > 1e-5


def test_it_learns_four_pictures_by_heart(book: Book) -> None:
    system = flava(book, layers=1, fusion_layers=1)
    learn(system, 80, copies=2, rate=5e-3)
    assert knows(system) == [0, 1, 2, 3]


def test_it_is_a_row(book: Book, tmp_path: Path, tokenizer_step: Path) -> None:
    system = check_row("flava", book, tmp_path, {"quantizer": tokenizer_step}, codes=12, vector=8, fusion_layers=1)
    assert system.classes is None   # used without what taught it codes
