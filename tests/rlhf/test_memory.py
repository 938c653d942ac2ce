"""What saves memory changes nothing else: a shared trunk, an adapter whose off is the reference, recomputed blocks."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from preceptor.data.batches import Batch
from preceptor.data.jsonl import write_jsonl
from preceptor.models.adapters import add_lora
from preceptor.models.causal import load_causal, save_model
from preceptor.models.trunk import freeze_lower, share_trunk
from preceptor.rlhf import rollouts, stage
from preceptor.rlhf.networks import Networks
from preceptor.rlhf.nucleus import NucleusMask
from preceptor.rlhf.options import (
    A2cOptions,
    CriticOptions,
    GrpoOptions,
    NlpoOptions,
    OnlineOptions,
    PpoOptions,
    RlooOptions,
)
from preceptor.rlhf.reading import answer_log_probs
from preceptor.run.files import hash_path
from preceptor.run.log import Log, read_log
from preceptor.run.step import Step
from tests.learn.interrupted import interrupted
from tests.rlhf.tiny import tiny_batches, tiny_options, tiny_policy, tiny_prompts, tiny_value, train, word_tokenizer

LAYERS, FROZEN = 3, 2

ALGORITHMS = {
    "ppo": tiny_options(PpoOptions, inner_epochs=2),
    "nlpo": tiny_options(NlpoOptions, entropy_coefficient=0.01),
    "a2c": tiny_options(A2cOptions, kl_reward="exact", kl_loss="exact"),
    "rloo": tiny_options(RlooOptions, entropy_coefficient=0.01),
    "grpo": tiny_options(GrpoOptions),
}


def networks(options: OnlineOptions, shared: bool) -> Networks:
    """Policy, reference and value whose lower blocks are equal and do not learn: once in all, or once in each."""
    policy, reference = tiny_policy(num_hidden_layers=LAYERS), tiny_policy(num_hidden_layers=LAYERS)
    value = tiny_value(num_hidden_layers=LAYERS) if isinstance(options, CriticOptions) else None
    if value is not None:
        value.base_model.load_state_dict(policy.base_model.state_dict())
    for network in (policy, value) if value is not None else (policy,):
        freeze_lower(network, FROZEN)
    if shared:
        for network in (reference, value) if value is not None else (reference,):
            share_trunk(network, policy)
    else:
        for network in (policy, value) if value is not None else (policy,):
            del network.frozen_layers
    mask = NucleusMask(policy, options.mask_top_p, options.temperature) if isinstance(options, NlpoOptions) else None
    return Networks(policy, reference, value, mask)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_shared_trunk_measures_and_learns_as_separate_networks_do(name: str) -> None:
    """What is measured, the loss and its gradients; further on Adam turns rounding of nearly nothing into steps."""
    options, found = ALGORITHMS[name], {}
    for shared in (True, False):
        nets = networks(options, shared)
        batches = tiny_batches(nets, options)
        loss, count, _ = batches.loss(nets, next(batches))
        (loss / count).backward()
        found[shared] = nets, batches.experience, loss
    (one, measured, loss), (other, expected, reference_loss) = found[True], found[False]
    assert measured.episodes.answers == expected.episodes.answers
    for table in ("log_probs", "reference_log_probs", "advantages", "values"):
        if getattr(expected, table) is not None:
            torch.testing.assert_close(getattr(measured, table), getattr(expected, table), atol=1e-5, rtol=0)
    torch.testing.assert_close(loss, reference_loss, atol=1e-5, rtol=1e-5)
    for (name, mine), theirs in zip(one.policy.named_parameters(), other.policy.parameters(), strict=True):
        assert (mine.grad is None) == (theirs.grad is None) == (".2." not in name and "model.norm" not in name)
        if mine.grad is not None:
            torch.testing.assert_close(mine.grad, theirs.grad, atol=1e-5, rtol=0)
    if one.value is not None:
        for mine, theirs in ((one.value.score, other.value.score),
                             (one.value.base_model.layers[0], other.value.base_model.layers[FROZEN])):
            for here, there in zip(mine.parameters(), theirs.parameters(), strict=True):
                torch.testing.assert_close(here.grad, there.grad, atol=1e-5, rtol=0)


def test_the_shared_blocks_are_read_once_an_iteration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = tiny_options(iterations=2, inner_epochs=3, minibatches=2)
    nets, rows = networks(options, shared=True), []
    original = rollouts.lower_states

    def counting(policy: Any, batch: Batch) -> torch.Tensor:
        rows.append(int((batch["segments"] > 0).sum()))
        return original(policy, batch)

    def never_learning(block: Any, inputs: Any) -> None:
        assert not torch.is_grad_enabled(), "a block below the cut was run in an update"

    monkeypatch.setattr(rollouts, "lower_states", counting)
    nets.policy.base_model.layers[0].register_forward_pre_hook(never_learning)
    batches, tokens = tiny_batches(nets, options), []
    roll_out = batches._roll_out

    def watched(iteration: int) -> Any:
        experience = roll_out(iteration)
        tokens.append(sum(len(experience.episodes._document(n).tokens) for n in range(options.episodes)))
        return experience

    monkeypatch.setattr(batches, "_roll_out", watched)
    train(nets, batches, options, tmp_path)
    assert len(rows) == 4 and sum(rows) == sum(tokens)  # two parts in each of two iterations, every token once


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("inputs")
    policy, value = tiny_policy(num_hidden_layers=LAYERS), tiny_value(num_hidden_layers=LAYERS)
    save_model(policy, word_tokenizer(), folder / "policy")
    save_model(value, word_tokenizer(), folder / "reward")
    value.base_model.load_state_dict(policy.base_model.state_dict())
    save_model(value, word_tokenizer(), folder / "kin")
    write_jsonl(folder / "prompts.jsonl", tiny_prompts())
    return {"policy": folder / "policy", "reward": folder / "reward", "prompts": folder / "prompts.jsonl"}


def step(folder: Path, inputs: dict[str, Path], kind: type[OnlineOptions] = PpoOptions, **options: Any) -> Step:
    folder.mkdir(exist_ok=True)
    return Step("ppo", folder, inputs, tiny_options(kind, **options), seed=3, log=Log(folder / "log.jsonl", "ppo", 1))


MEMORY = {
    "adapter": {"adapter": "lora", "lora_rank": 2, "ema": 0.9},
    "trunk_too": {"adapter": "lora", "lora_rank": 2, "frozen_layers": 1, "gradient_checkpointing": True},
}


@pytest.mark.parametrize("name", MEMORY)
def test_a_run_that_is_stopped_ends_with_the_same_bits(name: str, tmp_path: Path, inputs: dict[str, Path]) -> None:
    options = {**MEMORY[name], "iterations": 2, "minibatches": 3, "checkpoint_every": 2}
    torch.manual_seed(1)
    stage.run(step(tmp_path / "whole", inputs, **options))
    with interrupted(6):
        torch.manual_seed(1)
        stage.run(step(tmp_path / "stopped", inputs, **options))
    torch.manual_seed(2)  # a fresh adapter begins elsewhere: the checkpoint must say where this one was
    stage.run(step(tmp_path / "stopped", inputs, **options))
    for model in ("model", "ema") if "ema" in options else ("model",):
        whole, stopped = (tmp_path / which / model / "model.safetensors" for which in ("whole", "stopped"))
        assert hash_path(whole) == hash_path(stopped)
    assert not torch.equal(load_causal(tmp_path / "whole" / "model").base_model.layers[2].mlp.up_proj.weight,
                           load_causal(inputs["policy"]).base_model.layers[2].mlp.up_proj.weight)


def test_with_an_adapter_there_is_one_copy_of_the_weights(tmp_path: Path, inputs: dict[str, Path],
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}
    monkeypatch.setattr(stage, "fit", lambda model, batches, *_, **named: seen.update(model=model, batches=batches))
    run = step(tmp_path, inputs, adapter="lora", lora_rank=2)
    stage.run(run)
    nets, batches = seen["model"], seen["batches"]
    assert nets.reference is None
    learned = [name for name, one in nets.named_parameters() if one.requires_grad]
    assert all("lora_" in name or name == "value.score.weight" for name in learned) and "value.score.weight" in learned
    plan = read_log(run.log.path)["ppo"][0]["plan"]
    assert plan["learned_parameters"] == sum(one.numel() for one in nets.parameters() if one.requires_grad)
    with torch.no_grad():
        for name, parameter in nets.policy.named_parameters():
            if "lora_B" in name:
                parameter.add_(0.1)
    next(batches)
    found = batches.experience
    before = found.episodes.measure(
        lambda batch: answer_log_probs(load_causal(inputs["policy"]), batch, 1.0), parts=1)
    torch.testing.assert_close(found.reference_log_probs, before, atol=1e-5, rtol=0)
    assert (found.log_probs - before).abs().max() > 0.01


def test_the_value_network_is_the_reward_model_only_where_that_has_the_shared_blocks(
        tmp_path: Path, inputs: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    policy = load_causal(inputs["policy"])
    freeze_lower(policy, FROZEN)
    kin = {**inputs, "reward": inputs["policy"].parent / "kin"}
    for given, other in ((kin, False), (inputs, True)):
        value = stage._value_network(step(tmp_path, given, frozen_layers=FROZEN), word_tokenizer(), policy)
        share_trunk(value, policy)
        assert ("other weights in the blocks that are shared" in capsys.readouterr().err) == other
        for name, one in value.base_model.layers[0].named_parameters():  # above the cut both begin as the policy
            assert torch.equal(one, policy.base_model.layers[FROZEN].get_parameter(name))


def test_an_adapter_learns_what_is_rewarded(tmp_path: Path) -> None:
    options = tiny_options(GrpoOptions, iterations=16, episodes=32, kl_coefficient=0.01, missing_end_penalty=0.0,
                           learning_rate=5e-2, checkpoint_every=1000)
    policy = tiny_policy()
    torch.manual_seed(0)
    add_lora(policy, rank=4, alpha=8.0)
    nets = Networks(policy, None)
    train(nets, tiny_batches(nets, options), options, tmp_path)
    curve = [line for line in read_log(tmp_path / "log.jsonl")["ppo"].values() if "score" in line]
    last = [line["score"] for line in curve[-4:]]
    assert curve[0]["score"] < 0.25 and sum(last) / len(last) > 0.6, last
    assert curve[0]["kl_k1"] == pytest.approx(0, abs=1e-4) and curve[-1]["kl_k1"] > 0.5


def test_recomputed_blocks_train_to_the_same_bits(tmp_path: Path) -> None:
    found = []
    for wanted in (False, True):
        options = replace(ALGORITHMS["ppo"], gradient_checkpointing=wanted)
        nets = networks(options, shared=True)
        train(nets, tiny_batches(nets, options), options, tmp_path / str(wanted))
        found.append(torch.cat([one.detach().flatten() for one in nets.parameters()]))
    assert torch.equal(*found)
