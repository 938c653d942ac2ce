"""Advantage actor-critic (Mnih et al. 2016, arXiv 1602.01783; synchronous, so one A less).

The plain policy gradient, with generalised advantage estimation against a value network. Each sample of answers is
learned from in one optimiser step, so that no ratio and no clip is needed. Advantages are not whitened: the gradient is
that of the objective itself, scale included.
"""

from torch import Tensor

from preceptor.data.batches import Batch
from preceptor.losses.advantages import gae, whiten
from preceptor.losses.policy import policy_gradient
from preceptor.rlhf.loss import Metrics, critic_loss, read, regularisation
from preceptor.rlhf.networks import Networks
from preceptor.rlhf.options import A2cOptions
from preceptor.rlhf.reading import at_actions


def advantages(rewards: Tensor, values: Tensor, mask: Tensor, options: A2cOptions) -> tuple[Tensor, Tensor]:
    """Advantages and returns by GAE. All are [B, T]."""
    if options.whiten_rewards:
        rewards = whiten(rewards, mask, shift_mean=False)
    return gae(rewards, values, mask, options.discount, options.gae_lambda)


def loss(networks: Networks, batch: Batch, options: A2cOptions) -> tuple[Tensor, int, Metrics]:
    """Policy gradient plus `value_coefficient` times the value loss, summed over the tokens of answers."""
    reading = read(networks, batch, options)
    policy = policy_gradient(reading.log_probs, at_actions(batch, "advantages"))
    critic, count, value_metrics = critic_loss(networks, batch, options)
    held, held_metrics = regularisation(reading, batch, options)
    return policy + critic + held, count, {"policy_loss": policy, **value_metrics, **held_metrics}
