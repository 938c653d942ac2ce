"""Every family computes what transformers computes, and has what was asked of it or refuses in a sentence."""

from dataclasses import asdict, replace
from random import Random
from typing import Any, get_args

import pytest
import torch
from torch import nn

from preceptor.data.batches import IGNORE, Batch, Example, collate
from preceptor.data.denoising import Infilling, SpanCorruption
from preceptor.data.masking import Masking
from preceptor.learn.language import language_loss
from preceptor.learn.objectives import balanced_loss, masked_loss, written_loss
from preceptor.models.attention import packs
from preceptor.models.build import build
from preceptor.models.causal import configured_length, context_length, hidden_states
from preceptor.models.families import FAMILIES, KNOBS, chosen
from preceptor.models.options import ArchitectureOptions, Name
from preceptor.run.errors import UserError
from tests.models.covering import pairwise

VOCABULARY, END, PAD, MASK, SENTINELS = 100, 0, 1, 99, (96, 97, 98)
APART = {"bloom", "mamba", "mamba2", "rwkv", "bart", "mbart", "marian", "pegasus"}


def options_of(family: str, **knobs: Any) -> ArchitectureOptions:
    own = FAMILIES[family]
    size = {"heads": 4, "feed_forward": 48, **knobs}
    return ArchitectureOptions(family=family, width=32, layers=2, context=64,
                               **{name: value for name, value in size.items() if name not in own.unused})


def network(options: ArchitectureOptions) -> nn.Module:
    torch.manual_seed(0)
    return build(options, vocabulary=VOCABULARY, end=END, pad=PAD, mask=MASK).eval()


def rows_of_text() -> list[list[Example]]:
    draw = torch.Generator().manual_seed(0)
    texts = [Example.of_text(str(n), torch.randint(2, 90, (length,), generator=draw).tolist())
             for n, length in enumerate([7, 12, 5, 20, 3, 9])]
    return [texts[:2], texts[2:5], texts[5:]]


def laid(kind: str) -> Batch:
    """Six documents in three packed rows, hidden or damaged as the kind asks."""
    if kind == "causal":
        return collate(rows_of_text(), PAD)
    if kind == "masked":
        return Masking(mask=MASK, pad=PAD, vocabulary=VOCABULARY, special=frozenset({END, PAD, MASK}),
                       share=0.3)(rows_of_text(), Random(0))
    if kind == "spans":
        return SpanCorruption(sentinels=SENTINELS, end=END, pad=PAD, start=PAD, share=0.3)(rows_of_text(), Random(0))
    return Infilling(mask=MASK, end=END, pad=PAD, start=PAD, sentence_ends=frozenset())(rows_of_text(), Random(0))


def reference_loss(model: nn.Module, batch: Batch, kind: str) -> torch.Tensor:
    """transformers' own loss of each document alone, as a sum over its targets."""
    total = torch.zeros(())
    for row in range(len(batch.counts)):
        for number in range(1, int(batch["segments"][row].max()) + 1):
            tokens = batch["tokens"][row][batch["segments"][row] == number][None]
            if kind == "causal":
                total = total + model(input_ids=tokens, labels=tokens, use_cache=False).loss * (tokens.numel() - 1)
            elif kind == "masked":
                labels = batch["targets"][row][batch["segments"][row] == number][None]
                if (count := int((labels != IGNORE).sum())):
                    total = total + model(input_ids=tokens, labels=labels).loss * count
            else:
                labels = batch["targets"][row][batch["written_segments"][row] == number][None]
                # mBART's own shift would move the last token to the front, for the name of a language.
                shift = {"decoder_input_ids": batch["written"][row][batch["written_segments"][row] == number][None]}
                total = total + model(input_ids=tokens, labels=labels, **(
                    shift if model.config.model_type == "mbart" else {})).loss * labels.numel()
    return total


