"""Planted bugs: each mistake of the field's checklist is made on purpose, and one named check of the suite must fail.

A plant changes one function, as a slip of the hand would. Without a plant the checks pass: they are tests themselves.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from preceptor.data.batches import IGNORE, Example
from preceptor.generate.decoder import Sampling
from preceptor.losses import advantages, divergence, likelihood, policy
from preceptor.models import attention
from preceptor.rlhf import batches, experience, loss, networks, nucleus, options, reading, rollouts, shaping
from preceptor.rlhf.algorithms import a2c, grpo, ppo, rloo
from preceptor.run.errors import UserError
from tests.rlhf import test_batches, test_control, test_experience, test_gradient, test_shaping, test_world

Plant = Callable[[pytest.MonkeyPatch], None]


@dataclass(frozen=True)
class Mutation:
    """`plant` puts the bug in; `check`, given an empty folder, must then fail."""

    plant: Plant
    check: Callable[[Path], Any]


def at(owner: Any, name: str, make: Callable[[Any], Any], new: bool = False) -> Plant:
    """Put `make(the right one)` in the place of `owner.name`, which must be there unless it is `new`: a plant that
    misses its place would plant nothing."""
    return lambda patch: patch.setattr(owner, name, make(getattr(owner, name, None)), raising=not new)


# The checks, by what they are about.
def layout(_: Path) -> None:
    test_experience.test_an_episode_is_laid_out_as_the_picture_says()


def numbers_follow(_: Path) -> None:
    test_experience.test_numbers_follow_their_tokens_through_packing()


def payment(_: Path) -> None:
    test_experience.test_the_score_is_paid_at_the_last_real_token_and_the_divergence_at_every_token()


def by_hand_gae(_: Path) -> None:
    test_experience.test_discount_and_lambda_stand_where_they_belong()


def whitening(_: Path) -> None:
    test_experience.test_advantages_are_whitened_over_the_iteration_and_returns_are_not()


def objective_ppo(_: Path) -> None:
    test_world.test_with_a_critic_the_expected_gradient_is_that_of_the_objective(options.PpoOptions, 0.7)


def objective_a2c(_: Path) -> None:
    test_world.test_with_a_critic_the_expected_gradient_is_that_of_the_objective(options.A2cOptions, 1.0)


def objective_rloo(_: Path) -> None:
    test_world.test_leave_one_out_has_the_gradient_of_the_objective()


def objective_grpo(_: Path) -> None:
    test_world.test_dr_grpo_has_the_gradient_of_the_objective_less_one_answers_share()


def objective_nlpo(_: Path) -> None:
    test_world.test_a_masked_policy_has_the_gradient_of_the_masked_objective()


def kl_table(reward: str, in_loss: str) -> Callable[[Path], None]:
    return lambda _: test_world.test_the_divergence_has_the_gradient_of_the_table(reward, in_loss)


def entropy_bonus(_: Path) -> None:
    test_world.test_the_entropy_bonus_has_the_gradient_of_the_entropy()


def clipped(name: str) -> Callable[[Path], None]:
    return lambda _: test_gradient.test_the_policy_loss_by_hand_where_ratios_are_clipped(name)


def value_by_hand(_: Path) -> None:
    test_gradient.test_the_value_loss_by_hand_on_the_scale_of_the_reward_model(0.2)


def invariance(name: str) -> Callable[[Path], None]:
    def check(_: Path) -> None:
        with pytest.MonkeyPatch.context() as patch:
            test_gradient.test_packing_padding_order_and_micro_batches_change_nothing(name, patch)
    return check


def dropout(_: Path) -> None:
    test_gradient.test_dropout_stays_off_in_the_rollout_and_in_the_update()


def recomputed(_: Path) -> None:
    test_batches.test_sampled_and_recomputed_log_probabilities_agree_and_a_gap_stops_the_run()


def together(_: Path) -> None:
    test_batches.test_prompts_answers_and_scores_stay_together()


def frozen_reference(folder: Path) -> None:
    test_batches.test_divergence_is_measured_from_the_frozen_reference(folder)


def every_episode(_: Path) -> None:
    test_batches.test_every_inner_epoch_deals_out_every_episode_once_in_an_order_of_its_own()


def seeds(_: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        test_batches.test_no_two_answers_are_drawn_with_the_same_seed(patch)


def both_gradients(folder: Path) -> None:
    test_batches.test_both_gradients_are_added_before_the_one_step(folder)


def steps_due(folder: Path) -> None:
    test_batches.test_the_optimiser_takes_the_steps_that_are_due(folder)


def resume(folder: Path) -> None:
    test_batches.test_a_run_that_stops_resumes_to_the_same_bits(folder, 4)


def resume_with_state(folder: Path) -> None:
    test_control.test_every_algorithm_resumes_to_the_same_bits("ppo", folder)


def groups(_: Path) -> None:
    test_control.test_the_answers_to_a_prompt_stand_together_and_are_drawn_apart()


def resampling(_: Path) -> None:
    test_control.test_groups_without_variance_are_exchanged_for_those_of_other_prompts()


def coefficient(folder: Path) -> None:
    test_control.test_the_coefficient_follows_the_divergence_and_is_the_one_that_is_paid(folder)


def early_end(folder: Path) -> None:
    test_control.test_an_iteration_ends_when_the_policy_has_moved_far_enough(folder)


def warm_up(folder: Path) -> None:
    test_control.test_the_value_network_warms_up_alone(folder)


def shaping_order(_: Path) -> None:
    test_shaping.test_scores_are_scaled_before_they_are_cut_and_penalties_are_in_the_new_units()


# The slips.
def on_the_last_column(right: Any) -> Any:
    def wrong(scores, found, mask, beta):
        rewards = right(torch.zeros_like(scores), found, mask, beta)
        rewards[:, -1] += scores
        return rewards
    return wrong


def end_masked_away(right: Any) -> Any:
    def wrong(self, episode):
        example = right(self, episode)
        return replace(example, targets=[IGNORE if target == 0 else target for target in example.targets])
    return wrong


def shifted_again(right: Any) -> Any:
    def wrong(self, episode):
        example = right(self, episode)
        return Example(example.id, example.tokens, [IGNORE, *example.targets[:-1]])
    return wrong


def whitened_by_minibatch(right: Any) -> Any:
    def wrong(self, chosen, options):
        batch = right(self, chosen, options)
        mask = batch["targets"] != IGNORE
        batch.tensors["advantages"] = advantages.whiten(batch["advantages"], mask)
        return batch
    return wrong


def returns_after_whitening(right: Any) -> Any:
    def wrong(rewards, values, mask, options):
        white, _ = right(rewards, values, mask, options)
        return white, torch.where(mask, white + values, 0.0)
    return wrong


def the_values_own_clip(values, old_values, returns, clip=0.2):
    """Clipped around the return instead of around the old value."""
    return policy.clipped_value_loss(values, returns, returns, clip)


def the_larger_of_both(now, old, found, clip=0.2, clip_high=None, weights=None):
    """The maximum where the minimum belongs: what makes things worse is clipped away."""
    ratio = (now - old).exp()
    gains = torch.maximum(ratio * found, ratio.clamp(1 - clip, 1 + clip) * found)
    return policy.clipped_surrogate(now, old, found, clip)._replace(loss=-(weights * gains).sum())


def mean_of_means(right: Any) -> Any:
    """Each micro-batch divides by its own count, and then all have the same weight."""
    def wrong(networks, batch, options):
        total, count, metrics = right(networks, batch, options)
        return total / count, count, metrics
    return wrong


def of_the_whole_batch(right: Any) -> Any:
    return lambda rewards, group, *rest: right(rewards, len(rewards), *rest)


def forgetting(*names: str) -> Callable[[Any], Any]:
    def make(right: Any) -> Any:
        def wrong(self, state):
            kept = {name: getattr(self, name) for name in names}
            right(self, state)
            for name, value in kept.items():
                setattr(self, name, value)
        return wrong
    return make


def read_at(shift: int) -> Callable[[Any], Any]:
    return lambda right: lambda *arguments: right(*arguments).roll(shift)


EPISODES, SUPPLY = experience.Episodes, batches.RolloutBatches
MUTATIONS = {
    # rollout
    "temperature in sampling only": Mutation(
        at(reading, "selected_log_probs", lambda right: lambda *a, **k: right(*a[:3], 1.0, **k)), recomputed),
    "temperature in the update only": Mutation(
        at(rollouts, "Sampling", lambda _: lambda temperature, max_tokens: Sampling(max_tokens=max_tokens)),
        recomputed),
    "dropout in rollouts and updates": Mutation(
        at(networks.Networks, "train", lambda _: torch.nn.Module.train), dropout),
    "end of text masked away": Mutation(at(EPISODES, "_document", end_masked_away), layout),
    "targets shifted twice": Mutation(at(EPISODES, "_document", shifted_again), layout),
    "old log-probabilities of the neighbouring token": Mutation(
        at(experience, "_scattered", read_at(1)), numbers_follow),
    "answers in the order of finishing": Mutation(
        at(rollouts, "in_order", lambda _: lambda decoder, requests: [one for _, one in decoder.generate(requests)]),
        together),
    "the answers of a group are one answer": Mutation(
        at(SUPPLY, "_seeds", lambda right: lambda self, name, count: [right(self, name, 1)[0]] * count), seeds),
    "the answers of a group are of several prompts": Mutation(
        at(SUPPLY, "prompts_of", lambda right: lambda self, n: right(self, n)[::4] * 4), groups),
    "cut and ended confused": Mutation(
        at(rollouts.Scored, "ended", lambda right: property(lambda self: ~right.fget(self))), together),
    "documents of a row see each other": Mutation(
        at(attention, "_by_kind",
           lambda right: lambda seen, model, causal: right(torch.ones_like(seen), model, causal=causal)),
        invariance("ppo")),
    # reward
    "score on padding": Mutation(at(experience, "kl_penalised_rewards", on_the_last_column), payment),
    "divergence with the wrong sign": Mutation(
        at(experience, "kl_penalised_rewards", lambda right: lambda s, d, m, beta: right(s, d, m, -beta)), payment),
    "divergence at the last token only": Mutation(
        at(experience, "k1", lambda _: lambda ratio: ratio * (torch.arange(ratio.shape[1]) == ratio.shape[1] - 1)),
        payment),
    "divergence from the policy itself": Mutation(
        at(rollouts, "answer_log_probs", lambda right: lambda model, batch, temperature: right(
            test_batches.tiny_policy(), batch, temperature)), frozen_reference),
    "the reference learns too": Mutation(
        at(networks.Networks, "reference", lambda _: property(lambda self: self.policy, lambda self, value: None),
           new=True), frozen_reference),
    "k3 in the reward": Mutation(at(experience, "k1", lambda _: divergence.k3), kl_table("k1", "none")),
    "k1 in the loss": Mutation(
        lambda patch: patch.setitem(loss.ESTIMATORS, "k2", divergence.k1), kl_table("none", "k2")),
    "k3 in the loss": Mutation(
        lambda patch: patch.setitem(loss.ESTIMATORS, "k2", divergence.k3), kl_table("none", "k2")),
    "divergence the wrong way round": Mutation(
        at(reading, "full_kl", lambda right: lambda p, q: right(q, p)), kl_table("none", "exact")),
    "penalties before the scale": Mutation(
        at(shaping.ScoreScale, "scaled", lambda right: lambda self, x: right(self, x - test_shaping.ENDED.float())),
        shaping_order),
    "coefficient adapted the wrong way": Mutation(
        at(batches, "adapted_coefficient", lambda right: lambda beta, kl, n, target, horizon: right(
            beta, 2 * target - kl, n, target, horizon)), coefficient),
    # advantages
    "whitened by minibatch": Mutation(at(experience.Experience, "minibatch", whitened_by_minibatch), whitening),
    "whitened with the padding": Mutation(
        at(ppo, "whiten", lambda right: lambda x, mask, **k: right(x, torch.ones_like(mask), **k) * mask), whitening),
    "value targets after whitening": Mutation(at(ppo, "advantages", returns_after_whitening), whitening),
    "gamma and lambda confused": Mutation(
        at(ppo, "gae", lambda right: lambda r, v, m, gamma, lam: right(r, v, m, lam, gamma)), by_hand_gae),
    "values of the next state": Mutation(
        at(ppo, "gae", lambda right: lambda r, v, m, gamma, lam: right(r, v.roll(-1, 1), m, gamma, lam)), by_hand_gae),
    "an answer in its own baseline": Mutation(
        at(rloo, "leave_one_out", lambda _: lambda r, g: advantages.group_relative(r, g, divide=False)),
        objective_rloo),
    "one baseline for all groups": Mutation(at(grpo, "group_relative", of_the_whole_batch), objective_grpo),
    # losses
    "ratio upside down": Mutation(
        at(ppo, "clipped_surrogate", lambda right: lambda now, old, *a, **k: right(old + old - now, old, *a, **k)),
        objective_ppo),
    "policy gradient downhill": Mutation(
        at(a2c, "policy_gradient", lambda right: lambda *a: -right(*a)), objective_a2c),
    "the larger of clipped and free": Mutation(
        at(ppo, "clipped_surrogate", lambda _: the_larger_of_both), clipped("ppo")),
    "no clip": Mutation(
        at(ppo, "clipped_surrogate", lambda right: lambda n, o, a, c, **k: right(n, o, a, 1e9, **k)), clipped("ppo")),
    "the higher clip below": Mutation(
        at(grpo, "clipped_surrogate", lambda right: lambda n, o, a, low, high, **k: right(n, o, a, high, low, **k)),
        clipped("dapo")),
    "ratio of tokens where it is of answers": Mutation(
        at(rloo, "_of_answers", lambda _: lambda log_probs, number: log_probs), clipped("rloo")),
    "every token of an answer for all of it": Mutation(
        at(rloo.torch, "bincount", lambda _: lambda number: torch.ones(int(number.max()) + 1)), clipped("rloo")),
    "averaging ignored": Mutation(
        at(experience, "token_weights", lambda _: lambda lengths, *a: torch.ones(len(lengths))), clipped("grpo")),
    "mean of the means of micro-batches": Mutation(at(ppo, "loss", mean_of_means), invariance("ppo")),
    "value clipped around the return": Mutation(
        at(loss, "clipped_value_loss", lambda _: the_values_own_clip), value_by_hand),
    "value of the neighbouring token": Mutation(at(loss, "answer_values", read_at(1)), value_by_hand),
    "value without the reward model's offset": Mutation(
        at(reading, "offset", lambda _: lambda model: 0.0), value_by_hand),
    "entropy lowered": Mutation(at(reading, "entropy", lambda right: lambda logits: -right(logits)), entropy_bonus),
    "entropy of logits, not of probabilities": Mutation(
        at(reading, "entropy", lambda _: lambda logits: -(logits.softmax(-1) * logits).sum(-1)), entropy_bonus),
    "mask in sampling only": Mutation(
        at(nucleus.NucleusMask, "allowed", lambda _: lambda self, logits: torch.ones_like(logits, dtype=torch.bool)),
        objective_nlpo),
    "log-probability of the likeliest token": Mutation(
        at(likelihood, "token_log_probs", lambda right: lambda logits, targets: right(logits, logits.argmax(-1))),
        objective_a2c),
    # loop
    "an episode twice, another never": Mutation(
        at(SUPPLY, "_episodes_of", lambda right: lambda self, i, n: right(self, i, 0)), every_episode),
    "optimiser steps left out": Mutation(
        at(SUPPLY, "steps_per_iteration", lambda right: property(lambda self: right.fget(self) // 2)), steps_due),
    "pretraining gradient lost": Mutation(
        at(test_batches, "ptx_loss", lambda right: lambda *a: (right(*a)[0] * 0, *right(*a)[1:])), both_gradients),
    "no early end": Mutation(at(SUPPLY, "skip", lambda _: lambda self, span: None), early_end),
    "the policy learns while the value warms up": Mutation(
        at(batches, "critic_loss", lambda _: ppo.loss), warm_up),
    "flat groups kept": Mutation(at(rollouts.Scored, "replaced", lambda _: lambda self, *rest: self), resampling),
    "experience not in the checkpoint": Mutation(at(SUPPLY, "restore", forgetting("experience", "iteration")), resume),
    "coefficient not in the checkpoint": Mutation(at(SUPPLY, "restore", forgetting("kl_coefficient")),
                                                  resume_with_state),
    "score scale not in the checkpoint": Mutation(at(shaping.ScoreScale, "restore", lambda _: lambda self, state: None),
                                                  resume_with_state),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_planted_bug_is_caught(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    MUTATIONS[name].plant(monkeypatch)
    with pytest.raises((AssertionError, UserError)):
        MUTATIONS[name].check(tmp_path)
