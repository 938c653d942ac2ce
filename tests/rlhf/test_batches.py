"""The supply of minibatches: its plan, its cursor, and runs that stop and go on."""

from collections import Counter
from pathlib import Path

import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from preceptor.data.batches import IGNORE, Example
from preceptor.data.packing import PackedBatches
from preceptor.learn.fit import Term
from preceptor.learn.language import language_loss
from preceptor.rlhf.algorithms import ppo
from preceptor.rlhf.loss import ptx_loss
from preceptor.rlhf.networks import Networks
from preceptor.run.errors import UserError
from preceptor.run.log import read_log
from preceptor.tokenizer.chat import encode_prompt
from tests.rlhf.tiny import (
    VOCABULARY,
    ShareOfGood,
    tiny_batches,
    tiny_networks,
    tiny_options,
    tiny_policy,
    tiny_value,
    train,
    weights,
    word_tokenizer,
)


def test_every_inner_epoch_deals_out_every_episode_once_in_an_order_of_its_own() -> None:
    options = tiny_options(iterations=2, episodes=7, minibatches=3, inner_epochs=2)
    batches = tiny_batches(tiny_networks(), options)
    assert batches.total == 2 * 2 * 3
    dealt = [batches._episodes_of(iteration, number) for iteration in range(2) for number in range(6)]
    epochs = [dealt[first : first + 3] for first in range(0, 12, 3)]
    for epoch in epochs:
        assert sorted(sum(epoch, [])) == list(range(7)) and {len(part) for part in epoch} == {2, 3}
    assert len({str(epoch) for epoch in epochs}) == 4
    assert dealt[0] == tiny_batches(tiny_networks(), options)._episodes_of(0, 0)
    assert dealt[:3] != [tiny_batches(tiny_networks(), options, seed=6)._episodes_of(0, n) for n in range(3)]


def test_prompts_come_round_equally_often() -> None:
    batches = tiny_batches(tiny_networks(), tiny_options(iterations=3, episodes=8))  # six prompts
    drawn = [prompt.id for iteration in range(3) for prompt in batches.prompts_of(iteration)]
    assert set(Counter(drawn).values()) == {4}
    passes = [tuple(drawn[first : first + 6]) for first in range(0, 24, 6)]
    assert all(len(set(cycle)) == 6 for cycle in passes) and len(set(passes)) > 1


def test_no_two_answers_are_drawn_with_the_same_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    batches, seeds = tiny_batches(tiny_networks(), tiny_options(iterations=3)), []
    original = type(batches.rollouts).answer
    monkeypatch.setattr(type(batches.rollouts), "answer",
                        lambda self, prompts, drawn: (seeds.extend(drawn), original(self, prompts, drawn))[1])
    for _ in range(batches.total):
        next(batches)
    assert len(seeds) == len(set(seeds)) == 24


def test_prompts_answers_and_scores_stay_together() -> None:
    """Answers come out of the decoder in the order in which they are finished."""
    handed = []

    class Numbered:
        def score(self, prompts, responses):
            handed.extend(zip(prompts, responses, strict=True))
            return [float(number) for number in range(len(prompts))]

    batches = tiny_batches(tiny_networks(), tiny_options(), Numbered())
    next(batches)
    experience, tokenizer = batches.experience, word_tokenizer()
    assert experience.scores.tolist() == list(range(8)) and len(set(map(len, experience.episodes.answers))) > 2
    for e, (prompt, response) in enumerate(handed):
        assert prompt == batches.prompts_of(0)[e] and experience.episodes.ids[e] == prompt.id
        assert experience.episodes.prompts[e] == encode_prompt(tokenizer, prompt)
        assert experience.episodes.answers[e] == response.token_ids
        assert bool(experience.ended[e]) == (response.token_ids[-1] == tokenizer.eos_token_id)
    assert 0 < experience.ended.sum() < 8


