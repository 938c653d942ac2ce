"""VisualBERT equals transformers', ViLBERT a slow version of the paper; both see past what is hidden, and match."""

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from preceptor.data.batches import IGNORE
from preceptor.data.pictures.pretext import hidden_words
from preceptor.models.vision.streams import CoAttention
from preceptor.run.errors import UserError
from preceptor.vision.masked import PatchClasses
from preceptor.vision.system import System
from tests.vision.by_heart import KnownClasses, colours_of, knows, learn
from tests.vision.conftest import Book
from tests.vision.rows import check_row
from tests.vision.test_towers import TEXTS, batch_of, tiny

OWN = torch.tensor([True, False, True, True, False])


def lively(name: str, book: Book, **options: Any) -> System:
    system = tiny(name, book, **options)
    with torch.no_grad():
        for weight in system.parameters():
            weight.add_(torch.randn_like(weight) * 0.1)
    return system


def test_visualbert_has_the_outputs_losses_and_gradients_of_transformers(book: Book) -> None:
    ours = lively("visualbert", book)
    theirs, batch = copy.deepcopy(ours), batch_of(ours)
    torch.manual_seed(1)
    texts = hidden_words(batch, ours.masking)
    found = ours.objectives(batch["pixels"], texts, OWN)
    patches = theirs.image(batch["pixels"])
    labels = torch.cat([texts["targets"].masked_fill(~OWN[:, None], IGNORE), torch.full(patches.shape[:2], IGNORE)], 1)
    out = theirs.fusion(input_ids=texts["tokens"], attention_mask=(texts["segments"] > 0).long(), visual_embeds=patches,
                        visual_attention_mask=torch.ones(patches.shape[:2], dtype=torch.long), labels=labels,
                        sentence_image_labels=(~OWN).long())
    states, matching = ours.read(batch["pixels"], texts)
    torch.testing.assert_close(matching, out.seq_relationship_logits, rtol=0, atol=1e-5)
    torch.testing.assert_close(ours.fusion.cls.predictions(states), out.prediction_logits, rtol=0, atol=1e-5)
    loss = sum(total / count for total, count in found.values())
    torch.testing.assert_close(loss, out.loss, rtol=1e-6, atol=1e-6)
    assert found["words"][1] == int((labels != IGNORE).sum()) > 0 and found["matching"][1] == 5
    loss.backward()
    out.loss.backward()
    for (name, mine), their in zip(ours.named_parameters(), theirs.parameters()):
        torch.testing.assert_close(mine.grad, their.grad, rtol=1e-4, atol=1e-6, msg=name)


def asking(side: nn.Module, own_ND: Tensor, other_MD: Tensor, heads: int) -> Tensor:
    """One stream's half of a co-attentional layer, by loops over its states and heads."""
    attention = side.attention
    (wq, wk, wv), (bq, bk, bv) = attention.in_proj_weight.chunk(3), attention.in_proj_bias.chunk(3)
    width, rows = own_ND.shape[1] // heads, []
    for state in own_ND:
        query, parts = wq @ state + bq, []
        for head in range(heads):
            span = slice(head * width, (head + 1) * width)
            logits = [float(query[span] @ (wk @ one + bk)[span]) / math.sqrt(width) for one in other_MD]
            total = sum(math.exp(logit) for logit in logits)
            parts.append(sum(math.exp(logit) / total * (wv @ one + bv)[span] for logit, one in zip(logits, other_MD)))
        x = normed(side.norms[0], state + attention.out_proj.weight @ torch.cat(parts) + attention.out_proj.bias)
        wide = side.mlp[0].weight @ x + side.mlp[0].bias
        wide = wide / 2 * (1 + torch.erf(wide / math.sqrt(2)))
        rows.append(normed(side.norms[1], x + side.mlp[2].weight @ wide + side.mlp[2].bias))
    return torch.stack(rows)


def normed(layer: nn.LayerNorm, x: Tensor) -> Tensor:
    centred = x - x.mean()
    return centred / (centred.square().mean() + layer.eps).sqrt() * layer.weight + layer.bias


@torch.no_grad()
def test_co_attention_is_a_slow_version_of_the_paper() -> None:
    torch.manual_seed(0)
    layer = CoAttention(8, 2).double()
    for weight in layer.parameters():
        weight.add_(torch.randn_like(weight) * 0.3)
    image, text = torch.randn(2, 5, 8).double(), torch.randn(2, 4, 8).double()
    seen = torch.tensor([[True, True, True, True], [True, True, False, False]])
    images, texts = layer(image, text, seen)
    for row, length in enumerate((4, 2)):   # padding of the text answers nothing
        torch.testing.assert_close(images[row], asking(layer.image, image[row], text[row, :length], 2), rtol=0,
                                   atol=1e-10)
        torch.testing.assert_close(texts[row, :length], asking(layer.text, text[row, :length], image[row], 2), rtol=0,
                                   atol=1e-10)


