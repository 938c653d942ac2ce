"""PPO for language models as InstructGPT has it (arXiv 2203.02155, section 3.5 and appendix C.4).

Every token of an answer is an action of its own: generalised advantage estimation against a value network, whitened
over the iteration; the clipped surrogate; the clipped value loss.
"""

import torch
from torch import Tensor

from preceptor.data.batches import IGNORE, Batch
from preceptor.losses.advantages import gae, whiten
from preceptor.losses.policy import clipped_surrogate, clipped_value_loss
from preceptor.rlhf.loss import ActorCritic, answer_log_probs, answer_values
from preceptor.rlhf.options import PpoOptions


def advantages(rewards: Tensor, values: Tensor, mask: Tensor, options: PpoOptions) -> tuple[Tensor, Tensor]:
    """Advantages, whitened over all tokens of the iteration, and returns, taken before whitening. All are [B, T]."""
    raw, returns = gae(rewards, values, mask, options.discount, options.gae_lambda)
    return whiten(raw, mask), returns


def loss(model: ActorCritic, batch: Batch, options: PpoOptions) -> tuple[Tensor, int, dict[str, torch.Tensor]]:
    """Clipped surrogate plus `value_coefficient` times clipped value loss, summed over the tokens of answers."""
    actions = batch["targets"] != IGNORE
    policy = clipped_surrogate(answer_log_probs(model["policy"], batch, options.temperature),
                               batch["log_probs"][actions], batch["advantages"][actions], options.clip)
    value = clipped_value_loss(answer_values(model["value"], batch),
                               batch["values"][actions], batch["returns"][actions], options.value_clip)
    return policy.loss + options.value_coefficient * value.loss, policy.count, {
        "policy_loss": policy.loss, "value_loss": value.loss, "clip_fraction": policy.clipped,
        "value_clip_fraction": value.clipped, "approximate_kl": policy.k3}