def test_new_answers_come_when_the_old_are_used_up_and_from_the_policy_of_that_time() -> None:
    options = tiny_options(iterations=2, minibatches=2, inner_epochs=2)
    model = tiny_networks()
    batches = tiny_batches(model, options)
    fresh, experiences = [], []
    for _ in range(batches.total):
        next(batches)
        fresh.append(batches.fresh)
        experiences.append(batches.experience)
        with torch.no_grad():
            model.policy.lm_head.weight[0] += 1.0  # the end of text becomes likelier with every step
    assert fresh == [True, False, False, False] * 2
    assert experiences[0] is experiences[3] and experiences[4] is experiences[7]
    first, second = experiences[0].metrics(), experiences[4].metrics()
    assert first["kl_k1"] == pytest.approx(0, abs=1e-5)  # nothing has moved yet
    assert second["kl_k3"] > 0.1 and second["answer_length"] < first["answer_length"]
    with pytest.raises(StopIteration):
        next(batches)


def test_sampled_and_recomputed_log_probabilities_agree_and_a_gap_stops_the_run() -> None:
    batches = tiny_batches(tiny_networks(), tiny_options(temperature=0.7))
    batch = next(batches)
    _, count, metrics = ppo.loss(batches.rollouts.networks, batch, batches.options)
    assert metrics["approximate_kl"].item() / count < 1e-8 and metrics["clip_fraction"] == 0
    batches.experience.log_probs[0, 0] += 2e-4
    with pytest.raises(UserError, match="another log-probability"):
        batches.rollouts.check(batches.experience)


def test_in_bfloat16_the_ratio_begins_at_one_too(tmp_path: Path) -> None:
    """All that the loss compares is measured in the precision of the update; sampling's is another."""
    options = tiny_options(iterations=1, minibatches=1, inner_epochs=2, precision="bf16", kl_loss="k2")
    networks = tiny_networks()
    batches = tiny_batches(networks, options)
    train(networks, batches, options, tmp_path)
    first, second = (read_log(tmp_path / "log.jsonl")["ppo"][number] for number in (1, 2))
    assert first["approximate_kl"] < 1e-6 < second["approximate_kl"] and first["kl_loss"] == pytest.approx(0, abs=1e-6)
    with pytest.raises(UserError, match="another log-probability"):
        batches.rollouts._compare(torch.zeros(2), torch.tensor([0.0, 0.4]), torch.ones(2, dtype=torch.bool))


def test_divergence_is_measured_from_the_frozen_reference(tmp_path: Path) -> None:
    """Not from the policy itself, nor from its average; and no checkpoint has to hold it."""
    networks = Networks(tiny_policy(), tiny_policy(seed=3), tiny_value())
    batches, options = tiny_batches(networks, tiny_options()), tiny_options(ema=0.9)
    train(networks, batches, options, tmp_path)
    assert torch.equal(weights(networks.reference), weights(tiny_policy(seed=3)))
    assert not any(parameter.requires_grad for parameter in networks.reference.parameters())
    assert not any("reference" in name for name in networks.state_dict())
    experience = batches.experience
    for e, (prompt, answer) in enumerate(zip(experience.episodes.prompts, experience.episodes.answers)):
        logits = tiny_policy(seed=3)(torch.tensor([prompt + answer])).logits[0, len(prompt) - 1 : -1]
        expected = logits.log_softmax(-1)[range(len(answer)), answer]
        torch.testing.assert_close(experience.reference_log_probs[e, : len(answer)], expected, atol=1e-5, rtol=0)


def test_the_check_is_made_on_the_first_iteration(monkeypatch: pytest.MonkeyPatch) -> None:
    batches = tiny_batches(tiny_networks(), tiny_options())
    seen = []
    monkeypatch.setattr(type(batches.rollouts), "check", lambda self, experience: seen.append(batches.drawn))
    for _ in range(batches.total):
        next(batches)
    assert seen == [0]


def test_a_score_that_is_no_number_stops_the_run() -> None:
    class Broken:
        def score(self, prompts, responses):
            return [float("nan")] * len(prompts)

    with pytest.raises(UserError, match="is nan"):
        next(tiny_batches(tiny_networks(), tiny_options(), Broken()))


def test_skipped_minibatches_never_come() -> None:
    options = tiny_options(iterations=3, minibatches=2)
    batches = tiny_batches(tiny_networks(), options)
    batches.skip(range(1, 4))
    assert batches.total == 3
    iterations = []
    for _ in range(3):
        next(batches)
        iterations.append(batches.iteration)
    assert iterations == [0, 2, 2]


