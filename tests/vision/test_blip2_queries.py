"""BLIP-2's first stage: outputs those of transformers, losses those of a slow version of the paper."""

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from preceptor.data.batches import Batch
from preceptor.losses.image_text import clip_sum, softmax_sum
from preceptor.models.vision.querying import who_sees_whom
from preceptor.tokenizer.chat import load_tokenizer
from preceptor.vision.keep import load_system, system_class
from preceptor.vision.system import System
from tests.vision.conftest import Book, run_stage
from tests.vision.rows import TINY, check_row
from tests.vision.test_splice import QUERIES, ROOM, language_model

TEXTS = ["a red hat", "two blue chairs and a book", "a clock", "a green ladder", "one hat that is red"]
SHAPE = {"width": 12, "layers": 2, "heads": 2, "patch": 8, "text_length": 16, "vector": 6, **QUERIES}


def tiny(book: Book) -> System:
    torch.manual_seed(0)
    kind = system_class("blip2_queries")
    system = kind(kind.options_class(system="blip2_queries", **SHAPE), load_tokenizer(book.tokenizer / "model"), 16,
                  {}).eval()
    with torch.no_grad():
        for weight in system.parameters():  # fresh weights are near zero, where much would look equal
            weight.add_(0.1 * torch.randn_like(weight))
    return system


def batch_of(system: System, concepts: list[int]) -> Batch:
    told = system.text_batch(TEXTS)
    pixels = torch.randn(5, 3, 16, 16, generator=torch.Generator().manual_seed(1)).clamp(-1, 1)
    return Batch(told.tensors | {"pixels": pixels, "concepts": torch.tensor(concepts), "wordings": torch.arange(5)},
                 [1] * 5, [[]] * 5)


def theirs(system: System) -> nn.Module:
    """transformers' network for retrieval over the same weights; its own image tower is put into the system."""
    from transformers import Blip2Config, Blip2ForImageTextRetrieval, Blip2QFormerConfig, Blip2VisionConfig
    shape = system.fusion.network.config.to_dict() | {"vocab_size": system.text.words.num_embeddings,
                                                      "max_position_embeddings": 16}
    model = Blip2ForImageTextRetrieval(Blip2Config(
        vision_config=Blip2VisionConfig(hidden_size=12, intermediate_size=24, num_hidden_layers=2,
                                        num_attention_heads=2, image_size=16, patch_size=8).to_dict(),
        qformer_config=Blip2QFormerConfig(**{name: shape[name] for name in Blip2QFormerConfig().to_dict()
                                             if name in shape}).to_dict(),
        num_query_tokens=4, image_text_hidden_size=6)).eval()
    model.qformer.load_state_dict(system.fusion.network.state_dict())
    model.embeddings.word_embeddings.load_state_dict(system.text.words.state_dict())
    model.embeddings.position_embeddings.load_state_dict(system.text.places.state_dict())
    for name, part in (("image", model.vision_projection), ("text", model.text_projection), ("match", model.itm_head)):
        part.load_state_dict(system.heads[name].state_dict())
    with torch.no_grad():
        model.query_tokens.copy_(system.fusion.queries[None])
        for weight in model.vision_model.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    system.image = model.vision_model
    return model


def test_contrast_and_match_are_those_of_transformers(book: Book) -> None:
    system = tiny(book)
    model, batch = theirs(system), batch_of(system, [0, 1, 2, 3, 4])
    tokens, seen = batch["tokens"], (batch["segments"] > 0)
    inputs = {"pixel_values": batch["pixels"], "input_ids": tokens, "attention_mask": seen.long()}
    patches = system.image(batch["pixels"]).last_hidden_state
    cosines = system.cosines(*system.vectors(patches, tokens, seen))
    torch.testing.assert_close(cosines, model(**inputs).logits_per_image, rtol=0, atol=1e-5)
    judged = model(**inputs, use_image_text_matching_head=True).logits_per_image
    torch.testing.assert_close(system.matches(patches, tokens, seen), judged, rtol=0, atol=1e-5)
    scores = system.score(batch["pixels"], TEXTS)
    torch.testing.assert_close(scores.diagonal(), (judged[:, 1] - judged[:, 0]).detach(), rtol=0, atol=1e-5)
    loss, other = cosines.sum(), model(**inputs).logits_per_image.sum()
    ours = torch.autograd.grad(loss, system.fusion.queries)[0]
    torch.testing.assert_close(ours, torch.autograd.grad(other, model.query_tokens)[0][0], rtol=1e-4, atol=1e-5)


def slow_contrast(logits: Tensor, true: Tensor, smoothing: float) -> float:
    total = 0.0
    for table, belongs in ((logits, true), (logits.T, true.T)):
        for row, own in zip(table.tolist(), belongs.tolist()):
            z = math.log(sum(math.exp(value) for value in row))
            shares = [(1 - smoothing) * one / sum(own) + smoothing / len(row) for one in own]
            total -= sum(share * (value - z) for share, value in zip(shares, row)) / 2
    return total


