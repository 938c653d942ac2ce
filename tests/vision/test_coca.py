"""CoCa: equal to a slow version of the paper, a text tower that sees no picture, captions by the decoding engine."""

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from preceptor.data.batches import IGNORE
from preceptor.vision.look import look
from preceptor.vision.stage import weighed
from preceptor.vision.system import System
from tests.vision.by_heart import COLOURS, colours_of, knows, learn
from tests.vision.conftest import Book
from tests.vision.rows import check_row
from tests.vision.test_towers import TEXTS, batch_of, tiny


def lively(book: Book, noise: float = 0.3) -> System:
    """A tiny CoCa in float64 whose weights are not all near zero, where much would look equal."""
    system = tiny("coca", book, queries=3).double()
    with torch.no_grad():
        for weight in system.parameters():
            weight.add_(torch.randn_like(weight) * noise)
    return system


def asked(queries_QD: Tensor, keys_KD: Tensor, values_KD: Tensor, heads: int, causal: bool) -> Tensor:
    """Attention, one head and one query at a time."""
    width = queries_QD.shape[1] // heads
    rows = []
    for place, query in enumerate(queries_QD):
        seen = place + 1 if causal else len(keys_KD)
        parts = []
        for head in range(heads):
            span = slice(head * width, (head + 1) * width)
            logits = [float(query[span] @ keys_KD[k, span]) / math.sqrt(width) for k in range(seen)]
            total = sum(math.exp(logit) for logit in logits)
            parts.append(sum(math.exp(logit) / total * values_KD[k, span] for k, logit in enumerate(logits)))
        rows.append(torch.cat(parts))
    return torch.stack(rows)


def normed(layer: nn.LayerNorm, x: Tensor) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + layer.eps).sqrt() * layer.weight + layer.bias


def block_of(block: nn.Module, x: Tensor, heads: int, picture: Tensor | None) -> Tensor:
    """x + attention, + attention to the picture, + MLP, each of the normed stream."""
    own, crossing, mlp = block.attn, getattr(block, "crossattention", None), block.mlp
    h = normed(block.ln_1, x)
    projected = (h @ own.c_attn.weight + own.c_attn.bias).chunk(3, -1)
    x = x + asked(*projected, heads, causal=True) @ own.c_proj.weight + own.c_proj.bias
    if picture is not None:
        query = normed(block.ln_cross_attn, x) @ crossing.q_attn.weight + crossing.q_attn.bias
        key, value = (picture @ crossing.c_attn.weight + crossing.c_attn.bias).chunk(2, -1)
        x = x + asked(query, key, value, heads, causal=False) @ crossing.c_proj.weight + crossing.c_proj.bias
    wide = normed(block.ln_2, x) @ mlp.c_fc.weight + mlp.c_fc.bias
    wide = wide / 2 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (wide + 0.044715 * wide**3)))
    return x + wide @ mlp.c_proj.weight + mlp.c_proj.bias


def slow_pool(system: System, patches_PD: Tensor) -> Tensor:
    pool, heads = system.connector, system.options.heads
    weights, biases = pool.attention.in_proj_weight.chunk(3), pool.attention.in_proj_bias.chunk(3)
    query, key, value = (x @ weight.T + bias for x, weight, bias in
                         zip((pool.queries, patches_PD, patches_PD), weights, biases))
    out = pool.attention.out_proj
    return normed(pool.norm, asked(query, key, value, heads, causal=False) @ out.weight.T + out.bias)


def slow_text(system: System, tokens: list[int], picture_QD: Tensor) -> tuple[Tensor, Tensor]:
    """The text's vector, and the logits (T, V) of what comes behind each of its tokens, of one text alone."""
    text, heads = system.text, system.options.heads
    words = torch.stack([text.words.weight[token] + text.positions.weight[n] for n, token in enumerate(tokens)])
    states = torch.cat([words, text.whole[None]])
    for block in text.lower:
        states = block_of(block, states, heads, None)
    whole, states = normed(text.whole_norm, states[-1]), states[:-1]
    for block in text.upper:
        states = block_of(block, states, heads, picture_QD)
    return whole, normed(text.norm, states) @ text.words.weight.T


@torch.no_grad()
def test_it_is_a_slow_version_of_the_paper(book: Book) -> None:
    system = lively(book)
    batch = batch_of(system)
    batch.tensors["pixels"] = batch["pixels"].double()
    patches = system.image(batch["pixels"]).last_hidden_state
    pooled = torch.stack([slow_pool(system, one) for one in patches])
    torch.testing.assert_close(system.pooled(batch["pixels"]), pooled, rtol=0, atol=1e-10)
    lengths = (batch["segments"] > 0).sum(1).tolist()
    assert len(set(lengths)) > 2    # so that padding is there to be seen by mistake
    vectors, nats, count = [], 0.0, 0
    for row, length in enumerate(lengths):
        tokens = batch["tokens"][row, :length].tolist()
        whole, logits = slow_text(system, tokens, pooled[row, 1:])
        vectors.append(normalize(whole, dim=0))
        nats -= sum(float(logits[n].log_softmax(0)[tokens[n + 1]]) for n in range(length - 1))
        count += length - 1
    texts = torch.stack(vectors)
    torch.testing.assert_close(system.text_vectors(batch), texts, rtol=0, atol=1e-10)
    table = system.scale() * normalize(pooled[:, 0], dim=1) @ texts.T
    contrast = -(table.log_softmax(1).diagonal().mean() + table.log_softmax(0).diagonal().mean()) / 2
    loss, rows, metrics = weighed(system, batch)
    assert (metrics["caption"] / rows).item() == pytest.approx(nats / count, rel=1e-10)
    assert (metrics["contrast"] / rows).item() == pytest.approx(float(contrast), rel=1e-10)
    assert (loss / rows).item() == pytest.approx(float(contrast) + 2 * nats / count, rel=1e-10)


