"""RLOO: the answer as one action, with the other answers to its prompt as the baseline (Ahmadian et al. 2024).

arXiv 2402.14740. No value network: A_i = R_i - mean of the others' R, with R the score less the divergence of the whole
answer. The ratio and its clip are of whole answers too, as an answer is taken or left.
"""

import torch
from torch import Tensor

from preceptor.data.batches import Batch
from preceptor.losses.advantages import leave_one_out
from preceptor.losses.divergence import k3
from preceptor.losses.policy import clipped_surrogate
from preceptor.rlhf.loss import Metrics, read, regularisation
from preceptor.rlhf.networks import Networks
from preceptor.rlhf.options import RlooOptions
from preceptor.rlhf.reading import answer_numbers, at_actions


def advantages(rewards: Tensor, values: None, mask: Tensor, options: RlooOptions) -> tuple[Tensor, None]:
    """The answer's advantage at each of its tokens, [B, T]."""
    return leave_one_out(rewards.sum(1), options.answers_per_prompt)[:, None] * mask, None


def loss(networks: Networks, batch: Batch, options: RlooOptions) -> tuple[Tensor, int, Metrics]:
    """The clipped surrogate of whole answers, the sum of their tokens' shares."""
    reading = read(networks, batch, options)
    old, number = at_actions(batch, "log_probs"), answer_numbers(batch)
    length = torch.bincount(number)[number]
    # Each token stands for a 1/length of its answer: so the sums stay sums over tokens, and rows can be split.
    policy = clipped_surrogate(_of_answers(reading.log_probs, number), _of_answers(old, number),
                               at_actions(batch, "advantages"), options.clip,
                               weights=at_actions(batch, "weights") / length)
    held, held_metrics = regularisation(reading, batch, options)
    return policy.loss + held, policy.count, {
        "policy_loss": policy.loss, "clip_fraction": policy.clipped,
        "approximate_kl": k3(old - reading.log_probs.detach()).sum(), **held_metrics}


def _of_answers(log_probs: Tensor, number: Tensor) -> Tensor:
    """The log-probability of the whole answer at each of its tokens, [N]."""
    whole = torch.zeros(int(number.max()) + 1, dtype=log_probs.dtype, device=log_probs.device)
    return whole.index_add(0, number, log_probs)[number]