def test_vilbert_has_the_three_losses_of_the_paper(book: Book) -> None:
    system = lively("vilbert", book, codes=6)
    batch = batch_of(system)
    texts, hidden = hidden_words(batch, system.masking), torch.rand(5, 4) < 0.5
    hidden[0, 0], hidden[1, 0] = True, True
    classes = torch.randn(5, 4, 6)
    found = system.objectives(batch["pixels"], texts, OWN, hidden, classes)
    expected = {"words": 0.0, "classes": 0.0, "matching": 0.0}
    counts = dict.fromkeys(expected, 0)
    with torch.no_grad():
        for row in range(5):    # each pair by itself, without its neighbours' padding
            length = int((texts["segments"][row] > 0).sum())
            one = type(texts)({name: value[row:row + 1, :length] for name, value in texts.tensors.items()}, [1], [[]])
            image, text = system.read(batch["pixels"][row:row + 1], one, hidden[row:row + 1])
            logit = float(system.matching_head(image[:, 0], text[:, 0]))
            expected["matching"] += math.log1p(math.exp(-logit if OWN[row] else logit))
            counts["matching"] += 1
            if not OWN[row]:
                continue
            for place, target in enumerate(one["targets"][0].tolist()):
                if target != IGNORE:
                    expected["words"] -= float(system.words_head(text[0, place:place + 1])[0].log_softmax(0)[target])
                    counts["words"] += 1
            for patch in hidden[row].nonzero()[:, 0].tolist():
                true, told = classes[row, patch].softmax(0), system.classes_head(image[0, 1 + patch:2 + patch])[0]
                expected["classes"] += float((true * (true.log() - told.log_softmax(0))).sum())
                counts["classes"] += 1
    for name, (total, count) in found.items():
        assert count == counts[name] > 0
        assert float(total.detach()) == pytest.approx(expected[name], rel=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("name", ["visualbert", "vilbert"])
def test_a_pair_is_scored_by_itself_and_by_both(name: str, book: Book) -> None:
    system = lively(name, book)
    pictures = batch_of(system)["pixels"]
    scores = system.score(pictures, TEXTS)
    torch.testing.assert_close(system.score(pictures[2:3], TEXTS[3:4]), scores[2:3, 3:4], rtol=0, atol=1e-5)
    apart = scores - scores.mean(0) - scores.mean(1, keepdim=True) + scores.mean()
    assert apart.abs().max() > 1e-4     # no sum of what a picture and what a text is by itself


@torch.no_grad()
def test_a_hidden_patch_cannot_be_seen(book: Book) -> None:
    system = lively("vilbert", book)
    batch = batch_of(system)
    hidden = torch.zeros(5, 4, dtype=torch.bool)
    hidden[:, 1] = True
    states = system.read(batch["pixels"], batch, hidden)[0]
    painted = batch["pixels"].clone()
    painted[:, :, :8, 8:] = 1.0     # the second of four patches
    torch.testing.assert_close(system.read(painted, batch, hidden)[0], states, rtol=0, atol=0)
    assert (system.read(painted, batch)[0] - system.read(batch["pixels"], batch)[0]).abs().max() > 1e-3


@pytest.mark.parametrize("name", ["visualbert", "vilbert"])
def test_they_learn_four_pictures_by_heart(name: str, book: Book) -> None:
    system = tiny(name, book, **({"codes": 6, "layers": 1, "fusion_layers": 1} if name == "vilbert" else {}))
    if name == "vilbert":
        system.classes = KnownClasses(6)
    # Copies: several rows of one colour are no negatives of one another.
    learn(system, 250, copies=4, rate=5e-3 if name == "vilbert" else 0.01)
    assert knows(system) == [0, 1, 2, 3]


def test_classes_of_patches_are_the_nearest_codes(book: Book, tokenizer_step: Path) -> None:
    classes = PatchClasses(tokenizer_step, 32, 8, 12)
    pixels = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0)).clamp(-1, 1)
    logits = classes.logits(pixels)
    assert logits.shape == (3, 16, 12) and torch.equal(logits.argmax(-1), classes.codes(pixels))
    for wrong in ((16, 8, 12), (32, 4, 12), (32, 8, 13)):
        with pytest.raises(UserError, match="here are"):
            PatchClasses(tokenizer_step, *wrong)


def test_what_teaches_classes_must_be_an_image_tokenizer(book: Book, tmp_path: Path) -> None:
    from preceptor.vision.keep import save_system
    save_system(tiny("siglip", book), tmp_path / "model")
    with pytest.raises(UserError, match="gives patches no classes"):
        PatchClasses(tmp_path, 16, 8, 12)


def test_visualbert_is_a_row(book: Book, tmp_path: Path) -> None:
    system = check_row("visualbert", book, tmp_path)
    assert system.tokenizer.mask_token_id == system.masking.mask


def test_vilbert_is_a_row(book: Book, tmp_path: Path, tokenizer_step: Path) -> None:
    system = check_row("vilbert", book, tmp_path, {"quantizer": tokenizer_step}, codes=12, fusion_layers=1)
    assert system.classes is None and colours_of(system)["pixels"].shape[-1] == 32     # used without its teacher
