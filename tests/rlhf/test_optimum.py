"""Every online algorithm drives a known reward to its known optimum, at the divergence that the optimum has.

Answers have at most two tokens, so that all 133 to each of six prompts can be written out. What maximises
E[score] - beta KL(policy || reference) is policy*(y) = reference(y) exp(score(y) / beta) / Z; its value is beta log Z.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from preceptor.data.records import Prompt, Response
from preceptor.rlhf.options import A2cOptions, GrpoOptions, NlpoOptions, OnlineOptions, PpoOptions, RlooOptions
from preceptor.tokenizer.chat import encode_prompt
from tests.rlhf.tiny import (
    VOCABULARY,
    tiny_batches,
    tiny_networks,
    tiny_options,
    tiny_prompts,
    train,
    word_tokenizer,
)

BETA = 0.4
WORTH = torch.randn(VOCABULARY, generator=torch.Generator().manual_seed(4)) * 2


class Worth:
    """The mean worth of an answer's tokens."""

    def score(self, prompts: Sequence[Prompt], responses: Sequence[Response]) -> list[float]:
        return [float(WORTH[response.token_ids].mean()) for response in responses]


@torch.no_grad()
def log_probs_of_all(policy: nn.Module) -> Tensor:
    """[6 prompts, 1 + 11 x 12 answers]: the end at once, or a word and then any token."""
    found = []
    for prompt in tiny_prompts():
        tokens = encode_prompt(word_tokenizer(), prompt)
        first = policy(torch.tensor([tokens])).logits[0, -1].log_softmax(-1)
        second = policy(torch.tensor([[*tokens, word] for word in range(1, VOCABULARY)])).logits[:, -1].log_softmax(-1)
        found.append(torch.cat([first[:1], (first[1:, None] + second).flatten()]))
    return torch.stack(found)


def scores_of_all() -> Tensor:
    """[133]: what `Worth` says of each answer."""
    return torch.cat([WORTH[:1], ((WORTH[1:, None] + WORTH) / 2).flatten()])


@dataclass(frozen=True)
class Standing:
    """Means over the prompts, all exact."""

    score: float
    divergence: float

    @property
    def objective(self) -> float:
        return self.score - BETA * self.divergence


def standing(log_p: Tensor, log_q: Tensor) -> Standing:
    p = log_p.exp()
    return Standing(float((p * scores_of_all()).sum(1).mean()), float((p * (log_p - log_q)).sum(1).mean()))


def learn(options: OnlineOptions, folder: Path) -> tuple[Standing, Standing, Standing]:
    """Where it began, where it ended, and the optimum."""
    networks = tiny_networks(options)
    before = log_probs_of_all(networks.reference)
    train(networks, tiny_batches(networks, options, Worth()), options, folder)
    best = (before + scores_of_all() / BETA).log_softmax(1)
    return standing(before, before), standing(log_probs_of_all(networks.policy), before), standing(best, before)


COMMON = {"max_tokens": 2, "episodes": 64, "missing_end_penalty": 0.0, "kl_coefficient": BETA, "schedule": "linear",
          "checkpoint_every": 1000, "learning_rate": 0.01}
CRITIC = {**COMMON, "value_learning_rate": 0.02}
TO_THE_OPTIMUM = {
    "ppo": tiny_options(PpoOptions, iterations=20, **CRITIC),
    "a2c": tiny_options(A2cOptions, iterations=30, gae_lambda=1.0, **CRITIC),
    "a2c_exact": tiny_options(A2cOptions, iterations=25, kl_reward="exact", kl_loss="exact", **CRITIC),
    "rloo": tiny_options(RlooOptions, iterations=22, **COMMON),
    "dr_grpo": tiny_options(GrpoOptions, iterations=22, averaging="constant", divide_by_deviation=False, kl_reward="k1",
                            kl_loss="none", **COMMON),
}
FREE = {**COMMON, "kl_coefficient": 0.0, "iterations": 14, "learning_rate": 0.02}
TO_THE_REWARD = {  # whose own normalisation or mask moves the optimum: where divergence is free, it is the best score
    "grpo": tiny_options(GrpoOptions, **FREE),
    "dapo": tiny_options(GrpoOptions, averaging="token", clip_high=0.28, resampling_rounds=2, **FREE),
    "nlpo": tiny_options(NlpoOptions, mask_top_p=0.9, mask_every=3, value_learning_rate=0.02, **FREE),
}


@pytest.mark.parametrize("name", TO_THE_OPTIMUM)
def test_it_reaches_the_optimum_of_score_less_divergence(name: str, tmp_path: Path) -> None:
    began, ended, best = learn(TO_THE_OPTIMUM[name], tmp_path)
    assert began.objective < 1.1 and best.objective > 3.1 and 2.0 < best.divergence < 2.1
    share = (ended.objective - began.objective) / (best.objective - began.objective)
    assert 0.94 < share <= 1 and abs(ended.divergence / best.divergence - 1) < 0.25  # the best score alone has 0.84


@pytest.mark.parametrize("name", TO_THE_REWARD)
def test_it_reaches_the_best_score_where_divergence_is_free(name: str, tmp_path: Path) -> None:
    began, ended, _ = learn(TO_THE_REWARD[name], tmp_path)
    assert began.score < 1.1 and ended.score > 0.93 * scores_of_all().max()
