"""What steers a run beside the gradient: groups, resampling, the coefficient, early ends, warm-up, the mask.

And that a run with all of it resumes to the same bits.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from preceptor.learn.checkpoint import load_checkpoint
from preceptor.losses.divergence import adapted_coefficient
from preceptor.rlhf.options import A2cOptions, GrpoOptions, NlpoOptions, OnlineOptions, PpoOptions, RlooOptions
from preceptor.run.log import read_log
from tests.rlhf.tiny import ShareOfGood, tiny_batches, tiny_networks, tiny_options, train, weights


class OnlyTwoWords:
    """A score that most groups agree on: whether the answer is exactly two words and an end."""

    def score(self, prompts, responses):
        return [float(len(response.token_ids) == 3) for response in responses]


def lines(folder: Path) -> dict[int, dict[str, Any]]:
    return {at: {name: value for name, value in line.items() if name != "tokens_per_second"}
            for at, line in read_log(folder / "log.jsonl")["ppo"].items()}


def test_the_answers_to_a_prompt_stand_together_and_are_drawn_apart() -> None:
    options = tiny_options(GrpoOptions, episodes=8, answers_per_prompt=4, iterations=3)
    batches = tiny_batches(tiny_networks(options), options)
    next(batches)
    ids, answers = batches.experience.episodes.ids, batches.experience.episodes.answers
    assert [len(set(ids[first : first + 4])) for first in (0, 4)] == [1, 1] and ids[0] != ids[4]
    assert len({tuple(answer) for answer in answers}) > 5
    drawn = [prompt.id for iteration in range(3) for prompt in batches.prompts_of(iteration)[::4]]
    assert len(set(drawn)) == 6  # one pass over the six prompts, two an iteration


def test_groups_without_variance_are_exchanged_for_those_of_other_prompts() -> None:
    plain = tiny_options(GrpoOptions, episodes=24, answers_per_prompt=4, minibatches=1)
    left = {}
    for rounds in (0, 3):
        options = replace(plain, resampling_rounds=rounds)
        batches = tiny_batches(tiny_networks(options), options, OnlyTwoWords())
        next(batches)
        notes, experience = batches.end_step(), batches.experience
        flat = sum(len(set(group)) == 1 for group in experience.scores.view(-1, 4).tolist())
        assert notes["flat_groups"] == flat and (notes["replaced_groups"] > 0) == (rounds > 0)
        lengths = experience.episodes.mask.sum(1)
        assert torch.equal(experience.scores, (lengths == 3).float())  # scores went where their answers did
        assert all(len(set(experience.episodes.ids[n : n + 4])) == 1 for n in range(0, 24, 4))
        left[rounds] = flat
    assert left[0] > left[3]


def test_the_coefficient_follows_the_divergence_and_is_the_one_that_is_paid(tmp_path: Path) -> None:
    options = tiny_options(iterations=4, kl_target=0.5, kl_horizon=16, kl_coefficient=0.3, missing_end_penalty=0.0)
    networks = tiny_networks()
    train(networks, tiny_batches(networks, options), options, tmp_path)
    seen = [line for line in lines(tmp_path).values() if "kl_coefficient" in line]
    coefficient = 0.3
    for line in seen:
        assert line["kl_coefficient"] == pytest.approx(coefficient)
        assert line["reward"] == pytest.approx(line["score"] - coefficient * line["kl_k1"], abs=1e-5)
        coefficient = adapted_coefficient(coefficient, line["kl_k1"], 8, 0.5, 16)
    assert len({line["kl_coefficient"] for line in seen}) == 4


def test_an_iteration_ends_when_the_policy_has_moved_far_enough(tmp_path: Path) -> None:
    options = tiny_options(iterations=3, minibatches=4, inner_epochs=2, learning_rate=0.03)
    networks = tiny_networks()
    train(networks, tiny_batches(networks, options), options, tmp_path / "all")
    drifts = [line["approximate_kl"] for line in lines(tmp_path / "all").values()]
    assert len(drifts) == 24
    stop = sorted(drifts)[15]
    stopping, networks = replace(options, kl_stop=stop), tiny_networks()
    batches = tiny_batches(networks, stopping)
    train(networks, batches, stopping, tmp_path / "some")  # its own assertion: steps done are steps due
    log = lines(tmp_path / "some")
    begins = [at for at, line in log.items() if "score" in line]
    assert len(begins) == 3 and len(log) == max(log) == batches.total < 24
    for begin, end in zip(begins, [*begins[1:], max(log) + 1]):
        over = [log[at]["approximate_kl"] > stop for at in range(begin, end)]
        assert not any(over[:-1]) and (over[-1] or len(over) == 8)


def test_the_value_network_warms_up_alone(tmp_path: Path) -> None:
    options = tiny_options(iterations=3, value_warmup=2, weight_decay=0.1)
    networks, moved = tiny_networks(), []
    before, batches = tiny_networks(), tiny_batches(networks, options)

    def watching(networks, batch):
        moved.append([not torch.equal(weights(now), weights(then))
                      for now, then in ((networks.policy, before.policy), (networks.value, before.value))])
        return batches.loss(networks, batch)

    train(networks, batches, options, tmp_path, loss=watching)
    assert moved == [[False, False], *[[False, True]] * 4, [True, True]]
    assert "policy_loss" not in lines(tmp_path)[4] and "policy_loss" in lines(tmp_path)[5]


def test_the_mask_is_renewed_when_it_is_due_and_answers_keep_to_it(tmp_path: Path) -> None:
    options = tiny_options(NlpoOptions, iterations=5, mask_every=2, mask_top_p=0.6)
    networks = tiny_networks(options)
    batches, same = tiny_batches(networks, options), []

    def watching(networks, batch):
        same.append(torch.equal(weights(networks.mask.policy), weights(networks.policy)))
        assert not any(module.training for module in networks.modules())
        return batches.loss(networks, batch)

    train(networks, batches, options, tmp_path, loss=watching)
    assert same == [True, False, False, False] * 2 + [True, False]  # two optimiser steps an iteration
    free = tiny_batches(tiny_networks(), tiny_options(episodes=64))
    held = tiny_batches(networks, replace(options, episodes=64))
    words = {name: {token for answer in supply._roll_out(1).episodes.answers for token in answer}
             for name, supply in (("free", free), ("held", held))}
    assert len(words["held"]) < len(words["free"])


EVERYTHING = {
    "ppo": tiny_options(PpoOptions, iterations=4, score_scale="running", kl_target=0.5, kl_horizon=64, value_warmup=1,
                        inner_epochs=3, kl_stop=0.01, learning_rate=0.03),
    "nlpo": tiny_options(NlpoOptions, iterations=4, mask_every=2, entropy_coefficient=0.01),
    "a2c": tiny_options(A2cOptions, kl_reward="exact", kl_loss="exact", iterations=6),
    "rloo": tiny_options(RlooOptions, iterations=4, score_scale="reference"),
    "grpo": tiny_options(GrpoOptions, iterations=4, resampling_rounds=2, clip_high=0.28),
}


def run(options: OnlineOptions, folder: Path, stop_at: int | None = None) -> torch.Tensor:
    networks, calls = tiny_networks(options), 0
    batches = tiny_batches(networks, options, ShareOfGood())

    def stopping(networks, batch):
        nonlocal calls
        calls += 1
        if calls == stop_at:
            raise InterruptedError
        return batches.loss(networks, batch)

    train(networks, batches, options, folder, loss=stopping)
    return weights(networks)


@pytest.mark.parametrize("name", EVERYTHING)
def test_every_algorithm_resumes_to_the_same_bits(name: str, tmp_path: Path) -> None:
    options = replace(EVERYTHING[name], checkpoint_every=2)
    whole = run(options, tmp_path / "whole")
    stopped = tmp_path / "stopped"
    with pytest.raises(InterruptedError):
        run(options, stopped, stop_at=6)
    assert load_checkpoint(stopped / "checkpoints")[0] == 4
    assert torch.equal(run(options, stopped), whole)
    assert lines(stopped) == lines(tmp_path / "whole")
