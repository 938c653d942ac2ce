"""The gradient of every online algorithm against the closed form, in a world whose answers can all be written out.

They would not hold if the end of text were masked, the score misplaced, targets shifted, the divergence of another sign
or estimator, the baseline biased, or the temperature left out of the update.
"""

import statistics
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from preceptor.rlhf.networks import Networks
from preceptor.rlhf.nucleus import NucleusMask
from preceptor.rlhf.options import A2cOptions, GrpoOptions, NlpoOptions, OnlineOptions, PpoOptions, RlooOptions
from tests.rlhf.tiny import tiny_options, tiny_policy
from tests.rlhf.world import (
    ANSWERS,
    LONGEST,
    SCORES,
    STATES,
    divergence,
    expected_advantages,
    expected_gradient,
    experience,
    fixed,
    gradient,
    networks,
    objective,
    one_step,
    pairs,
    policy_of,
    probability,
    visits,
)

CLOSE = {"atol": 1e-5, "rtol": 1e-4}


def options_of(kind: type[OnlineOptions], **changes: object) -> OnlineOptions:
    critic = {"gae_lambda": 1.0, "value_coefficient": 0.0} if hasattr(kind, "discount") else {"answers_per_prompt": 2}
    return tiny_options(kind, max_tokens=LONGEST, **critic, **changes)


def true_gradient(nets: Networks, temperature: float, beta: float) -> Tensor:
    """Of minus the objective."""
    policy, reference = policy_of(nets.policy, temperature), fixed(policy_of(nets.reference, temperature))
    return gradient(nets.policy, -objective(policy, reference, beta))


def chances_of(nets: Networks, temperature: float = 1.0) -> Tensor:
    return probability(policy_of(nets.policy, temperature)).detach()


def test_the_world_is_whole() -> None:
    assert chances_of(networks()).sum().item() == pytest.approx(1, abs=1e-5) and len(ANSWERS) == 15


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("kind", [A2cOptions, PpoOptions])
def test_with_a_critic_the_expected_gradient_is_that_of_the_objective(
        kind: type[OnlineOptions], temperature: float) -> None:
    nets, options = networks(), options_of(kind, temperature=temperature, kl_coefficient=0.3)
    found = experience(nets, options)
    deviation = 1.0
    if kind is PpoOptions:  # whitened: a constant off every advantage changes no expectation, and a scale is a scale
        deviation = float((found.returns - found.values)[found.episodes.mask].std(unbiased=False))
    result = deviation * expected_gradient(nets, found, options, chances_of(nets, temperature))
    torch.testing.assert_close(result, true_gradient(nets, temperature, 0.3), **CLOSE)


def test_leave_one_out_has_the_gradient_of_the_objective() -> None:
    nets, options = networks(), options_of(RlooOptions, kl_coefficient=0.3)
    found = expected_advantages(nets, options, chances_of(nets))
    result = expected_gradient(nets, found, options, torch.ones(15), lambda loss, count: LONGEST * loss / count)
    torch.testing.assert_close(result / 2, true_gradient(nets, 1.0, 0.3), **CLOSE)


def test_dr_grpo_has_the_gradient_of_the_objective_less_one_answers_share() -> None:
    """The mean of G rewards holds the answer's own: (G - 1)/G of it is left, here a half."""
    nets = networks()
    options = options_of(GrpoOptions, averaging="constant", divide_by_deviation=False, kl_reward="k1", kl_loss="none",
                         kl_coefficient=0.3)
    found = expected_advantages(nets, options, chances_of(nets))
    result = expected_gradient(nets, found, options, torch.ones(15), lambda loss, count: LONGEST * loss / count)
    torch.testing.assert_close(result / 2, 0.5 * true_gradient(nets, 1.0, 0.3), **CLOSE)


@pytest.mark.parametrize(("averaging", "share"), [("answer", lambda n: 1 / n), ("token", lambda n: 1.0)])
def test_grpo_has_the_biased_gradient_of_its_definition(averaging: str, share) -> None:
    """sum over groups of P(group) sum_i A_i share_i grad log p(y_i), A_i the standardised score."""
    nets, options = networks(), options_of(GrpoOptions, averaging=averaging, kl_loss="none")
    log_probs = probability(policy_of(nets.policy)).log()
    chances, wanted = log_probs.detach().exp(), torch.zeros(())
    for pair in pairs():
        scores = [float(SCORES[n]) for n in pair]
        for n, score in zip(pair, scores):
            advantage = (score - statistics.mean(scores)) / (statistics.stdev(scores) + 1e-4)
            wanted = wanted - chances[list(pair)].prod() * advantage * share(len(ANSWERS[n])) * log_probs[n]
    found = expected_advantages(nets, options, chances)
    result = expected_gradient(nets, found, options, torch.ones(15),
                               lambda loss, count: loss / count if averaging == "answer" else loss)
    torch.testing.assert_close(result, gradient(nets.policy, wanted), **CLOSE)


