"""What a loss is read from: invariances of its gradient, values by hand, log-probabilities, dropout."""

import math
from dataclasses import replace
from functools import partial

import pytest
import torch

from preceptor.data.batches import IGNORE, Batch, Example, collate
from preceptor.learn.gradients import Term, take_gradients
from preceptor.learn.parallel import shares
from preceptor.learn.precision import LossScale
from preceptor.rlhf.algorithms import ppo
from preceptor.rlhf.networks import Networks
from preceptor.rlhf.options import A2cOptions, GrpoOptions, NlpoOptions, OnlineOptions, PpoOptions, RlooOptions
from preceptor.rlhf.reading import answer_log_probs, read_policy
from tests.rlhf.tiny import (
    VOCABULARY,
    algorithm_of,
    tiny_episodes,
    tiny_experience,
    tiny_networks,
    tiny_options,
    tiny_policy,
    tiny_value,
    word_tokenizer,
)
from tests.rlhf.world import gradient

ANSWERS = [[9, 10, 0], [9, 0], [5, 6, 7, 8, 9, 0], [0], [6, 7, 11], [5, 5]]
ALL = {
    "ppo": tiny_options(PpoOptions, kl_loss="k2", entropy_coefficient=0.1),
    "nlpo": tiny_options(NlpoOptions, mask_top_p=0.9),
    "a2c": tiny_options(A2cOptions, kl_loss="exact", entropy_coefficient=0.1),
    "rloo": tiny_options(RlooOptions, answers_per_prompt=3),
    "grpo": tiny_options(GrpoOptions, answers_per_prompt=3),
    "dr_grpo": tiny_options(GrpoOptions, answers_per_prompt=3, averaging="constant", divide_by_deviation=False),
    "dapo": tiny_options(GrpoOptions, answers_per_prompt=3, averaging="token", clip_high=0.4),
}


def gradient_of(options: OnlineOptions, order: list[int], pad: int = 1, micro_batches: int = 1) -> torch.Tensor:
    """Of one optimiser step on made-up experience, whose ratios are far from 1."""
    networks = tiny_networks(options)
    experience = replace(tiny_experience(tiny_episodes(ANSWERS), options), episodes=tiny_episodes(ANSWERS, pad=pad))
    batch = experience.minibatch(order, options)
    parts = [algorithm_of(options).loss(networks, micro, options) for micro in batch.split(micro_batches)]
    assert sum(count for _, count, _ in parts) == batch.count
    learning = torch.nn.ModuleList([networks.policy, *([networks.value] if networks.value else [])])
    return gradient(learning, sum(loss for loss, _, _ in parts))