@pytest.mark.parametrize("stop_at", [2, 4, 5, 7])  # within an iteration, between two, before the first checkpoint
def test_a_run_that_stops_resumes_to_the_same_bits(tmp_path: Path, stop_at: int) -> None:
    options = tiny_options(iterations=3, minibatches=3, checkpoint_every=2, ema=0.9)
    whole = tiny_networks()
    average = train(whole, tiny_batches(whole, options), options, tmp_path / "whole")

    calls = 0

    def stopping(networks, batch):
        nonlocal calls
        calls += 1
        if calls == stop_at:
            raise InterruptedError
        return batches.loss(networks, batch)

    stopped = tiny_networks()
    batches = tiny_batches(stopped, options)
    with pytest.raises(InterruptedError):
        train(stopped, batches, options, tmp_path / "stopped", loss=stopping)
    resumed = tiny_networks()
    average_resumed = train(resumed, tiny_batches(resumed, options), options, tmp_path / "stopped")
    assert torch.equal(weights(resumed), weights(whole))
    assert not torch.equal(weights(whole), weights(tiny_networks()))
    assert all(torch.equal(average[name], average_resumed[name]) for name in average)
    logs = [read_log(tmp_path / name / "log.jsonl")["ppo"] for name in ("whole", "stopped")]
    measured = [{at: {name: value for name, value in line.items() if name != "tokens_per_second"}
                 for at, line in log.items()} for log in logs]
    assert measured[0] == measured[1]


def test_the_optimiser_takes_the_steps_that_are_due(tmp_path: Path) -> None:
    """Three updates of four minibatches are twelve steps, whatever the micro-batches (elsewhere they were three)."""
    options = tiny_options(iterations=3, minibatches=4, inner_epochs=1, micro_batches=3)
    taken = []
    counting = register_optimizer_step_post_hook(lambda *heard: taken.append(1))
    model = tiny_networks()
    try:
        train(model, tiny_batches(model, options), options, tmp_path)
    finally:
        counting.remove()
    assert len(taken) == 12 == max(read_log(tmp_path / "log.jsonl")["ppo"])


def pretraining(steps: int) -> PackedBatches:
    draw = torch.Generator().manual_seed(2)
    texts = [Example.of_text(str(n), torch.randint(5, VOCABULARY, (9,), generator=draw).tolist()) for n in range(20)]
    return PackedBatches(texts, rows=3, length=24, pad=1, seed=0, steps=steps)


def test_both_gradients_are_added_before_the_one_step(tmp_path: Path) -> None:
    options = tiny_options(iterations=1, minibatches=1, clip_norm=0.0, ptx_coefficient=0.7)
    model, twin = tiny_networks(), tiny_networks()
    terms = [Term("ptx", pretraining(1), ptx_loss, options.ptx_coefficient)]
    train(model, tiny_batches(model, options), options, tmp_path, terms)
    batch = next(tiny_batches(twin, options))
    loss, count, _ = ppo.loss(twin, batch, options)
    (loss / count).backward()
    alone = {name: parameter.grad.clone() for name, parameter in twin.named_parameters() if parameter.grad is not None}
    text = next(pretraining(1))
    nats, targets, _ = language_loss(twin.policy, text)
    assert (count, targets) == (int((batch["targets"] != IGNORE).sum()), int((text["targets"] != IGNORE).sum()))
    (0.7 * nats / targets).backward()
    for (name, parameter), expected in zip(model.named_parameters(), twin.parameters(), strict=True):
        if name in alone:
            torch.testing.assert_close(parameter.grad, expected.grad, atol=1e-6, rtol=1e-4)
            if name.startswith("value"):
                assert torch.equal(expected.grad, alone[name])  # pretraining text teaches the value network nothing
    assert (twin.policy.lm_head.weight.grad - alone["policy.model.embed_tokens.weight"]).abs().max() > 1e-3
    line = read_log(tmp_path / "log.jsonl")["ppo"][1]
    assert line["ptx_loss"] == pytest.approx(nats.item() / targets, rel=1e-5)
    assert line["loss"] == pytest.approx(loss.item() / count, rel=1e-4, abs=1e-5)


def test_policy_and_value_have_rates_of_their_own(tmp_path: Path) -> None:
    options = tiny_options(iterations=1, minibatches=1, value_learning_rate=0.0)
    model, before = tiny_networks(), tiny_networks()
    train(model, tiny_batches(model, options, ShareOfGood()), options, tmp_path)
    assert torch.equal(weights(model.value), weights(before.value))
    assert not torch.equal(weights(model.policy), weights(before.policy))
