"""Connectors: each against a slow version of its paper, the Q-Former and BLIP-2 against transformers."""

import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from transformers import LlamaConfig

from preceptor.data.batches import Batch
from preceptor.models.causal import hidden_states
from preceptor.models.vision.connectors import Prefix, QueryFormer, Resampler, Squares, check_squares, grid_positions
from preceptor.models.vision.splice import words_for
from preceptor.models.vision.towers import (
    clip_image_tower,
    image_tower_of,
    patch_states,
    siglip_image_tower,
    whole_picture,
    whole_width,
)
from preceptor.run.errors import UserError


def test_a_prefix_is_one_linear_map_cut_into_vectors() -> None:
    torch.manual_seed(0)
    prefix, seen = Prefix(6, 3, 4), torch.randn(2, 6)
    flat = seen @ prefix.map.weight.T + prefix.map.bias
    for number in range(3):
        torch.testing.assert_close(prefix(seen)[:, number], flat[:, 4 * number:4 * number + 4])


def test_squares_put_four_neighbours_together_row_by_row() -> None:
    squares = Squares(1, 4)
    with torch.no_grad():
        squares.map.weight.copy_(torch.eye(4))
        squares.map.bias.zero_()
    patches = torch.arange(16.0).view(1, 16, 1)  # a grid of four by four, numbered row by row
    assert squares(patches)[0].tolist() == [[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]]
    assert check_squares(16) == 4
    for patches in (9, 12):
        with pytest.raises(UserError, match="do not divide into squares"):
            check_squares(patches)


def test_places_are_sines_and_cosines_of_row_and_column() -> None:
    found = grid_positions(3, 3, 8)
    for row in range(3):
        for column in range(3):
            expected = [function(at / 10_000 ** (frequency / 2)) for at in (row, column)
                        for function in (math.sin, math.cos) for frequency in range(2)]
            assert found[3 * row + column].tolist() == pytest.approx(expected, abs=1e-6)
    finer = grid_positions(6, 3, 8)  # patches half as wide: the middle of two is where the wider one is
    middle = [torch.sin(torch.tensor(at)) for at in (-0.25, 0.25)]
    assert finer[0, 0] == pytest.approx(float(middle[0])) and finer[6, 0] == pytest.approx(float(middle[1]))
    with pytest.raises(UserError, match="four divides"):
        grid_positions(2, 2, 6)


@torch.no_grad()
def test_the_resampler_looks_at_every_patch_with_its_place() -> None:
    torch.manual_seed(0)
    resampler = Resampler(patches=16, seen=6, vectors=4, width=8, heads=2).double().eval()
    with torch.no_grad():
        resampler.queries.mul_(50)
    patches = torch.randn(2, 16, 6, dtype=torch.float64)
    attend = resampler.attend
    weights, biases = attend.in_proj_weight.chunk(3), attend.in_proj_bias.chunk(3)
    keys_at, queries_at = grid_positions(4, 2, 8).double(), grid_positions(2, 2, 8).double()
    for picture in range(2):
        states = resampler.norm_patches(patches[picture] @ resampler.inward.weight.T)
        for query in range(4):
            asks = resampler.norm_queries(resampler.queries)[query] + queries_at[query]
            parts = []
            for head in range(2):
                span = slice(4 * head, 4 * head + 4)
                q, (k, v) = (weights[0] @ asks + biases[0])[span], [
                    (inputs @ weight.T + bias)[:, span] for inputs, weight, bias in
                    ((states + keys_at, weights[1], biases[1]), (states, weights[2], biases[2]))]
                share = torch.softmax(torch.stack([q @ key for key in k]) / 2, 0)
                parts.append(sum(one * value for one, value in zip(share, v)))
            seen = attend.out_proj(torch.cat(parts))
            expected = resampler.outward.weight @ resampler.norm(seen)
            torch.testing.assert_close(resampler(patches)[picture, query], expected, rtol=0, atol=1e-6)
    with pytest.raises(UserError, match="no square grid"):
        Resampler(patches=16, seen=6, vectors=5, width=8, heads=2)