def test_a_large_batch_is_learned_from_in_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """As few as keep each below `PASS` positions, and the gradient is that of the whole."""
    options = ALL["grpo"]
    networks = tiny_networks(options)
    experience = tiny_experience(tiny_episodes(ANSWERS), options)
    whole = experience.minibatch(range(len(ANSWERS)), options)
    monkeypatch.setattr("preceptor.rlhf.experience.PASS", whole["tokens"].numel() // 2)
    halved = experience.minibatch(range(len(ANSWERS)), options)
    assert whole.passes == 1 and halved.passes == halved.to("cpu").passes == 2
    found = []
    for batch in (whole, halved):
        class Once:
            def __next__(self, batch: Batch = batch) -> Batch:
                return batch

        take_gradients(networks, [Term("", Once(), partial(algorithm_of(options).loss, options=options), 1.0)], options,
                       LossScale())
        found.append(torch.cat([one.grad.flatten() for one in networks.policy.parameters()]))
    assert len(list(shares(whole, 1))) == 1 and len(list(shares(halved, 1))) == 2
    torch.testing.assert_close(found[0], found[1], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ALL)
def test_packing_padding_order_and_micro_batches_change_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    options = ALL[name]
    together = gradient_of(options, [3, 0, 5, 4, 2, 1], pad=7, micro_batches=3)
    packed = gradient_of(options, [0, 1, 2, 3, 4, 5])
    monkeypatch.setattr("preceptor.rlhf.experience.pack", lambda lengths, room: [[n] for n in range(len(lengths))])
    alone = gradient_of(options, [0, 1, 2, 3, 4, 5])
    assert alone.abs().max() > 0.1
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(packed, alone, atol=1e-5, rtol=1e-5)


def surrogate_by_hand(name: str, ratios: list[list[float]], advantages: list[float]) -> float:
    """The mean loss of whole answers, written out: `advantages` one an answer, `ratios` one a token."""
    options, total, tokens = ALL[name], 0.0, sum(map(len, ratios))
    low, high = 1 - options.clip, 1 + getattr(options, "clip_high", options.clip)
    for answer, advantage in zip(ratios, advantages):
        if name == "rloo":
            answer = [math.prod(answer)]
        gains = [min(rho * advantage, min(max(rho, low), high) * advantage) for rho in answer]
        share = {"token": 1 / tokens, "answer": 1 / len(answer) / len(ratios), "constant": 1 / len(ratios) / 6}
        total -= sum(gains) * share[options.averaging]
    return total


@pytest.mark.parametrize("name", ["ppo", "rloo", "grpo", "dr_grpo", "dapo"])
def test_the_policy_loss_by_hand_where_ratios_are_clipped(name: str) -> None:
    options, networks = ALL[name], tiny_networks(ALL[name])
    plain = tiny_experience(tiny_episodes(ANSWERS), options)
    now = plain.episodes.measure(lambda batch: answer_log_probs(networks.policy, batch, 1.0), 1)
    steps = torch.randn(now.shape, generator=torch.Generator().manual_seed(3)) * 0.4
    advantages = [1.0, -2.0, 0.5, -1.0, 1.5, 1.0]
    experience = replace(plain, log_probs=now - steps,
                         advantages=torch.tensor(advantages)[:, None] * plain.episodes.mask)
    batch = experience.minibatch([2, 1, 0, 5, 4, 3], options)
    _, count, metrics = algorithm_of(options).loss(networks, batch, options)
    ratios = [steps[e, : len(answer)].exp().tolist() for e, answer in enumerate(ANSWERS)]
    assert metrics["policy_loss"].item() / count == pytest.approx(surrogate_by_hand(name, ratios, advantages), rel=1e-4)
    drift = sum(rho - 1 - math.log(rho) for answer in ratios for rho in answer)
    assert metrics["approximate_kl"].item() == pytest.approx(drift, rel=1e-3)
    assert 0 < metrics["clip_fraction"] < count


@pytest.mark.parametrize("clip", [0.2, float("inf")])
def test_the_value_loss_by_hand_on_the_scale_of_the_reward_model(clip: float) -> None:
    model = tiny_networks()
    model.value.config.preceptor_offset = 0.75
    options = tiny_options(value_clip=clip, value_coefficient=0.1)
    experience = tiny_experience(tiny_episodes([[9, 10, 0], [9, 0]]), options)
    loss, count, metrics = ppo.loss(model, experience.minibatch([0, 1], options), options)
    expected = 0.0
    for e, answer in enumerate(experience.episodes.answers):
        prompt, size = experience.episodes.prompts[e], len(answer)
        tokens = torch.tensor([prompt + answer])
        values = model.value.score(model.value.model(input_ids=tokens).last_hidden_state)[0, :, 0] + 0.75
        now = values[len(prompt) - 1 : -1]  # V of the state before each token is chosen
        old, returns = experience.values[e, :size], experience.returns[e, :size]
        near = torch.minimum(torch.maximum(now, old - clip), old + clip)
        expected += 0.5 * torch.maximum((now - returns).square(), (near - returns).square()).sum().item()
    assert metrics["value_loss"].item() == pytest.approx(expected, rel=1e-5) and count == 5
    assert loss.item() == pytest.approx(metrics["policy_loss"].item() + 0.1 * expected, rel=1e-5)
    assert bool(metrics["value_clip_fraction"] > 0) == (clip < 1)


def test_log_probabilities_are_those_of_the_model_itself() -> None:
    policy = tiny_policy()
    episodes = tiny_episodes([[9, 10, 0], [9, 0], [5, 6, 7, 8, 9, 0]])
    found = episodes.measure(lambda batch: answer_log_probs(policy, batch, 0.7), parts=2)
    for e, answer in enumerate(episodes.answers):
        start = len(episodes.prompts[e]) - 1
        logits = policy(torch.tensor([episodes.prompts[e] + answer])).logits[0, start:-1] / 0.7
        expected = logits.log_softmax(-1)[range(len(answer)), answer]
        torch.testing.assert_close(found[e, : len(answer)], expected, atol=1e-5, rtol=0)


def test_dropout_stays_off_in_the_rollout_and_in_the_update() -> None:
    model = Networks(tiny_policy(attention_dropout=0.5), tiny_policy(), tiny_value(attention_dropout=0.5)).train()
    batch = collate([[Example("e", [5, 6, 7], [IGNORE, 7, 0])]], pad=1)
    first, second = (answer_log_probs(model.policy, batch, 1.0) for _ in range(2))
    assert torch.equal(first, second) and not any(module.training for module in model.modules())


def test_chunks_of_rows_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """More rows than a chunk holds: logits are computed again in the backward pass, values and gradients stay."""
    networks = tiny_networks(ALL["nlpo"])
    batch, _ = tiny_episodes(ANSWERS).packed(range(len(ANSWERS)))

    def read() -> list[torch.Tensor]:
        reading = read_policy(networks, batch, 0.7, whole=True, against_reference=True)
        total = (reading.log_probs + 2 * reading.entropy + 3 * reading.divergence).sum()
        return [reading.log_probs, reading.entropy, reading.divergence, gradient(networks.policy, total)]

    whole = read()
    monkeypatch.setattr("preceptor.rlhf.reading.HELD", 4 * VOCABULARY)
    for found, expected in zip(read(), whole, strict=True):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_the_end_of_text_is_not_the_padding() -> None:
    tokenizer = word_tokenizer()
    assert tokenizer.eos_token_id != tokenizer.pad_token_id
