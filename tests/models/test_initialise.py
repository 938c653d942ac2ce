"""First weights have the scale that was asked for, and the check tells a good scale from a bad one."""

import pytest
import torch
from torch import nn

from preceptor.data.batches import Example, collate
from preceptor.learn.language import language_loss
from preceptor.models.build import build
from preceptor.models.families import FAMILIES
from preceptor.models.initialise import residual_writers
from preceptor.models.options import ArchitectureOptions
from preceptor.models.scale import block_scales, said


def network(family: str, initialisation: str, **shape: int) -> nn.Module:
    torch.manual_seed(0)
    size = {"width": 64, "layers": 3, **shape}
    return build(ArchitectureOptions(family=family, initialisation=initialisation, context=64, **size),
                 vocabulary=300, end=0, pad=1, mask=2)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_writer_to_the_residual_stream_is_found(family: str) -> None:
    """Two a block; a decoder that reads an encoder has three, a state space's block one."""
    model = network(family, "family")
    found = [name for name, module in model.base_model.named_modules() for _ in residual_writers(name, module)]
    kind = FAMILIES[family].kind
    due = 3 * (2 + 3) if kind == "encoder_decoder" else 3 * (1 if family.startswith("mamba") else 2)
    assert len(found) == due, found


@pytest.mark.parametrize("family, projection, fans", [
    ("llama", "model.layers.0.mlp.up_proj", (64, 352)), ("gpt2", "transformer.h.0.mlp.c_fc", (64, 352)),
    ("bert", "bert.encoder.layer.0.intermediate.dense", (64, 352))])
def test_weights_have_the_scale_of_their_formula(family: str, projection: str, fans: tuple[int, int]) -> None:
    fan_in, fan_out = fans
    for kind, std in (("normal", 0.02), ("xavier", (2 / (fan_in + fan_out)) ** 0.5), ("he", (2 / fan_in) ** 0.5)):
        weight = network(family, kind).get_submodule(projection).weight
        assert float(weight.detach().std()) == pytest.approx(std, rel=0.02)
        assert float(weight.detach().mean()) == pytest.approx(0, abs=std * 0.02)
    assert float(weight.abs().max()) > 3 * std  # he is normal; Xavier is uniform, within its bound
    bound = (6 / (fan_in + fan_out)) ** 0.5
    assert float(network(family, "xavier").get_submodule(projection).weight.detach().abs().max()) <= bound


def test_experts_and_routers_are_drawn_too_and_fixed_tables_stay() -> None:
    experts = network("mixtral", "he").get_submodule("model.layers.0.mlp.experts").gate_up_proj.detach()
    assert float(experts.std()) == pytest.approx((2 / 64) ** 0.5, rel=0.02)
    drawn, own = (network("marian", kind).get_submodule("model.encoder.embed_positions").weight
                  for kind in ("he", "family"))
    assert torch.equal(drawn, own)
    decay = [dict(network("mamba2", kind).named_parameters())["backbone.layers.0.mixer.A_log"]
             for kind in ("xavier", "family")]
    assert torch.equal(*decay)


def test_depth_scaling_divides_what_writes_by_the_root_of_the_writers() -> None:
    scaled, plain = (network("llama", kind).get_submodule("model.layers.1.self_attn.o_proj").weight.detach()
                     for kind in ("depth_scaled", "family"))
    torch.testing.assert_close(scaled, plain / 6 ** 0.5)


def test_the_check_sees_a_stream_that_grows() -> None:
    """Of 12 blocks of He weights the stream grows from block to block; depth-scaled it stays."""
    tokens = torch.randint(3, 300, (1, 60), generator=torch.Generator().manual_seed(0))[0].tolist()
    batch = collate([[Example.of_text("", tokens)]], 1)
    ratio = {}
    for kind in ("he", "depth_scaled"):
        model = network("llama", kind, layers=12)
        scales = block_scales(model, lambda: language_loss(model, batch)[0] / batch.count)  # noqa: B023
        assert len(scales) == 12 and all(parameter.grad is None for parameter in model.parameters())
        ratio[kind] = scales[-1].activation / scales[0].activation
        assert "layers.11" in said(scales)[11] and "fold" in said(scales)[12]
    assert ratio["he"] > 3 > 1.5 > ratio["depth_scaled"]


def test_the_scales_are_those_of_a_plain_backward_pass() -> None:
    model = network("gpt2", "xavier")
    batch = collate([[Example.of_text("", list(range(3, 40)))]], 1)
    scales = block_scales(model, lambda: language_loss(model, batch)[0])
    seen: list[torch.Tensor] = []
    model.transformer.h[1].register_forward_hook(lambda _, __, out: seen.append(out))
    total = language_loss(model, batch)[0]
    gradient, = torch.autograd.grad(total, seen)
    assert scales[1].activation == pytest.approx(float(seen[0].detach().square().mean().sqrt()), rel=1e-5)
    assert scales[1].gradient == pytest.approx(float(gradient.square().mean().sqrt()), rel=1e-5)
