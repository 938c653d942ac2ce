"""The gradient of PPO against worlds that can be written out in full, and its invariances."""

from dataclasses import replace
from itertools import product

import pytest
import torch
from torch import nn

from preceptor.data.batches import IGNORE, Example, collate
from preceptor.losses.divergence import full_kl
from preceptor.rlhf.algorithms import ppo
from preceptor.rlhf.experience import Episodes, Experience
from preceptor.rlhf.loss import ActorCritic, answer_log_probs, answer_values
from tests.rlhf.tiny import (
    tiny_episodes,
    tiny_experience,
    tiny_model,
    tiny_options,
    tiny_policy,
    tiny_value,
    word_tokenizer,
)

PROMPT = [1, 2]
ANSWERS = [[0], *([first, second] for first in (1, 2) for second in (0, 1, 2))]  # all that a vocabulary of 3 can say
SCORES = torch.tensor([0.3, -1.0, 2.0, 0.5, 1.0, -0.7, 0.1])


def gradient(model: nn.Module) -> torch.Tensor:
    return torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in model.parameters()])


def step_logits(policy: nn.Module, temperature: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of the first token [3], and of the second after each non-final first token [2, 3], without our code."""
    first = policy(torch.tensor([PROMPT])).logits[0, -1]
    second = policy(torch.tensor([[*PROMPT, 1], [*PROMPT, 2]])).logits[:, -1]
    return first / temperature, second / temperature


def answer_probabilities(policy: nn.Module, temperature: float) -> torch.Tensor:
    first, second = (logits.softmax(-1) for logits in step_logits(policy, temperature))
    return torch.stack([first[0], *(first[a] * second[a - 1, b] for a, b in product((1, 2), (0, 1, 2)))])


def exact_objective(policy: nn.Module, reference: nn.Module, temperature: float, beta: float) -> torch.Tensor:
    """E[score] - beta KL(policy || reference) over all answers, the divergence summed over the vocabulary."""
    first, second = step_logits(policy, temperature)
    first_reference, second_reference = (logits.detach() for logits in step_logits(reference, temperature))
    divergence = full_kl(first, first_reference) + (
        first.softmax(-1)[1:] * full_kl(second, second_reference)).sum()
    return (answer_probabilities(policy, temperature) * SCORES).sum() - beta * divergence


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_at_ratio_one_the_expected_gradient_is_that_of_the_objective(temperature: float) -> None:
    """Every answer weighted by its probability. It would not hold if the end of text were masked, the score misplaced,
    the targets shifted, the divergence of another sign or estimator, or the temperature left out of the update."""
    policy, reference = tiny_policy(0, vocab_size=3), tiny_policy(1, vocab_size=3)
    model = ActorCritic(policy, tiny_value(vocab_size=3))
    options = tiny_options(temperature=temperature, kl_coefficient=0.3, gae_lambda=1.0, value_coefficient=0.0,
                           missing_end_penalty=0.0)
    episodes = Episodes([str(n) for n in range(7)], [PROMPT] * 7, ANSWERS, pad=2)
    experience = Experience.estimate(
        episodes, scores=SCORES, ended=torch.ones(7, dtype=torch.bool),
        log_probs=episodes.measure(lambda batch: answer_log_probs(policy, batch, temperature), 1),
        reference_log_probs=episodes.measure(lambda batch: answer_log_probs(reference, batch, temperature), 1),
        # A baseline that depends on what stands before a token, as any value network does, changes no expectation.
        values=episodes.measure(lambda batch: answer_values(model["value"], batch), 1),
        algorithm=ppo, options=options)
    probabilities = answer_probabilities(policy, temperature)
    raw = experience.returns - experience.values
    weighted = replace(experience, advantages=raw * probabilities.detach()[:, None])
    loss, count, _ = ppo.loss(model, weighted.minibatch(range(7)), options)
    loss.backward()
    found = gradient(policy)
    policy.zero_grad()
    (-exact_objective(policy, reference, temperature, beta=0.3)).backward()
    assert count == sum(map(len, ANSWERS)) and probabilities.sum().item() == pytest.approx(1)
    torch.testing.assert_close(found, gradient(policy), atol=1e-5, rtol=1e-4)


def loss_of(model: ActorCritic, experience: Experience, chosen, options, micro_batches: int = 1) -> torch.Tensor:
    model.zero_grad()
    for micro in experience.minibatch(chosen).split(micro_batches):
        ppo.loss(model, micro, options)[0].backward()
    return gradient(model)


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4], [3, 0, 4, 2, 1]])
@pytest.mark.parametrize("micro_batches", [1, 3])
def test_packing_padding_order_and_micro_batches_change_nothing(order, micro_batches) -> None:
    answers = [[9, 10, 0], [9, 0], [5, 6, 7, 8, 9, 0], [0], [6, 7, 11]]
    model, options = tiny_model(), tiny_options()
    experience = tiny_experience(tiny_episodes(answers), options)
    assert len(experience.minibatch(order).counts) < len(answers)  # some rows hold several episodes
    alone = sum(loss_of(model, experience, [episode], options) for episode in range(5))
    other = replace(experience, episodes=tiny_episodes(answers, pad=7))
    found = loss_of(model, other, order, options, micro_batches)
    torch.testing.assert_close(found, alone, atol=1e-5, rtol=0)


@pytest.mark.parametrize("clip", [0.2, float("inf")])
def test_the_value_loss_by_hand_on_the_scale_of_the_reward_model(clip: float) -> None:
    model = tiny_model()
    model["value"].config.preceptor_offset = 0.75
    options = tiny_options(value_clip=clip, value_coefficient=0.1)
    experience = tiny_experience(tiny_episodes([[9, 10, 0], [9, 0]]), options)
    loss, count, metrics = ppo.loss(model, experience.minibatch([0, 1]), options)
    expected = 0.0
    for e, answer in enumerate(experience.episodes.answers):
        prompt, size = experience.episodes.prompts[e], len(answer)
        tokens = torch.tensor([prompt + answer])
        values = model["value"].score(model["value"].model(input_ids=tokens).last_hidden_state)[0, :, 0] + 0.75
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
    model = ActorCritic(tiny_policy(attention_dropout=0.5), tiny_value(attention_dropout=0.5)).train()
    batch = collate([[Example("e", [5, 6, 7], [IGNORE, 7, 0])]], pad=1)
    first, second = (answer_log_probs(model["policy"], batch, 1.0) for _ in range(2))
    assert torch.equal(first, second) and not any(module.training for module in model.modules())


def test_the_end_of_text_is_not_the_padding() -> None:
    tokenizer = word_tokenizer()
    assert tokenizer.eos_token_id != tokenizer.pad_token_id