def gradients(model: nn.Module, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    model.zero_grad(set_to_none=True)
    loss.backward()
    return {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}


@pytest.mark.parametrize("family", FAMILIES)
def test_loss_and_gradients_of_packed_documents_are_transformers_own(family: str) -> None:
    own = FAMILIES[family]
    kind = {"encoder_decoder": "spans" if family == "t5" else "infilling"}.get(own.kind, own.kind)
    model = network(options_of(family, initialisation="he", window=6 if True in own.window else None,
                               kv_heads=2 if "gqa" in own.attention else None))
    assert packs(model) == (family not in APART)
    assert context_length(model) == 64
    batch = laid(kind)
    loss = {"causal": language_loss, "masked": masked_loss}.get(own.kind, written_loss)
    ours, count, _ = loss(model, batch)
    assert count == batch.count
    theirs = reference_loss(model, batch, own.kind)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-5)
    found, expected = gradients(model, ours / count), gradients(model, reference_loss(model, batch, own.kind) / count)
    assert set(found) == set(expected)
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, expected[name], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("change", [{"positions": "alibi"}, {"kv_heads": 1}], ids=str)
def test_falcon_in_its_other_shapes_is_transformers_own(change: dict[str, Any]) -> None:
    model = network(options_of("falcon", initialisation="he", **change))
    batch = laid("causal")
    assert float(language_loss(model, batch)[0]) == pytest.approx(
        float(reference_loss(model, batch, "causal")), rel=1e-5)


def test_the_balance_of_experts_is_transformers_own_in_each_row() -> None:
    model = network(options_of("mixtral", experts=4))
    model.config.router_aux_loss_coef = model.router_aux_loss_coef = 0.5
    expected = 0.0
    for row in rows_of_text():
        tokens = torch.tensor([row[0].tokens])
        out = model(input_ids=tokens, labels=tokens, output_router_logits=True)
        expected += float(out.loss) * (tokens.numel() - 1)
    batch = collate([row[:1] for row in rows_of_text()], PAD)
    total, _, parts = balanced_loss(0.5)(model, batch)
    assert float(total) == pytest.approx(expected, rel=1e-5)
    whole = sum(float(balanced_loss(0.5)(model, micro)[0]) for micro in batch.split(3))
    assert float(total) == pytest.approx(whole, rel=1e-6)  # micro-batches change nothing
    assert float(parts["balance"]) >= 2 * batch.count * 0.99  # two of the experts are used; at least that when uneven


def test_every_name_is_a_family_and_every_family_has_a_name() -> None:
    assert set(get_args(Name)) == set(FAMILIES)


EVERYTHING: dict[str, tuple[Any, ...]] = {
    "family": tuple(FAMILIES), "norm": (None, "rmsnorm", "layernorm"), "norm_place": (None, "pre", "post"),
    "activation": (None, "gelu", "relu", "swiglu", "geglu"), "kv_heads": (None, 1, 2, 4),
    "positions": (None, "rope", "alibi", "learned", "sinusoidal", "relative", "none"), "biases": (None, True, False),
    "embedding_norm": (None, True, False), "tied": (None, True, False), "experts": (None, 0, 4), "window": (None, 0, 4),
}


def test_no_pair_of_knobs_is_silently_unsupported() -> None:
    """Each row of a covering array over all families and knobs is refused in a sentence, or built as it was asked."""
    rows = pairwise(EVERYTHING)
    refused = 0
    for row in rows:
        options = options_of(**row)
        try:
            filled = chosen(options)
        except UserError as error:
            assert row["family"] in error.cause and error.cure.endswith(".")
            refused += 1
            continue
        check_network(filled)
    assert refused < len(rows)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_has_every_pair_of_what_it_offers(family: str) -> None:
    own = FAMILIES[family]
    offers: dict[str, tuple[Any, ...]] = {knob: getattr(own, knob) for knob in KNOBS}
    offers["kv_heads"] = tuple({"mha": 4, "gqa": 2, "mqa": 1}[kind] for kind in offers.pop("attention"))
    for knob, number in (("experts", 4), ("window", 4)):
        offers[knob] = tuple(number if some else 0 for some in offers[knob])
    offers["initialisation"] = ("depth_scaled", "normal", "xavier", "he", "family")
    for row in pairwise(offers):
        options = chosen(options_of(family, **row))
        assert {name: getattr(options, name) for name in row} == row
        check_network(options)


