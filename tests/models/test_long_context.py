"""Longer texts: each method turns the rotary angles as its paper says, and what a family has not is refused."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from preceptor.models.build import build
from preceptor.models.causal import context_length, load_causal
from preceptor.models.long_context import lengthened, lengthening, methods_of
from preceptor.models.options import ArchitectureOptions
from preceptor.run.errors import UserError

HEAD, TRAINED = 16, 64


def network(family: str = "llama", **shape: Any) -> nn.Module:
    torch.manual_seed(0)
    return build(ArchitectureOptions(family=family, width=2 * HEAD, layers=2, heads=2, context=TRAINED,
                                     initialisation="he", **shape), vocabulary=60, end=0, pad=1).eval()


def longer(tmp_path: Path, method: str, length: int, model: nn.Module | None = None) -> nn.Module:
    (model or network()).save_pretrained(tmp_path)
    return load_causal(tmp_path, lengthening(method, length, TRAINED)).eval()


def angles(model: nn.Module) -> torch.Tensor:
    """How far each pair of a head turns a position."""
    return model.base_model.rotary_emb.inv_freq.double()


@torch.no_grad()
def states(model: nn.Module, positions: torch.Tensor) -> torch.Tensor:
    tokens = torch.arange(2, 2 + len(positions))[None]
    real = torch.ones_like(tokens)  # without it transformers takes a step other than 1 for the next document
    return model.base_model(input_ids=tokens, position_ids=positions[None], attention_mask=real,
                            use_cache=False).last_hidden_state


def test_interpolation_reads_position_p_as_the_old_model_reads_p_over_s(tmp_path: Path) -> None:
    extended = longer(tmp_path, "interpolation", 4 * TRAINED)
    positions = torch.arange(40)
    torch.testing.assert_close(states(extended, positions), states(network(), positions / 4))
    assert context_length(extended) == 4 * TRAINED


def test_ntk_keeps_the_fastest_pair_and_divides_the_slowest_by_the_factor(tmp_path: Path) -> None:
    plain, extended = angles(network()), angles(longer(tmp_path, "ntk", 8 * TRAINED))
    assert float(extended[0]) == float(plain[0]) == 1.0
    assert float(plain[-1] / extended[-1]) == pytest.approx(8, rel=1e-5)


def test_yarn_is_its_closed_form(tmp_path: Path) -> None:
    """Peng et al. 2023: a ramp by how often a pair turns within the trained length, and a temperature."""
    factor, slow, fast = 4.0, 1, 32
    model = longer(tmp_path, "yarn", int(factor * TRAINED))
    plain = angles(network())

    def place(turns: float) -> float:  # the (real) number of the pair that turns so often in the trained length
        return HEAD * math.log(TRAINED / (turns * 2 * math.pi)) / (2 * math.log(10_000))

    low, high = max(math.floor(place(fast)), 0), min(math.ceil(place(slow)), HEAD - 1)
    ramp = ((torch.arange(HEAD // 2, dtype=torch.float64) - low) / (high - low)).clamp(0, 1)
    torch.testing.assert_close(angles(model), plain / factor * ramp + plain * (1 - ramp), rtol=1e-5, atol=0)
    assert model.base_model.rotary_emb.attention_scaling == pytest.approx(0.1 * math.log(factor) + 1)


def test_a_raised_base_is_half_a_million(tmp_path: Path) -> None:
    expected = 500_000.0 ** (-torch.arange(0, HEAD, 2, dtype=torch.float64) / HEAD)
    torch.testing.assert_close(angles(longer(tmp_path, "base", 128)), expected, rtol=1e-5, atol=0)


def test_a_window_hides_what_is_further_back_than_the_trained_length(tmp_path: Path) -> None:
    model = longer(tmp_path, "window", 4 * TRAINED, network("mistral"))
    assert model.config.sliding_window == TRAINED
    tokens = torch.randint(2, 60, (1, 3 * TRAINED))
    other = tokens.clone()
    other[0, 0] = 2 + (tokens[0, 0] - 1) % 58
    with torch.no_grad():
        one, two = (model.base_model(input_ids=both).last_hidden_state for both in (tokens, other))
    assert torch.equal(one[0, 2 * TRAINED:], two[0, 2 * TRAINED:])  # two layers reach back twice the window
    assert not torch.equal(one[0, TRAINED - 1], two[0, TRAINED - 1])


@pytest.mark.parametrize("family, found", [
    ("llama", {"interpolation", "ntk", "yarn", "base"}), ("bloom", {"as_is"}), ("mamba2", {"as_is"}), ("gpt2", set()),
    ("starcoder2", {"interpolation", "ntk", "yarn", "base", "window"})])
def test_a_family_has_the_methods_that_its_positions_allow(family: str, found: set[str], tmp_path: Path) -> None:
    model = network(family)
    assert set(methods_of(model.config)) == found
    for method in ("interpolation", "ntk", "yarn", "base", "window", "as_is"):
        if method in found:
            extended = longer(tmp_path / method, method, 2 * TRAINED, model)
            assert context_length(extended) == 2 * TRAINED
            with torch.no_grad():
                assert extended(input_ids=torch.arange(2, 60).repeat(2)[None][:, :100]).logits.isfinite().all()
        else:
            with pytest.raises(UserError):
                lengthened(model.config, method, 2 * TRAINED, TRAINED)


def test_what_was_extended_once_is_not_extended_again(tmp_path: Path) -> None:
    model = longer(tmp_path, "yarn", 128)
    with pytest.raises(UserError, match="changed before"):
        lengthened(model.config, "interpolation", 256, 128)
