"""GRPO: every token of an answer has the answer's standing in its group (Shao et al. 2024, arXiv 2402.03300).

No value network: the advantage is the reward less the mean of the answers to the same prompt, over their deviation. The
ratio and its clip are of tokens, and the divergence stands in the loss. Two variants by options alone:

    Dr. GRPO (arXiv 2503.20783)   averaging constant, divide_by_deviation false, kl_coefficient 0
    DAPO     (arXiv 2503.14476)   averaging token, clip_high 0.28, resampling_rounds above 0, overlong_tokens above 0,
                                  kl_coefficient 0
"""

from torch import Tensor

from preceptor.data.batches import Batch
from preceptor.losses.advantages import group_relative
from preceptor.losses.policy import clipped_surrogate
from preceptor.rlhf.loss import Metrics, read, regularisation
from preceptor.rlhf.networks import Networks
from preceptor.rlhf.options import GrpoOptions
from preceptor.rlhf.reading import at_actions


def advantages(rewards: Tensor, values: None, mask: Tensor, options: GrpoOptions) -> tuple[Tensor, None]:
    """The answer's standing in its group at each of its tokens, [B, T]."""
    return group_relative(rewards.sum(1), options.answers_per_prompt, options.divide_by_deviation)[:, None] * mask, None


def loss(networks: Networks, batch: Batch, options: GrpoOptions) -> tuple[Tensor, int, Metrics]:
    """The clipped surrogate of tokens, averaged as the options say, plus the divergence."""
    reading = read(networks, batch, options)
    policy = clipped_surrogate(reading.log_probs, at_actions(batch, "log_probs"), at_actions(batch, "advantages"),
                               options.clip, options.clip_high, weights=at_actions(batch, "weights"))
    held, held_metrics = regularisation(reading, batch, options)
    return policy.loss + held, policy.count, {
        "policy_loss": policy.loss, "clip_fraction": policy.clipped, "approximate_kl": policy.k3, **held_metrics}