def theirs(width: int = 16) -> nn.Module:
    """A random BLIP-2 of transformers, with weights large enough to tell mistakes."""
    from transformers import (
        Blip2Config,
        Blip2ForConditionalGeneration,
        Blip2QFormerConfig,
        Blip2VisionConfig,
    )
    torch.manual_seed(0)
    text = LlamaConfig(vocab_size=30, hidden_size=width, intermediate_size=24, num_hidden_layers=2,
                       num_attention_heads=2, max_position_embeddings=64, pad_token_id=0)
    model = Blip2ForConditionalGeneration(Blip2Config(
        vision_config=Blip2VisionConfig(hidden_size=12, intermediate_size=24, num_hidden_layers=2,
                                        num_attention_heads=2, image_size=16, patch_size=8).to_dict(),
        qformer_config=Blip2QFormerConfig(vocab_size=30, hidden_size=20, num_hidden_layers=3, num_attention_heads=2,
                                          intermediate_size=80, encoder_hidden_size=12, use_qformer_text_input=True,
                                          hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0).to_dict(),
        text_config=text.to_dict(), num_query_tokens=4, image_token_index=29))
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    return model.eval()


def test_the_second_stage_is_that_of_transformers() -> None:
    model = theirs()
    fusion, connector = QueryFormer(12, 4, 20, 3, 2), nn.Linear(20, 16)
    fusion.network.load_state_dict(model.qformer.state_dict())
    connector.load_state_dict(model.language_projection.state_dict())
    with torch.no_grad():
        fusion.queries.copy_(model.query_tokens[0])
    pixels = torch.randn(2, 3, 16, 16)
    tokens = torch.tensor([[29] * 4 + [3, 4, 5, 6], [29] * 4 + [7, 8, 9, 10]])
    labels = tokens.masked_fill(tokens == 29, -100)
    out = model(pixel_values=pixels, input_ids=tokens, attention_mask=torch.ones_like(tokens), labels=labels)
    vectors = connector(fusion(model.vision_model(pixels).last_hidden_state))
    named = tokens.clone()
    named[:, :4] = 30 + torch.arange(8).view(2, 4)
    language = model.language_model
    ours = Batch({"tokens": named, "positions": torch.arange(8).expand(2, -1),
                  "segments": torch.ones(2, 8, dtype=torch.long)}, [4, 4], [[], []])
    with words_for(language, vectors.flatten(0, 1)):
        states = hidden_states(language, ours)
    logits = language.get_output_embeddings()(states)
    torch.testing.assert_close(logits, out.logits, rtol=0, atol=1e-5)
    loss = nn.functional.cross_entropy(logits[:, 3:-1].flatten(0, 1), tokens[:, 4:].flatten())
    torch.testing.assert_close(loss, out.loss, rtol=1e-6, atol=1e-6)
    weights = [model.language_projection.weight, *model.qformer.parameters(), model.query_tokens]
    their_gradients = torch.autograd.grad(out.loss, weights, retain_graph=True, allow_unused=True)
    our_gradients = torch.autograd.grad(loss, [connector.weight, *fusion.network.parameters(), fusion.queries],
                                        allow_unused=True)
    largest = max(float(one.abs().max()) for one in their_gradients if one is not None)
    for mine, their in zip(our_gradients, their_gradients, strict=True):
        assert (mine is None) == (their is None)
        if mine is not None:
            torch.testing.assert_close(mine, their.view_as(mine), rtol=1e-4, atol=1e-4 * largest)


@torch.no_grad()
def test_patches_are_read_where_the_towers_training_reached_them(tmp_path: Path) -> None:
    shape, pixels = SimpleNamespace(width=8, layers=2, heads=2, patch=4, text_length=8), torch.randn(2, 3, 8, 8)
    clip, siglip = clip_image_tower(shape, 8, 6).eval(), siglip_image_tower(shape, 8).eval()
    before, whole = patch_states(clip, pixels), whole_picture(clip, pixels)
    assert before.shape == (2, 4, 8) and whole.shape == (2, whole_width(clip)) == (2, 6)
    clip.vision_model.encoder.layers[1].mlp.fc2.bias.add_(torch.arange(8.0))
    assert torch.equal(patch_states(clip, pixels), before)  # the last block never learned to serve its patches
    assert not torch.allclose(whole_picture(clip, pixels), whole)
    before = patch_states(siglip, pixels)
    siglip.encoder.layers[1].mlp.fc2.bias.add_(torch.arange(8.0))
    assert not torch.allclose(patch_states(siglip, pixels), before) and whole_width(siglip) == 8
    for tower in (clip, siglip):
        tower.config.save_pretrained(tmp_path)
        again = image_tower_of(tmp_path)
        again.load_state_dict(tower.state_dict())
        assert torch.equal(patch_states(again.eval(), pixels), patch_states(tower, pixels))
    siglip.config.vision_use_head = False
    with pytest.raises(UserError, match="nothing in it sums them up"):
        whole_width(siglip)
    LlamaConfig().save_pretrained(tmp_path)
    with pytest.raises(UserError, match="cannot be read by the network 'llama'"):
        image_tower_of(tmp_path)