@torch.no_grad()
def test_log_likelihoods_are_those_of_the_texts_alone(book: Book) -> None:
    system = lively(book)
    pictures = batch_of(system)["pixels"][:2].double()
    found = system.log_likelihoods(pictures, TEXTS)
    assert found.shape == (2, 5)
    for picture in range(2):
        pooled = system.pooled(pictures[picture:picture + 1])[0, 1:]
        for text in (0, 1):
            tokens = system.example("", TEXTS[text]).tokens
            logits = slow_text(system, tokens, pooled)[1]
            expected = sum(float(logits[n].log_softmax(0)[tokens[n + 1]]) for n in range(len(tokens) - 1))
            assert found[picture, text].item() == pytest.approx(expected, rel=1e-9)


@torch.no_grad()
def test_the_text_tower_sees_no_picture_and_captions_see_nothing_behind(book: Book) -> None:
    system = lively(book)
    batch = batch_of(system)
    pixels = batch["pixels"].double()
    states, vectors = system.text(batch["tokens"], batch["segments"] > 0)
    one = system.text_batch([TEXTS[3]])     # alone, without the padding that longer neighbours bring
    torch.testing.assert_close(system.text(one["tokens"], one["segments"] > 0)[1][0], vectors[3], rtol=0, atol=1e-12)
    pooled = system.pooled(pixels)[:, 1:]
    logits = system.text.captions(states, pooled)
    assert (system.text.captions(states, pooled.flip(0)) - logits).abs().max() > 1e-3
    tokens = batch["tokens"].clone()
    tokens[:, 2] = 7
    changed = system.text.captions(system.text(tokens, batch["segments"] > 0)[0], pooled)
    torch.testing.assert_close(changed[:, :2], logits[:, :2], rtol=0, atol=1e-12)
    assert (changed[:, 2] - logits[:, 2]).abs().max() > 1e-3


@torch.no_grad()
def test_the_decoding_engine_writes_what_the_whole_model_would(book: Book) -> None:
    system = lively(book, noise=0.5)
    end, start = system.tokenizer.eos_token_id, system.example("", "").tokens[0]
    pictures = torch.randn(5, 3, 16, 16, generator=torch.Generator().manual_seed(2)).double()
    captions = system.caption(pictures)
    assert len(set(captions)) > 1
    for number, caption in enumerate(captions):
        tokens = [start]
        pooled = system.pooled(pictures[number:number + 1])[:, 1:]
        while len(tokens) < system.options.text_length and tokens[-1] != end:
            read = torch.tensor([tokens])
            states, _ = system.text(read, torch.ones_like(read) > 0)
            tokens.append(int(system.text.captions(states, pooled)[0, -1].argmax()))
        said = tokens[1:-1] if tokens[-1] == end else tokens[1:]
        assert caption == system.tokenizer.decode(said, clean_up_tokenization_spaces=False).lstrip()


def test_targets_are_words_and_ends_and_no_padding(book: Book) -> None:
    system = tiny("coca", book, queries=3)
    batch = batch_of(system)
    _, count = system.losses(batch)["caption"]
    assert count == int((batch["targets"] != IGNORE).sum()) == int((batch["segments"] > 0).sum()) - 5


def test_it_learns_four_pictures_by_heart_and_says_what_they_are(book: Book) -> None:
    system = tiny("coca", book, queries=3)
    learn(system, 120, copies=2, rate=5e-3)
    pictures = colours_of(system)["pixels"]
    assert knows(system) == [0, 1, 2, 3] and system.caption(pictures) == COLOURS
    assert system.log_likelihoods(pictures, COLOURS).argmax(1).tolist() == [0, 1, 2, 3]


def test_it_is_a_row(book: Book, tmp_path: Path) -> None:
    system = check_row("coca", book, tmp_path, queries=3)
    pictures = torch.zeros(2, 3, 32, 32)
    assert len(system.caption(pictures)) == 2
    (tmp_path / "black.ppm").write_bytes(b"P6 8 8 255\n" + bytes(192))
    found = look(tmp_path / "whole", tmp_path / "black.ppm", [], [], best=3)    # nothing asked: it says what it sees
    assert found["caption"] == system.caption(-torch.ones(1, 3, 32, 32))[0]