@pytest.mark.parametrize("concepts", [[0, 1, 2, 3, 4], [0, 1, 2, 3, 0]])
def test_the_three_losses_are_those_of_a_slow_version(concepts: list[int], book: Book) -> None:
    system = tiny(book)
    batch = batch_of(system, concepts)
    true = torch.tensor(concepts)[:, None] == torch.tensor(concepts)
    torch.manual_seed(7)
    losses = system.losses(batch)
    with torch.no_grad():
        patches, seen = system.image(batch["pixels"]).last_hidden_state, batch["segments"] > 0
        cosines = system.cosines(*system.vectors(patches, batch["tokens"], seen))
        expected = slow_contrast(system.scale() * cosines, true, 0.1)
        assert float(losses["contrast"][0].detach()) == pytest.approx(expected, rel=1e-5)
        pairs = -system.matches(patches, batch["tokens"], seen).log_softmax(1)[:, 1].sum()
        rest = float(losses["match"][0].detach() - pairs)
        assert losses["match"][1] == 15 and rest > 0
        wrong = [[float(-one.log_softmax(0)[0]) for one in system.matches(
            patches[[i] * 5], batch["tokens"], seen)] for i in range(5)]  # picture i with text t
        chosen = possible_sums([[wrong[i][t] for t in range(5) if not true[i, t]] for i in range(5)]
                               + [[wrong[i][t] for i in range(5) if not true[i, t]] for t in range(5)])
        assert min(abs(rest - one) for one in chosen) < 1e-4
        nats, count = 0.0, 0
        for row in range(5):
            tokens = batch["tokens"][row, seen[row]].tolist()
            first = system.text.words.num_embeddings - 1
            for place in range(1, len(tokens)):
                before = torch.tensor([[first, *tokens[1:place]]])
                mask = who_sees_whom("write", 4, torch.ones_like(before, dtype=torch.bool))
                states = system.fusion(patches[row:row + 1], system.text(before), mask)[0, -1:]
                nats -= float(system.heads["write"](states, system.text.words).log_softmax(1)[0, tokens[place]])
                count += 1
        assert losses["write"][1] == count and float(losses["write"][0].detach()) == pytest.approx(nats, rel=1e-5)


def possible_sums(choices: list[list[float]]) -> list[float]:
    """Every sum of one of each, rounded sums merged so that there are not too many."""
    sums = {0.0}
    for some in choices:
        sums = {round(total + one, 5) for total in sums for one in some}
    return sorted(sums)


def test_masks_say_who_sees_whom(book: Book) -> None:
    words = torch.tensor([[True, True, False]])
    rows = {kind: who_sees_whom(kind, 2, words)[0].int().tolist() for kind in ("contrast", "match", "write")}
    assert rows["contrast"] == [[1, 1, 0, 0, 0], [1, 1, 0, 0, 0], [0, 0, 1, 1, 0], [0, 0, 1, 1, 0], [0, 0, 1, 1, 1]]
    assert rows["match"] == [[1, 1, 1, 1, 0]] * 4 + [[1, 1, 1, 1, 1]]
    assert rows["write"] == [[1, 1, 0, 0, 0], [1, 1, 0, 0, 0], [1, 1, 1, 0, 0], [1, 1, 1, 1, 0], [1, 1, 1, 1, 1]]
    system = tiny(book)
    batch, patches = batch_of(system, [0, 1, 2, 3, 4]), torch.randn(5, 4, 12)
    told = system.text(batch["tokens"])
    alone = system.fusion(patches)
    for kind in ("contrast", "write"):  # what the queries see does not depend on words
        mask = who_sees_whom(kind, 4, batch["segments"] > 0)
        torch.testing.assert_close(system.fusion(patches, told, mask)[:, :4], alone, rtol=0, atol=1e-5)


def test_a_softmax_of_logits_is_clips_and_smoothing_takes_its_share() -> None:
    torch.manual_seed(0)
    images, texts = (nn.functional.normalize(torch.randn(4, 6), dim=1) for _ in range(2))
    logits = 5 * images @ texts.T
    torch.testing.assert_close(softmax_sum(logits), clip_sum(images, texts, 5.0))
    true = torch.eye(4, dtype=torch.bool)
    true[0, 3] = True
    assert float(softmax_sum(logits, true, 0.2)) == pytest.approx(slow_contrast(logits, true, 0.2), rel=1e-5)


def test_it_is_a_row_and_the_second_stage_sees_with_its_queries(book: Book, tmp_path: Path) -> None:
    train = system_class("blip2_queries").options_class().train
    check_row("blip2_queries", book, tmp_path / "first", train=train, vector=6, **QUERIES)
    first = tmp_path / "first/whole"
    needs = {"pictures": book.pictures, "start": first, "language_model": language_model(book, tmp_path / "language")}
    second = load_system(run_stage("vision", tmp_path / "second", needs, system="blip2",
                                   **TINY | ROOM | QUERIES | {"steps": 0}))
    taken = load_system(first)
    for part in ("image", "fusion"):
        for weight, value in getattr(taken, part).state_dict().items():
            assert torch.equal(value, getattr(second, part).state_dict()[weight])


def test_it_learns_four_pictures_by_heart(book: Book) -> None:
    torch.manual_seed(0)
    kind = system_class("blip2_queries")
    system = kind(kind.options_class(**SHAPE), load_tokenizer(book.tokenizer / "model"), 16, {})
    colours = torch.tensor([[1., -1, -1], [-1, 1, -1], [-1, -1, 1], [1, 1, -1]])
    texts = ["red", "green", "blue", "yellow"]
    told = system.text_batch(texts)
    batch = Batch(told.tensors | {"pixels": colours[:, :, None, None].expand(4, 3, 16, 16).contiguous(),
                                  "concepts": torch.arange(4), "wordings": torch.arange(4)}, [1] * 4, [[]] * 4)
    optimiser = torch.optim.Adam(system.parameters(), lr=0.01)
    found: list[int] = []
    for step in range(200):
        loss = sum(total / count for total, count in system.losses(batch).values())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step % 20 == 19 and float(loss.detach()) < 1:
            found = system.score(batch["pixels"], texts).argmax(1).tolist()
            if found == [0, 1, 2, 3]:
                break
    assert found == [0, 1, 2, 3]
