"""PPO reaches known answers: what is rewarded is said, what costs is not done."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from preceptor.data.records import Prompt, Response
from preceptor.rlhf.batches import RolloutBatches
from preceptor.rlhf.networks import Networks
from preceptor.rlhf.options import OnlineOptions
from preceptor.run.log import read_log
from tests.rlhf.tiny import tiny_batches, tiny_networks, tiny_options, tiny_policy, tiny_value, train


class Indifferent:
    def score(self, prompts: Sequence[Prompt], responses: Sequence[Response]) -> list[float]:
        return [0.0] * len(responses)


def learn(folder: Path, networks: Networks, batches: RolloutBatches, options: OnlineOptions) -> list[dict[str, float]]:
    """Train, and return the metrics of every iteration."""
    train(networks, batches, options, folder)
    return [line for line in read_log(folder / "log.jsonl")["ppo"].values() if "score" in line]


def learn_to_say_good(folder: Path, **changes: Any) -> list[dict[str, float]]:
    options = tiny_options(**{"iterations": 20, "episodes": 32, "kl_coefficient": 0.01, "missing_end_penalty": 0.0,
                              "checkpoint_every": 1000, **changes})
    networks = tiny_networks()
    return learn(folder, networks, tiny_batches(networks, options), options)


def test_it_learns_what_is_rewarded(tmp_path: Path) -> None:
    curve = learn_to_say_good(tmp_path)
    assert curve[0]["score"] < 0.25 and curve[-1]["score"] > 0.8
    assert all(math.isfinite(value) for line in curve for value in line.values())
    assert 1 < curve[-1]["kl_k1"] < 30 and curve[-1]["entropy"] < curve[0]["entropy"]
    assert curve[-1]["explained_variance"] > curve[0]["explained_variance"]
    assert curve[-1]["ended"] < 0.3  # the end of text is a token that is not `good`


def test_an_answer_that_is_cut_costs_what_the_option_says(tmp_path: Path) -> None:
    assert learn_to_say_good(tmp_path, missing_end_penalty=3.0)[-1]["ended"] > 0.8


def test_the_penalty_for_divergence_alone_draws_the_policy_to_the_reference(tmp_path: Path) -> None:
    """A sign or an estimator gone wrong would drive it away; every score is the same and teaches nothing."""
    options = tiny_options(iterations=15, episodes=32, kl_coefficient=1.0, checkpoint_every=1000)
    networks = Networks(tiny_policy(), tiny_policy(seed=3), tiny_value())
    batches = tiny_batches(networks, options, Indifferent())
    curve = learn(tmp_path, networks, batches, options)
    assert curve[0]["kl_k1"] > 2 and curve[-1]["kl_k1"] < 0.5 * curve[0]["kl_k1"]