def check_network(options: ArchitectureOptions) -> None:
    """Look inside the built network, and at what it computes, for everything that was asked."""
    assert chosen(options) == options, "what is filled in can be asked for"
    model = network(options)
    has = features(model, options)
    asked = asdict(options) | {"attention": options.attention}
    assert has == {name: asked[name] for name in has}
    kind = FAMILIES[options.family].kind
    if kind == "causal":
        total, _, _ = language_loss(model, laid("causal"))
    elif kind == "masked":
        total, _, _ = masked_loss(model, laid("masked"))
    else:
        total, _, _ = written_loss(model, laid("spans"))
    total.backward()
    assert all(bool(parameter.grad.isfinite().all()) for parameter in model.parameters() if parameter.grad is not None)


def features(model: nn.Module, options: ArchitectureOptions) -> dict[str, Any]:
    """What a network has, read off its modules and its behaviour, under the names of the options."""
    trunk = model.base_model
    names = [name for name, _ in trunk.named_parameters()]
    kinds = {type(module).__name__ for module in trunk.modules()}
    linear = [module for name, module in trunk.named_modules()
              if (isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D")
              and "pooler" not in name and "dt_proj" not in name]
    found: dict[str, Any] = {
        "layers": model.config.num_hidden_layers, "width": model.get_input_embeddings().embedding_dim,
        "norm": "rmsnorm" if any("RMS" in kind or kind == "T5LayerNorm" for kind in kinds) else "layernorm",
        "biases": any(module.bias is not None for module in linear),
        "tied": model.get_output_embeddings().weight.data_ptr() == model.get_input_embeddings().weight.data_ptr(),
        "positions": positions_of(model, names, kinds), "experts": max(
            (weight.shape[0] for name, weight in trunk.named_parameters() if name.endswith("gate_up_proj")), default=0),
    }
    if options.family in ("llama", "mistral", "mixtral", "olmo2", "starcoder2", "stablelm", "eurobert"):
        found["kv_heads"] = next(module.out_features for name, module in trunk.named_modules()
                                 if name.endswith("k_proj")) * options.heads // options.width
    if options.family == "falcon":
        fused = next(module for name, module in trunk.named_modules() if name.endswith("query_key_value"))
        found["kv_heads"] = (fused.out_features * options.heads // options.width - options.heads) // 2
    if FAMILIES[options.family].kind == "causal" and options.positions != "none":
        found["window"] = 4 if window_of(model) else 0
    if not {"mamba", "rwkv"} & {options.family.rstrip("2")}:
        gated = any("gate" in name and "mlp.gate." not in name or "wi_1" in name for name in names) \
            or options.family == "modernbert"
        plain = {kind for kind in kinds if kind in ("ReLU", "SiLUActivation")} or {"GELU"}
        activation = {"ReLU": "relu", "SiLUActivation": "silu", "GELU": "gelu"}[plain.pop()]
        found["activation"] = {"silu": "swiglu", "gelu": "geglu" if gated else "gelu"}.get(activation, activation)
    found |= norms_of(model, options)
    return found


def positions_of(model: nn.Module, names: list[str], kinds: set[str]) -> str:
    if getattr(model.config, "alibi", False) or model.config.model_type in ("bloom", "mpt"):
        return "alibi" if any(order_matters(model)) else "none"
    if any("Rotary" in kind for kind in kinds):
        return "rope"
    if any("relative_attention_bias" in name for name in names):
        return "relative"
    learned = [parameter for name, parameter in model.named_parameters()
               if any(word in name for word in ("position_embeddings", "embed_positions", "wpe"))]
    if learned:
        return "learned" if learned[0].requires_grad else "sinusoidal"
    return "sinusoidal" if any("Sinusoidal" in kind for kind in kinds) else "none"


def order_matters(model: nn.Module) -> list[bool]:
    tokens = torch.tensor([[5, 6, 7, 8, 9, 10]])
    swapped = torch.tensor([[6, 5, 7, 8, 9, 10]])
    states = [model.base_model(input_ids=one).last_hidden_state[0, -1] for one in (tokens, swapped)]
    return [not torch.allclose(*states, atol=1e-7)]


def window_of(model: nn.Module) -> bool:
    """Whether the last of 24 positions is out of sight of the first: 2 layers of 4 tokens back reach 6.

    Seen by the gradient at the first token, not by the states: another first token is sent to other experts, and
    the sizes of their matrix products may change the last bits of states that cannot see it.
    """
    batch = collate([[Example.of_text("", list(range(2, 26)))]], PAD)
    last = hidden_states(model, batch)[0, -1]
    embedding = model.get_input_embeddings().weight
    (seen,) = torch.autograd.grad(last @ torch.arange(1.0, len(last) + 1).cos(), embedding)
    return not bool(seen[2].any())


@torch.no_grad()
def norms_of(model: nn.Module, options: ArchitectureOptions) -> dict[str, Any]:
    """Where norms stand: what a first block gets after the embedding, and what it hands on."""
    stack = next(part for _, part in model.base_model.named_modules() if isinstance(part, nn.ModuleList))
    seen: dict[str, torch.Tensor] = {}

    def note(_: nn.Module, given: tuple, output: Any) -> None:
        seen["in"] = given[0]
        seen["out"] = output[0] if isinstance(output, tuple) else output

    hook = stack[0].register_forward_hook(note)
    tokens = torch.arange(2, 22)[None]
    extra = {"decoder_input_ids": tokens} if model.config.is_encoder_decoder else {}
    model(input_ids=tokens, **extra)
    hook.remove()

    def normal(states: torch.Tensor) -> bool:
        return torch.allclose(states.std(-1, unbiased=False), torch.ones(()), atol=0.05)

    found = {"embedding_norm": normal(seen["in"])}
    if options.family == "rwkv":
        found["embedding_norm"] = hasattr(stack[0], "pre_ln")
    if options.family == "olmo2":
        found["norm_place"] = "post" if hasattr(stack[0], "post_feedforward_layernorm") else "pre"
    elif options.embedding_norm is False:
        found["norm_place"] = "post" if normal(seen["out"]) else "pre"
    elif options.family != "rwkv":  # what is normal and little added to stays nearly normal: look at the last norm
        norms = [name for name, module in stack[0].named_modules() if "Norm" in type(module).__name__]
        post = ("output.LayerNorm", "output_layer_norm", "final_layer_norm")
        ends = model.base_model.config.model_type in ("bert", "roberta", "distilbert", "bart")
        assert any(name.endswith(post) for name in norms) or not ends
        found["norm_place"] = "post" if ends else "pre"
    return found


@pytest.mark.parametrize("knobs, said", [
    ({"family": "llama", "norm": "layernorm"}, "starcoder2"), ({"family": "gpt2", "kv_heads": 1}, "falcon"),
    ({"family": "llama", "positions": "alibi", "norm": "rmsnorm"}, "No configuration"),
    ({"family": "bert", "positions": "relative"}, "masked encoders has it"),
    ({"family": "mamba", "heads": 2}, "Leave it out"), ({"family": "llama", "width": 30}, "divide the width"),
    ({"family": "llama", "kv_heads": 3}, "divide the heads"), ({"family": "llama", "width": 20}, "even"),
    ({"family": "mixtral", "experts": 2, "experts_used": 3}, "between 1 and experts"),
], ids=lambda value: str(value))
def test_what_cannot_be_had_is_refused_with_what_can(knobs: dict[str, Any], said: str) -> None:
    options = replace(ArchitectureOptions(width=32, layers=1), **knobs)
    with pytest.raises(UserError, match=said):
        chosen(options)


@pytest.mark.parametrize("name", ["Roberta", "RobertaPreLayerNorm", "XLMRoberta", "XLMRobertaXL", "Camembert",
                                  "Data2VecText", "IBert", "MPNet", "Xmod", "Bert"])
def test_an_encoder_reads_as_many_tokens_as_its_configuration_states(name: str) -> None:
    """Families whose positions begin behind the padding lose those before; one token more finds no position."""
    import transformers
    config = getattr(transformers, f"{name}Config")(
        vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8,
        max_position_embeddings=12, pad_token_id=1, **({"languages": ["en"], "default_language": "en"}
                                                       if name == "Xmod" else {}))
    model = getattr(transformers, f"{name}Model")(config).eval()
    length = configured_length(config)
    assert length == (12 if name == "Bert" else 10)
    model(input_ids=torch.full((1, length), 5))
    with pytest.raises((IndexError, RuntimeError)):
        model(input_ids=torch.full((1, length + 1), 5))


def test_a_family_without_a_bound_reads_what_is_asked() -> None:
    from transformers import T5Config, XLNetConfig
    for config in (XLNetConfig(), T5Config()):
        assert configured_length(config) == 2048 and configured_length(config, 33) == 33
