"""The parts of a loss that online algorithms share, as sums over the tokens of answers."""

from collections.abc import Callable

import torch
from torch import Tensor

from preceptor.data.batches import Batch
from preceptor.learn.language import language_loss
from preceptor.losses.divergence import k1, k2, k3
from preceptor.losses.policy import ValueLoss, clipped_value_loss
from preceptor.rlhf.networks import Networks
from preceptor.rlhf.options import CriticOptions, OnlineOptions
from preceptor.rlhf.reading import Reading, answer_values, at_actions, read_policy

Metrics = dict[str, Tensor]

ESTIMATORS: dict[str, Callable[[Tensor], Tensor]] = {"k1": k1, "k2": k2, "k3": k3}


def read(networks: Networks, batch: Batch, options: OnlineOptions) -> Reading:
    """What the options want to know of the policy at the tokens of answers."""
    return read_policy(networks, batch, options.temperature, whole=options.entropy_coefficient != 0,
                       against_reference=options.kl_loss == "exact")


def regularisation(reading: Reading, batch: Batch, options: OnlineOptions) -> tuple[Tensor, Metrics]:
    """sum_t w_t (beta KL_t - `entropy_coefficient` H_t): the divergence by `kl_loss`, beta that of the iteration.

    The weights are those of the policy's loss, so that the exchange of score for divergence is what the option says.
    """
    weights = at_actions(batch, "weights")
    total, metrics = torch.zeros((), device=weights.device), {}
    if options.kl_loss != "none":
        divergence = reading.divergence if options.kl_loss == "exact" else ESTIMATORS[options.kl_loss](
            reading.log_probs - at_actions(batch, "reference_log_probs"))
        total = total + (weights * at_actions(batch, "kl_coefficients") * divergence).sum()
        metrics["kl_loss"] = divergence.sum()
    if options.entropy_coefficient:
        total = total - options.entropy_coefficient * (weights * reading.entropy).sum()
        metrics["token_entropy"] = reading.entropy.sum()
    return total, metrics


def critic_loss(networks: Networks, batch: Batch, options: CriticOptions) -> tuple[Tensor, int, Metrics]:
    """`value_coefficient` times the value loss: alone, it is the loss while the value network warms up."""
    value: ValueLoss = clipped_value_loss(answer_values(networks.value, batch), at_actions(batch, "values"),
                                          at_actions(batch, "returns"), options.value_clip)
    return options.value_coefficient * value.loss, value.count, {
        "value_loss": value.loss, "value_clip_fraction": value.clipped}


def ptx_loss(networks: Networks, batch: Batch) -> tuple[Tensor, int, Metrics]:
    """Cross-entropy of the policy on pretraining text (PPO-ptx, InstructGPT's equation 2, last term)."""
    return language_loss(networks.policy, batch)
