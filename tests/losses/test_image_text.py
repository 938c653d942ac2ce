"""Image-text losses against transformers' CLIP and SigLIP and against plain loops with several positives."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize
from torch.profiler import ProfilerActivity, profile

from preceptor.losses.image_text import clip_sum, same_concept, siglip_sum

CONCEPTS = torch.tensor([0, 1, 0, 2, 1, 0, 3])
UNEVEN = torch.tensor([[i == j or (i, j) in {(0, 3), (0, 5), (2, 1), (6, 1)} for j in range(7)] for i in range(7)])
POSITIVES = {"pairs": None, "concepts": same_concept(CONCEPTS), "uneven": UNEVEN}


def draw(count: int, width: int, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    vectors = [normalize(torch.randn(count, width, generator=generator, dtype=dtype), dim=1) for _ in range(2)]
    return [tensor.requires_grad_() for tensor in (*vectors, torch.tensor(7.0, dtype=dtype),
                                                   torch.tensor(-3.0, dtype=dtype))]


def slow_clip(images: Tensor, texts: Tensor, scale: Tensor, positives: list[list[bool]]) -> Tensor:
    total, count = torch.zeros((), dtype=images.dtype), len(images)
    for queries, keys, true in ((images, texts, lambda i, j: positives[i][j]),
                                (texts, images, lambda i, j: positives[j][i])):
        for i in range(count):
            weights = [(scale * queries[i].dot(keys[j])).exp() for j in range(count)]
            mine = [j for j in range(count) if true(i, j)]
            total = total - sum((weights[j] / sum(weights)).log() for j in mine) / len(mine) / 2
    return total


def slow_siglip(images: Tensor, texts: Tensor, scale: Tensor, bias: Tensor, positives: list[list[bool]]) -> Tensor:
    return -sum((1 / (1 + (-(1 if true else -1) * (scale * images[i].dot(texts[j]) + bias)).exp())).log()
                for i, row in enumerate(positives) for j, true in enumerate(row))


def gradients(loss: Tensor, leaves: list[Tensor]) -> list[Tensor]:
    return list(torch.autograd.grad(loss, leaves))


@pytest.mark.parametrize("name", POSITIVES)
def test_both_equal_a_plain_loop_with_gradients(name: str) -> None:
    images, texts, scale, bias = leaves = draw(7, 5)
    positives = POSITIVES[name]
    table = (torch.eye(7, dtype=torch.bool) if positives is None else positives).tolist()
    for fast, slow, of in (
            (clip_sum(images, texts, scale, positives), slow_clip(images, texts, scale, table), leaves[:3]),
            (siglip_sum(images, texts, scale, bias, positives), slow_siglip(images, texts, scale, bias, table), leaves),
            (siglip_sum(images, texts, scale, bias, positives, chunk=3),
             slow_siglip(images, texts, scale, bias, table), leaves)):
        torch.testing.assert_close(fast, slow, rtol=1e-10, atol=0)
        torch.testing.assert_close(gradients(fast, of), gradients(slow, of), rtol=1e-8, atol=1e-12)


def tiny_towers(kind: str) -> torch.nn.Module:
    from transformers import CLIPConfig, CLIPModel, SiglipConfig, SiglipModel
    config_class, model_class = {"clip": (CLIPConfig, CLIPModel), "siglip": (SiglipConfig, SiglipModel)}[kind]
    size = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = size | {"vocab_size": 30, "max_position_embeddings": 8, "projection_size": 16, "eos_token_id": 2,
                   "bos_token_id": 1, "pad_token_id": 0}
    torch.manual_seed(0)
    vision = size | {"image_size": 8, "patch_size": 4}
    return model_class(config_class(text_config=text, vision_config=vision, projection_dim=16)).eval()


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_with_one_positive_each_is_the_loss_of_transformers(kind: str) -> None:
    model = tiny_towers(kind)
    words = torch.cat([torch.randint(3, 30, (5, 7)), torch.full((5, 1), 2)], dim=1)
    out = model(input_ids=words, pixel_values=torch.randn(5, 3, 8, 8), return_loss=True)
    vectors = normalize(out.image_embeds, dim=1), normalize(out.text_embeds, dim=1)
    scale = model.logit_scale.exp()
    ours = clip_sum(*vectors, scale) if kind == "clip" else siglip_sum(*vectors, scale, model.logit_bias, chunk=2)
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    torch.testing.assert_close(ours / 5, out.loss, rtol=1e-6, atol=1e-6)
    found = torch.autograd.grad(ours / 5, weights, retain_graph=True, allow_unused=True)
    expected = torch.autograd.grad(out.loss, weights, allow_unused=True)
    assert any(gradient is not None and gradient.abs().max() > 1e-3 for gradient in expected)
    for one, other in zip(found, expected, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_what_belongs_together_is_no_longer_pushed_apart() -> None:
    # Two pairs of one concept in the same place and one apart: perfect, and only a loss that knows of it agrees.
    vectors = torch.eye(2, dtype=torch.float64)[[0, 0, 1]]
    known = same_concept(torch.tensor([0, 0, 1]))
    assert clip_sum(vectors, vectors, 50.0, known).item() == pytest.approx(2 * math.log(2), abs=1e-9)
    assert siglip_sum(vectors, vectors, 50.0, -25.0, known).item() < 1e-9
    assert siglip_sum(vectors, vectors, 50.0, -25.0).item() > 49
    moved = vectors.clone().requires_grad_()
    assert gradients(clip_sum(moved, vectors, 50.0, known), [moved])[0].abs().max() < 1e-9


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_vectors_learn_to_find_all_texts_of_their_concept(kind: str) -> None:
    images, texts, scale, bias = leaves = draw(7, 6)
    known = same_concept(CONCEPTS)
    optimiser = torch.optim.Adam(leaves, lr=0.1)
    for _ in range(80):
        vectors = normalize(images, dim=1), normalize(texts, dim=1)
        loss = clip_sum(*vectors, scale, known) if kind == "clip" else siglip_sum(*vectors, scale, bias, known, chunk=4)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    similarities = normalize(images, dim=1) @ normalize(texts, dim=1).T
    assert similarities[known].min() > similarities[~known].max() + 0.3


def test_vectors_of_half_precision_are_compared_in_float32() -> None:
    images, texts = (vectors.detach().bfloat16() for vectors in draw(7, 5, torch.float32)[:2])
    similarities = (images @ texts.T).float()       # what is left to float32 is everything behind the product
    expected = -(7 * similarities).log_softmax(1).diagonal().sum() - (7 * similarities).log_softmax(0).diagonal().sum()
    assert clip_sum(images, texts, 7.0).item() == pytest.approx(expected.item() / 2, rel=1e-6)
    assert clip_sum(images, texts, 7.0).dtype == siglip_sum(images, texts, 7.0, -3.0).dtype == torch.float32


def peak_bytes(chunk: int | None) -> int:
    images, texts, scale, bias = leaves = draw(512, 8, torch.float32)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as watched:
        gradients(siglip_sum(images, texts, scale, bias, chunk=chunk), leaves)
    held = peak = 0
    for event in watched.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            peak = max(peak, held)
    return peak


def test_chunks_bound_the_memory() -> None:
    whole, chunked = peak_bytes(None), peak_bytes(32)
    assert whole >= 2 * 512 * 512 * 4        # logits and what the loss makes of them
    assert chunked < whole / 4
