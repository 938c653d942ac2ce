"""Every stage that trains learns each kind of adapter: what is frozen stays to the bit, and what is saved is that."""

import hashlib
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from preceptor.data.batches import IGNORE, Example, collate
from preceptor.data.jsonl import write_jsonl
from preceptor.data.records import Comparison, Conversation, Prompt, Response
from preceptor.models.adapters import adapter_off
from preceptor.models.causal import hidden_states, load_causal, save_model
from preceptor.models.scalar import is_scalar, load_scalar
from preceptor.recipe.stages import find_stage
from preceptor.run.errors import UserError
from preceptor.run.files import write_json
from preceptor.run.log import Log
from preceptor.run.step import Step
from tests.rlhf.tiny import WORDS, tiny_policy, word_tokenizer

ADAPTERS: dict[str, dict[str, Any]] = {
    "lora": {"adapter": "lora", "lora_rank": 2}, "prompt": {"adapter": "prompt", "prompt_tokens": 3},
    "p_tuning": {"adapter": "p_tuning", "prompt_tokens": 3}}
COMMON = {"learning_rate": 1e-2, "precision": "fp32", "weight_decay": 0.0}
STAGES: dict[str, tuple[str, dict[str, Any]]] = {
    "sft": ("preceptor.sft.stage", {"epochs": 2, "rows": 2, "length": 24, "dropout": 0.0}),
    "context_distillation": ("preceptor.sft.distil", {"max_tokens": 3, "rows": 2}),
    "reward": ("preceptor.reward.stage", {"rows": 2}),
    "rlhf/dpo": ("preceptor.rlhf.rankings", {"rows": 2}),
    "rlhf/ilql": ("preceptor.rlhf.algorithms.ilql", {"rows": 2}),
    "rlhf/ppo": ("preceptor.rlhf.stage",
                 {"iterations": 1, "episodes": 4, "minibatches": 2, "max_tokens": 3, "ema": 0.0}),
    "rlhf/best_of_n": ("preceptor.rlhf.selection", {"answers": 2, "max_tokens": 3, "rows": 2})}


def said(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A tiny model, and a few records of each kind that say: answer `good`."""
    folder = tmp_path_factory.mktemp("records")
    save_model(tiny_policy(num_hidden_layers=2), word_tokenizer(), folder / "model")
    prompts = [Prompt(f"p{n}", said(word)) for n, word in enumerate(WORDS[2:6])]
    write_jsonl(folder / "prompts.jsonl", prompts)
    write_jsonl(folder / "demonstrations.jsonl", [
        Conversation(one.id, [*one.messages, {"role": "assistant", "content": "good"}]) for one in prompts])
    (folder / "comparisons").mkdir()
    write_jsonl(folder / "comparisons" / "comparisons.train.jsonl", [
        Comparison(one.id, one, [Response("good", "eos"), Response("bad", "eos")], [[0], [1]], "l", "person")
        for one in prompts])
    (folder / "context.txt").write_text("good good")
    (folder / "reward").mkdir()
    write_json(folder / "reward" / "reward.json",
               {"kind": "program", "function": "tests.test_adapter_stages:goodness", "code": None})
    return {"model": folder / "model", "policy": folder / "model", "prompts": folder / "prompts.jsonl",
            "demonstrations": folder / "demonstrations.jsonl", "comparisons": folder / "comparisons",
            "context": folder / "context.txt", "reward": folder / "reward"}


def goodness(prompt: Prompt, response: Response) -> float:
    return float(response.text.count("good"))


def frozen(model: nn.Module) -> dict[str, str]:
    """A hash of each parameter that does not learn; ILQL's slow copy of Q follows what learns."""
    return {name: hashlib.sha256(value.detach().numpy().tobytes()).hexdigest()
            for name, value in model.named_parameters() if not value.requires_grad and not name.startswith("target.")}


@pytest.fixture
def trained(inputs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Runs a stage; returns its step, the model that it trained, and the hashes of what was frozen before."""
    def run(stage: str, **options: Any) -> tuple[Step, nn.Module, dict[str, str]]:
        name, _, algorithm = stage.partition("/")
        chosen = find_stage(name, {"algorithm": algorithm} if algorithm else {})
        work, own = STAGES[stage]
        needs = {key: inputs[key] for key in (*chosen.inputs, *chosen.optional) if key in inputs}
        folder = tmp_path / stage.replace("/", "_")
        folder.mkdir()
        values = {**COMMON, **own, **options, **({"algorithm": algorithm} if algorithm else {})}
        step = Step(name, folder, needs, chosen.options_class()(**values), 3, Log(tmp_path / "log.jsonl", name, 1))
        module, seen = import_module(work), []
        fit = module.fit
        monkeypatch.setattr(module, "fit", lambda model, *rest, **named: (
            seen.append((model, frozen(model))), fit(model, *rest, **named))[1])
        torch.manual_seed(1)
        chosen.function()(step)
        return step, *seen[0]
    return run


def states(model: nn.Module) -> torch.Tensor:
    batch = collate([[Example("", [5, 6, 7], [IGNORE] * 3), Example("", [8, 9], [IGNORE] * 2)]], pad=1)
    with torch.no_grad():
        return hidden_states(model, batch)


@pytest.mark.parametrize("kind", ADAPTERS)
@pytest.mark.parametrize("stage", STAGES)
def test_the_frozen_weights_stay_and_what_is_saved_is_what_was_trained(
        stage: str, kind: str, trained: Callable[..., Any], inputs: dict[str, Path]) -> None:
    step, model, before = trained(stage, **ADAPTERS[kind])
    assert before and frozen(model).items() >= before.items()
    network = {"rlhf/ppo": lambda: model.policy, "rlhf/ilql": lambda: model["policy"]}.get(stage, lambda: model)()
    folder = step.folder / "model"
    loaded = (load_scalar if is_scalar(folder) else load_causal)(folder)
    torch.testing.assert_close(states(loaded), states(network), atol=1e-5, rtol=1e-4)
    base = load_causal(inputs["model"])
    assert not torch.allclose(states(loaded), states(base), atol=1e-4), "nothing was learned"
    with adapter_off(network):
        torch.testing.assert_close(states(network), states(base), atol=1e-6, rtol=1e-5)
    if kind == "lora":
        own = (load_scalar if is_scalar(folder) else load_causal)(folder / "adapter")
        torch.testing.assert_close(states(own), states(network), atol=1e-6, rtol=1e-5)


def test_what_cannot_go_with_a_soft_prompt_is_refused(trained: Callable[..., Any]) -> None:
    with pytest.raises(UserError, match="above frozen_layers"):
        trained("rlhf/ppo", frozen_layers=1, **ADAPTERS["prompt"])
