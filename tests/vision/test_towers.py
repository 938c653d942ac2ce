"""CLIP, SigLIP and Llip: equal to transformers and to a slow version of the paper; rows like all others."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from preceptor.data.batches import Batch
from preceptor.models.vision.checkpoints import as_transformers, take_transformers
from preceptor.models.vision.mixture import Mixture
from preceptor.tokenizer.chat import load_tokenizer
from preceptor.vision.keep import system_class
from preceptor.vision.system import System
from tests.vision.by_heart import knows, learn
from tests.vision.conftest import Book
from tests.vision.rows import TINY, check_row

TEXTS = ["a red hat", "two blue chairs and a book", "a clock", "a green ladder", "one hat that is red"]


def tiny(name: str, book: Book, **options: Any) -> System:
    kind = system_class(name)
    shape = {key: TINY[key] for key in ("width", "heads", "patch")} | {"layers": 2, "text_length": 12}
    torch.manual_seed(0)
    tokenizer = load_tokenizer(book.tokenizer / "model")
    return kind(kind.options_class(system=name, **shape | options), tokenizer, 16, {}).eval()


def batch_of(system: System, positives: bool = False) -> Batch:
    told = system.text_batch(TEXTS)
    pixels = torch.randn(5, 3, 16, 16, generator=torch.Generator().manual_seed(1)).clamp(-1, 1)
    apart = torch.arange(5)
    concepts = torch.tensor([0, 1, 2, 3, 0]) if positives else apart
    return Batch(told.tensors | {"pixels": pixels, "concepts": concepts, "wordings": apart}, [1] * 5, [[]] * 5)


@pytest.mark.parametrize("name", ["clip", "siglip"])
def test_outputs_loss_and_gradients_are_those_of_transformers(name: str, book: Book) -> None:
    ours = tiny(name, book)
    with torch.no_grad():
        for weight in ours.parameters():  # their fresh weights are near zero, where much would look equal
            weight.add_(torch.randn_like(weight) * 0.1)
    theirs, batch = as_transformers(ours, name), batch_of(ours)
    tokens = batch["tokens"]
    if name == "siglip":
        tokens = torch.nn.functional.pad(tokens, (0, 12 - tokens.shape[1]), value=ours.tokenizer.pad_token_id)
    out = theirs(input_ids=tokens, pixel_values=batch["pixels"], return_loss=True)
    loss, count = next(iter(ours.losses(batch).values()))
    torch.testing.assert_close(ours.image_vectors(batch["pixels"]), normalize(out.image_embeds, dim=1), rtol=0,
                               atol=1e-5)
    torch.testing.assert_close(ours.text_vectors(batch), normalize(out.text_embeds, dim=1), rtol=0, atol=1e-5)
    torch.testing.assert_close(loss / count, out.loss, rtol=1e-6, atol=1e-6)
    (loss / count).backward()
    out.loss.backward()
    back = tiny(name, book)
    for parameter in theirs.parameters():  # gradients travel by the same map as weights
        parameter.data = parameter.grad
    take_transformers(back, theirs, name)
    largest = max(parameter.grad.abs().max() for parameter in ours.parameters())
    assert largest > 1e-3
    for (weight, mine), their in zip(ours.named_parameters(), back.parameters()):
        torch.testing.assert_close(mine.grad, their.data, rtol=1e-4, atol=1e-4 * float(largest), msg=weight)


@pytest.mark.parametrize("name", ["clip", "siglip"])
def test_weights_go_to_transformers_and_back_to_the_same_bits(name: str, book: Book) -> None:
    ours, other = tiny(name, book), tiny(name, book)
    for weight in other.parameters():
        weight.data.zero_()
    take_transformers(other, as_transformers(ours, name), name)
    for mine, back in zip(ours.parameters(), other.parameters()):
        assert torch.equal(mine, back)


@pytest.mark.parametrize("name", ["clip", "siglip", "llip"])
def test_what_shows_one_concept_in_a_batch_belongs_together(name: str, book: Book) -> None:
    system = tiny(name, book, **({"mixture": 3, "mixture_heads": 2} if name == "llip" else {}))
    knowing, ignorant = (next(iter(system.losses(batch_of(system, known)).values()))[0] for known in (True, False))
    cosines = system.score(batch_of(system)["pixels"], TEXTS)
    with torch.no_grad():
        if name == "clip":
            logits = system.scale() * cosines
            expected = sum(-(table.log_softmax(1)[[0, 4]][:, [0, 4]].mean(1)).sum()
                           - table.log_softmax(1).diagonal()[1:4].sum() for table in (logits, logits.T)) / 2
        else:
            signs = torch.eye(5) * 2 - 1
            signs[0, 4] = signs[4, 0] = 1
            expected = -(signs * (system.scale() * cosines + system.scale.bias)).sigmoid().log().sum()
    assert float(knowing.detach()) == pytest.approx(float(expected), rel=1e-5)
    assert abs(float(knowing.detach() - ignorant.detach())) > 1e-3


def slow_mixture(mix: Mixture, tokens: Tensor, text: Tensor, heads: int, temperature: float) -> Tensor:
    """One picture (K, D) as one text (V) sees it, head by head as the paper has it."""
    query, width = mix.query.weight @ text, len(mix.query.weight) // heads
    seen = []
    for head in range(heads):
        span = slice(head * width, (head + 1) * width)
        logits = [float(query[span] @ (mix.key.weight @ token)[span]) / temperature for token in tokens]
        shares = [math.exp(logit) / sum(math.exp(other) for other in logits) for logit in logits]
        seen.append(sum(share * (mix.value.weight @ token)[span] for share, token in zip(shares, tokens)))
    out = mix.out.weight @ torch.cat(seen)
    return out / out.norm()


@torch.no_grad()
def test_llip_mixes_as_a_slow_version_of_the_paper() -> None:
    torch.manual_seed(0)
    mix = Mixture(width=8, vector=6, heads=2, temperature=0.7).double()
    tokens, texts = torch.randn(3, 4, 8, dtype=torch.float64), normalize(torch.randn(5, 6, dtype=torch.float64), dim=1)
    fast, cosines = mix(tokens, texts), mix.cosines(tokens, texts)
    for i in range(3):
        for t in range(5):
            slow = slow_mixture(mix, tokens[i], texts[t], 2, 0.7)
            torch.testing.assert_close(fast[i, t], slow, rtol=0, atol=1e-12)
            assert float(cosines[i, t]) == pytest.approx(float(slow @ texts[t]), abs=1e-12)
    assert (fast[0, 0] - fast[0, 1]).abs().max() > 1e-3  # two texts see two pictures in one


def test_llip_with_one_token_sees_the_same_for_every_text() -> None:
    torch.manual_seed(0)
    mix = Mixture(width=8, vector=6, heads=2, temperature=5.0)
    vectors = mix(torch.randn(2, 1, 8), torch.randn(3, 6))
    torch.testing.assert_close(vectors, vectors[:, :1].expand(-1, 3, -1))


@pytest.mark.parametrize("name, options", [("clip", {"vector": 8, "train": "text, scale"}), ("siglip", {"chunk": 2}),
                                           ("llip", {"mixture": 3, "mixture_heads": 2})])
def test_it_is_a_row(name: str, options: dict[str, Any], book: Book, tmp_path: Path) -> None:
    check_row(name, book, tmp_path, **options)


@pytest.mark.parametrize("name", ["clip", "siglip", "llip"])
def test_it_learns_four_pictures_by_heart(name: str, book: Book) -> None:
    system = tiny(name, book, **({"mixture": 3, "mixture_heads": 2} if name == "llip" else {}))
    learn(system, 60)
    assert knows(system) == [0, 1, 2, 3]


def test_a_scale_that_went_too_far_comes_back() -> None:
    from preceptor.models.vision.match import Scale
    scale = Scale(start=1 / 0.07, most=100)
    assert scale().item() == pytest.approx(1 / 0.07)
    scale.log_scale.data.fill_(9.0)
    used = scale()
    assert used.item() == pytest.approx(100)
    used.backward()
    assert float(scale.log_scale.grad) == pytest.approx(100)  # cut in the loss it would be 0, and never move again


def test_an_unknown_system_is_named() -> None:
    from preceptor.run.errors import UserError
    with pytest.raises(UserError, match="There is no system 'clop'. Did you mean 'clip'?"):
        system_class("clop")
