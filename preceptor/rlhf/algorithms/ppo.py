"""PPO for language models as InstructGPT has it (arXiv 2203.02155, section 3.5 and appendix C.4).

Every token of an answer is an action of its own: generalised advantage estimation against a value network, whitened
over the iteration; the clipped surrogate; the clipped value loss. With pretraining text mixed in it is PPO-ptx.
"""

from torch import Tensor

from preceptor.data.batches import Batch
from preceptor.losses.advantages import gae, whiten
from preceptor.losses.policy import clipped_surrogate
from preceptor.rlhf.loss import Metrics, critic_loss, read, regularisation
from preceptor.rlhf.networks import Networks
from preceptor.rlhf.options import PpoOptions
from preceptor.rlhf.reading import at_actions


def advantages(rewards: Tensor, values: Tensor, mask: Tensor, options: PpoOptions) -> tuple[Tensor, Tensor]:
    """Advantages, whitened over all tokens of the iteration, and returns, taken before whitening. All are [B, T]."""
    if options.whiten_rewards:
        rewards = whiten(rewards, mask, shift_mean=False)
    raw, returns = gae(rewards, values, mask, options.discount, options.gae_lambda)
    return whiten(raw, mask), returns


def loss(networks: Networks, batch: Batch, options: PpoOptions) -> tuple[Tensor, int, Metrics]:
    """Clipped surrogate plus `value_coefficient` times clipped value loss, summed over the tokens of answers."""
    reading = read(networks, batch, options)
    policy = clipped_surrogate(reading.log_probs, at_actions(batch, "log_probs"), at_actions(batch, "advantages"),
                               options.clip, weights=at_actions(batch, "weights"))
    critic, count, value_metrics = critic_loss(networks, batch, options)
    held, held_metrics = regularisation(reading, batch, options)
    return policy.loss + critic + held, count, {
        "policy_loss": policy.loss, "clip_fraction": policy.clipped, "approximate_kl": policy.k3,
        **value_metrics, **held_metrics}
