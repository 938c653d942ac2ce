"""The ONNX decoder: the answers, log-probabilities and logits of the model that was traced, by every strategy."""

import dataclasses
from typing import Any

import pytest
import torch
from torch import nn

pytest.importorskip("onnxruntime", reason="the extra 'onnx' is not installed")
pytest.importorskip("onnxscript", reason="the extra 'onnx' is not installed")

from preceptor.generate.decoder import Request
from preceptor.generate.engine import Engine
from preceptor.generate.guard import GuardedDecoder
from preceptor.generate.local import LocalDecoder
from preceptor.generate.onnx import OnnxPolicy
from preceptor.metrics.meaning import Limits
from preceptor.run.errors import UserError
from tests.generate.conftest import ask
from tests.generate.test_engine import Told
from tests.generate.test_invariance import OPTIONS, margin

FAMILIES = ("llama", "gpt2")


@pytest.fixture(scope="module")
def policies(models: dict[str, nn.Module]) -> dict[str, OnnxPolicy]:
    policies = {family: OnnxPolicy(models[family]) for family in FAMILIES}
    assert not any(models[family].training for family in FAMILIES), "tracing must leave the mode alone"
    return policies


def mixed() -> list[Request]:
    texts = ["ado", "emi iru ona", "", "bado kemi " * 4]
    return [ask(texts[number % 4], seed=number, max_tokens=4 + number, **options)
            for number, options in enumerate(OPTIONS) if "penalty_alpha" not in options]


def assert_same_answers(model: nn.Module, other: nn.Module, tokenizer: Any, requests: list[Request]) -> None:
    """Equal tokens, unless what decided hung on less than 1e-4; log-probabilities within 1e-4."""
    expected, found = (LocalDecoder(one, tokenizer, rows=5).answers(requests) for one in (model, other))
    for request, one, two in zip(requests, expected, found):
        if one.response.token_ids != two.response.token_ids:
            assert margin(model, request, one, two) < 1e-4
        else:
            assert one.response == two.response
            assert one.log_probs == pytest.approx(two.log_probs, abs=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_strategy_gives_the_answers_of_the_model(policies: dict[str, OnnxPolicy], models: dict[str, nn.Module],
                                                       tokenizer: Any, family: str) -> None:
    assert_same_answers(models[family], policies[family].packed(), tokenizer, mixed())


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_logits_of_prompts_of_every_length(policies: dict[str, OnnxPolicy], models: dict[str, nn.Module],
                                           family: str) -> None:
    from preceptor.generate.rows import read_prompts
    model = models[family]
    prompts = [torch.randint(5, 200, (length,)).tolist() for length in range(1, 64)]
    _, logits = read_prompts(policies[family].packed(), prompts, pad=1)
    expected = torch.stack([model(torch.tensor([prompt])).logits[0, -1] for prompt in prompts])
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=0)


def test_changed_weights_are_packed_anew(policies: dict[str, OnnxPolicy], models: dict[str, nn.Module],
                                         tokenizer: Any) -> None:
    model, before = models["llama"], policies["llama"].packed()
    kept = {name: value.clone() for name, value in model.state_dict().items()}
    request = [ask("emi iru", seed=3, max_tokens=20)]
    try:
        with torch.no_grad():
            for value in model.parameters():
                value.add_(0.05 * torch.randn(value.shape, generator=torch.Generator().manual_seed(5)))
        assert_same_answers(model, policies["llama"].packed(), tokenizer, request)
        changed, = LocalDecoder(model, tokenizer).answers(request)
        stale, = LocalDecoder(before, tokenizer).answers(request)
        assert stale.response.token_ids != changed.response.token_ids, "the weights must matter"
    finally:
        model.load_state_dict(kept)


def test_the_guard_and_speculation_work_with_it(policies: dict[str, OnnxPolicy], models: dict[str, nn.Module],
                                                tokenizer: Any) -> None:
    model, traced = models["llama"], policies["llama"].packed()
    request = ask("ado", temperature=0, max_tokens=12)
    expected, = LocalDecoder(model, tokenizer).answers([request])
    guarded, = GuardedDecoder(LocalDecoder(traced, tokenizer)).answers([request])
    assert guarded.response.token_ids == expected.response.token_ids
    ahead = dataclasses.replace(request, sampling=dataclasses.replace(request.sampling, num_assistant_tokens=3))
    drafted, = LocalDecoder(traced, tokenizer, draft=traced).answers([ahead])
    assert drafted.response.token_ids == expected.response.token_ids


def test_what_needs_hidden_states_is_refused(policies: dict[str, OnnxPolicy], tokenizer: Any) -> None:
    decoder = LocalDecoder(policies["llama"].packed(), tokenizer)
    with pytest.raises(UserError, match="Contrastive search needs the model's hidden states"):
        decoder.answers([ask("ado", temperature=0, penalty_alpha=0.5, top_k=3)])
    with pytest.raises(UserError, match="watch over meaning needs"):
        GuardedDecoder(decoder, meaning=Limits(0.5, 1.0))


def test_an_engine_serves_a_graph_as_it_serves_the_model(policies: dict[str, OnnxPolicy], tokenizer: Any) -> None:
    decoder = LocalDecoder(policies["llama"].packed(), tokenizer, rows=4)
    wanted = [ask("ado " * (number % 3), seed=number, max_tokens=4 + number) for number in range(8)]
    expected = decoder.answers(wanted)
    engine = Engine(decoder)
    told = [Told(decoder, request) for request in wanted]
    for one in told:
        engine.submit([one.job])
    for one, other in zip(told, expected):
        assert one.answer().response == other.response
    engine.close()