def test_a_masked_policy_has_the_gradient_of_the_masked_objective() -> None:
    """NLPO: what the mask forbids has probability 0, in the sampled answers, the ratio and the divergence alike."""
    policy, other = tiny_policy(0, vocab_size=3), tiny_policy(4, vocab_size=3)
    nets = networks(policy=policy, mask=NucleusMask(other, top_p=0.7, temperature=1.0))
    allowed = {}
    for state, log_probs in policy_of(other).items():  # the fewest most likely tokens that reach 0.7
        order = log_probs.argsort(descending=True)
        kept = [int(token) for place, token in enumerate(order) if log_probs[order[:place]].exp().sum() < 0.7]
        allowed[state] = torch.tensor([token in kept for token in range(3)])
    assert 1 < sum(int(tokens.sum()) for tokens in allowed.values()) / len(STATES) < 2.5
    masked, reference = policy_of(policy, allowed=allowed), fixed(policy_of(nets.reference))
    options = options_of(NlpoOptions, kl_coefficient=0.3, mask_top_p=0.7)
    found = experience(nets, options)
    chances = probability(masked).detach()
    assert chances.sum().item() == pytest.approx(1, abs=1e-5) and (chances == 0).any()
    deviation = float((found.returns - found.values)[found.episodes.mask].std(unbiased=False))
    result = deviation * expected_gradient(nets, found, options, chances)
    wanted = -(probability(masked) * SCORES).nan_to_num().sum() + 0.3 * divergence(masked, reference)
    torch.testing.assert_close(result, gradient(policy, wanted), **CLOSE)


def parts_of_the_divergence(nets: Networks) -> dict[str, Tensor]:
    """The gradient of KL(policy || reference) in its parts, and of what the wrong estimators have instead."""
    policy, reference = policy_of(nets.policy), fixed(policy_of(nets.reference))
    steps, seen, backwards = one_step(policy, reference), visits(policy), one_step(reference, policy)
    ratio = {state: (policy[state] - reference[state]).detach() for state in STATES}
    k2 = torch.stack([sum(0.5 * ratio[tuple(y[:t])][x] ** 2 for t, x in enumerate(y)) for y in ANSWERS])
    found = {
        "whole": divergence(policy, reference),
        "within": sum(seen[state].detach() * steps[state] for state in STATES),
        "through": sum(seen[state] * steps[state].detach() for state in STATES),
        "backwards": sum(seen[state].detach() * backwards[state] for state in STATES),
        "k2": (probability(policy) * k2).sum()}
    parts = {name: gradient(nets.policy, value) for name, value in found.items()}
    return {**parts, "nothing": torch.zeros_like(parts["whole"])}


TABLE = {  # (in the reward, in the loss): what the expected gradient is, as docs/rlhf.md has it
    ("k1", "none"): ("whole",), ("exact", "none"): ("through",), ("none", "k2"): ("within",),
    ("none", "exact"): ("within",), ("exact", "exact"): ("whole",), ("none", "k1"): ("nothing",),
    ("none", "k3"): ("backwards",), ("k2", "none"): ("k2",), ("k3", "none"): ("whole", "-backwards")}


@pytest.mark.parametrize(("reward", "loss"), TABLE)
def test_the_divergence_has_the_gradient_of_the_table(reward: str, loss: str) -> None:
    nets = networks()
    options = options_of(A2cOptions, kl_coefficient=1.0, kl_reward=reward, kl_loss=loss)
    found = experience(nets, options, scores=torch.zeros(15))
    parts = parts_of_the_divergence(nets)
    torch.testing.assert_close(parts["within"] + parts["through"], parts["whole"], **CLOSE)
    assert all(parts[name].abs().max() > 0.05 for name in parts if name != "nothing")
    wanted = sum(-parts[name[1:]] if name.startswith("-") else parts[name] for name in TABLE[reward, loss])
    torch.testing.assert_close(expected_gradient(nets, found, options, chances_of(nets)), wanted, **CLOSE)


def test_the_entropy_bonus_has_the_gradient_of_the_entropy() -> None:
    nets = networks()
    options = options_of(A2cOptions, kl_reward="none", entropy_coefficient=0.4)
    policy = policy_of(nets.policy)
    seen = visits(fixed(policy))
    wanted = sum(0.4 * seen[state] * (policy[state].exp() * policy[state]).sum() for state in STATES)
    found = replace(experience(nets, options), advantages=torch.zeros(15, LONGEST))
    torch.testing.assert_close(expected_gradient(nets, found, options, chances_of(nets)),
                               gradient(nets.policy, wanted), **CLOSE)
