"""Pruned models: what is removed is what was silenced, zeros are where they should be, folders open anywhere."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from preceptor.data.jsonl import read_jsonl
from preceptor.data.records import Document
from preceptor.deploy.calibration import calibration_batches, influences, input_norms
from preceptor.deploy.options import PruneOptions
from preceptor.deploy.prune import check_weights, kept_channels, kept_groups, norms_of, prune, run
from preceptor.deploy.structure import (
    channel_output,
    check_family,
    check_shape,
    head_output,
    linear_maps,
    remove,
    silence,
    spread,
    weight_of,
)
from preceptor.models.causal import hidden_states, load_causal, save_model
from preceptor.models.trunk import blocks
from preceptor.run.errors import UserError
from preceptor.run.log import Log
from preceptor.run.step import Step
from preceptor.tokenizer.train import train_bpe

WIDTH, HEADS, CHANNELS, LAYERS, CONTEXT = 32, 8, 24, 3, 32


@pytest.fixture(scope="module")
def tokenizer(corpus: Path) -> Any:
    return train_bpe([document.text for document in read_jsonl(corpus, Document)], 300, 10_000)


def network(family: str, vocabulary: int) -> nn.Module:
    """A tiny network with opinions; in the families that have it, two heads share a key."""
    from transformers import AutoConfig, AutoModelForCausalLM
    torch.manual_seed(0)
    shape = {"gpt2": {"n_embd": WIDTH, "n_head": HEADS, "n_inner": CHANNELS, "n_layer": LAYERS, "n_positions": CONTEXT}}
    gated = {"hidden_size": WIDTH, "num_attention_heads": HEADS, "num_key_value_heads": HEADS // 2,
             "intermediate_size": CHANNELS, "num_hidden_layers": LAYERS, "max_position_embeddings": CONTEXT}
    config = AutoConfig.for_model(family, vocab_size=vocabulary, bos_token_id=0, eos_token_id=0, pad_token_id=1,
                                  **shape.get(family, gated))
    model = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(torch.randn_like(weight) * 0.2 + (weight.ndim == 1))
    return model


@pytest.fixture(params=["llama", "mistral", "qwen2", "gpt2"])
def model(request: pytest.FixtureRequest, tokenizer: Any) -> nn.Module:
    return network(request.param, len(tokenizer))


@pytest.fixture(scope="module")
def batches(corpus: Path, tokenizer: Any) -> list[Any]:
    return calibration_batches(network("llama", len(tokenizer)), tokenizer, read_jsonl(corpus, Document), 12, seed=0)


def logits(model: nn.Module, batches: list[Any]) -> torch.Tensor:
    with torch.no_grad():
        return model.get_output_embeddings()(hidden_states(model, batches[0]))


def test_a_smaller_shape_is_the_same_function_as_silence(model: nn.Module, batches: list[Any], tmp_path: Path,
                                                        tokenizer: Any) -> None:
    model = model.double()  # the same sums in another order differ by rounding, which is not what is asked
    heads = 0 if model.config.model_type == "gpt2" else 4
    options = PruneOptions(heads=heads, feed_forward=10)
    norms = norms_of(model, batches, options, [one for block in blocks(model) for one in linear_maps(block)])
    layers = [0, 2]
    groups = [kept_groups(model, blocks(model)[n], options, norms) for n in layers] if heads else None
    kept = [kept_channels(blocks(model)[n], options, norms) for n in layers]
    silent = copy.deepcopy(model)
    for number, index in enumerate(layers):
        block = blocks(silent)[index]
        silence(channel_output(block), kept[number])
        if groups:
            silence(head_output(block), spread(groups[number], 2 * WIDTH // HEADS))
    skipped = blocks(silent)[1]
    for linear in (head_output(skipped), channel_output(skipped)):  # a block that adds nothing is a block left out
        linear.weight.data.zero_()
        if linear.bias is not None:
            linear.bias.data.zero_()
    expected, untouched = logits(silent, batches), logits(model, batches)
    small = remove(model, layers, groups, kept)
    assert (logits(small, batches) - expected).abs().max() < 1e-6
    assert (untouched - expected).abs().max() > 0.1
    assert [weight_of(channel_output(block)).shape[1] for block in blocks(small)] == [10, 10]
    small = small.float()
    save_model(small, tokenizer, tmp_path / "model")
    opened = load_causal(tmp_path / "model").eval()
    assert all(torch.equal(value, opened.state_dict()[name]) for name, value in small.state_dict().items())
    torch.testing.assert_close(logits(opened, batches), logits(small, batches))  # its attention may be another kernel
    tokens = batches[0]["tokens"][:1, :6]
    whole = opened(tokens).logits[:, -1]  # and through the library's own cache, whose shapes come from the config
    past = opened(tokens[:, :5], use_cache=True).past_key_values
    assert torch.allclose(opened(tokens[:, 5:], past_key_values=past).logits[:, -1], whole, atol=1e-4)


@pytest.mark.parametrize("options", [PruneOptions(sparsity=0.3), PruneOptions(sparsity=0.3, score="magnitude"),
                                     PruneOptions(sparsity=0.5, pattern="two_of_four")], ids=str)
def test_each_map_has_the_zeros_asked_for_and_other_weights_stay(model: nn.Module, batches: list[Any],
                                                                 options: PruneOptions) -> None:
    before = copy.deepcopy(model)
    prune(model, batches, options)
    for old, new in zip(blocks(before), blocks(model)):
        for was, now in zip(linear_maps(old), linear_maps(new), strict=True):
            was, now = weight_of(was), weight_of(now)
            zero = now == 0
            assert torch.equal(now[~zero], was[~zero])
            if options.pattern == "two_of_four":
                assert (zero.view(len(now), -1, 4).sum(-1) == 2).all()
            elif options.score == "wanda":
                assert (zero.sum(1) == int(0.3 * now.shape[1] + 1e-9)).all()
            else:
                assert zero.sum() == int(0.3 * now.numel() + 1e-9)
                assert was[zero].abs().max() <= was[~zero].abs().min()
    assert torch.equal(before.get_input_embeddings().weight, model.get_input_embeddings().weight)


def test_norms_of_inputs_leave_out_padding(batches: list[Any], tokenizer: Any) -> None:
    model = network("llama", len(tokenizer))
    linear, seen = blocks(model)[1].mlp.gate_proj, []
    hook = linear.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].detach()))
    for batch in batches:
        hidden_states(model, batch)
    hook.remove()
    total = torch.zeros(WIDTH)
    for batch, states in zip(batches, seen):
        for row in range(states.shape[0]):
            for place in range(states.shape[1]):
                if batch["segments"][row, place]:
                    total += states[row, place] ** 2
    assert any((batch["segments"] == 0).any() for batch in batches)
    torch.testing.assert_close(input_norms(model, batches, [linear])[linear], total.sqrt(), rtol=1e-4, atol=1e-5)


def test_the_block_that_does_nothing_is_the_first_to_go(batches: list[Any], tokenizer: Any) -> None:
    model = network("llama", len(tokenizer))
    for linear in (head_output(blocks(model)[1]), channel_output(blocks(model)[1])):
        linear.weight.data.zero_()
    expected = logits(model, batches)
    found = influences(model, batches)
    assert found[1] == pytest.approx(0, abs=1e-6) and min(found[0], found[2]) > 0.01
    torch.testing.assert_close(logits(prune(model, batches, PruneOptions(layers=2)), batches), expected)


def step_of(folder: Path, source: Path, corpus: Path, **options: Any) -> Step:
    folder.mkdir()
    return Step("pruned", folder, {"model": source, "corpus": corpus, "validation": corpus}, PruneOptions(**options),
                seed=0, log=Log(folder / "log.jsonl", "pruned", 1))


def test_the_stage_writes_a_model_and_what_each_block_is_worth(corpus: Path, tokenizer: Any, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM
    model = network("llama", len(tokenizer))
    save_model(model, tokenizer, tmp_path / "source")
    run(step_of(tmp_path / "step", tmp_path / "source", corpus, layers=2, heads=4, feed_forward=16, sparsity=0.25,
                calibration_rows=8))
    opened = AutoModelForCausalLM.from_pretrained(tmp_path / "step" / "model")
    config = opened.config
    assert (config.num_hidden_layers, config.num_attention_heads, config.num_key_value_heads,
            config.intermediate_size) == (2, 4, 2, 16)
    said = json.loads((tmp_path / "step" / "prune.json").read_text())
    assert said["after"]["parameters"] == sum(weight.numel() for weight in opened.parameters())
    assert said["after"]["parameters"] < said["before"]["parameters"]
    assert said["after"]["zeros"] > 0.24 * sum(weight_of(one).numel() for b in blocks(opened) for one in linear_maps(b))
    found = json.loads((tmp_path / "step" / "sensitivity.json").read_text())
    assert found["perplexity"] == said["before"]["perplexity"]
    assert [row["block"] for row in found["blocks"]] == [0, 1, 2]
    kept = load_causal(tmp_path / "source")
    kept.base_model.layers = nn.ModuleList(list(kept.base_model.layers)[1:])
    from preceptor.evaluate.likelihood import text_likelihood
    alone = text_likelihood(kept.eval(), tokenizer, read_jsonl(corpus, Document))["perplexity"]
    assert found["blocks"][0]["perplexity_without"] == pytest.approx(alone, rel=1e-4)
    assert len({row["perplexity_pruned"] for row in found["blocks"]} | {found["perplexity"]}) == 4


@pytest.mark.parametrize(("options", "cause"), [
    ({}, "nothing to prune"), ({"sparsity": 1.0}, "no share"),
    ({"sparsity": 0.4, "pattern": "two_of_four"}, "sparsity of 0.5"),
    ({"sparsity": 0.5, "pattern": "two_of_four", "feed_forward": 10}, "four at a time"),
    ({"layers": 4}, "cannot keep 4"), ({"heads": 3}, "3 heads do not fit"), ({"heads": -1}, "cannot keep -1")], ids=str)
def test_what_cannot_be_had_is_refused(options: dict[str, Any], cause: str) -> None:
    model, asked = network("llama", 20), PruneOptions(**options)
    with pytest.raises(UserError, match=cause):
        check_shape(model.config, asked.layers, asked.heads, asked.feed_forward)
        check_weights(model, asked)


def test_families_and_formats_that_cannot_shrink_are_refused_by_name() -> None:
    from transformers import OPTConfig, OPTForCausalLM
    with pytest.raises(UserError, match="'opt' model cannot be pruned"):
        check_family(OPTForCausalLM(OPTConfig(vocab_size=8, hidden_size=8, num_hidden_layers=1, ffn_dim=8,
                                              num_attention_heads=2, word_embed_proj_dim=8, pad_token_id=1)))
    with pytest.raises(UserError, match="GPT-2's format"):
        check_shape(network("gpt2", 20).config, 0, 4, 0)
