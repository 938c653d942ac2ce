"""Losses of the policy and of the value network: policy gradient, proximal policy optimisation (arXiv 1707.06347).

Legend: N positions that count, B answers.

Every tensor is [N]: the answer tokens of a minibatch with prompts and padding already left out (`x_BT[mask_BT]`,
`selected_log_probs`), or whole answers where these are the actions. A padded [B, T] tensor is refused, because its
padding would be counted without a word. Losses are sums; divide by the number of answer tokens of the whole optimiser
step (a mean of the means of micro-batches would weigh short answers more).
"""

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from preceptor.losses.divergence import k1, k3


class PolicyLoss(NamedTuple):
    """Sums over the positions that count, all scalars; only `loss` has a gradient.

    Divided by `count`, `clipped` is the fraction of tokens whose gradient the clip has cut off, and `k1` and `k3` are
    estimates of KL(policy that sampled || policy now), in nats a token.
    """

    loss: Tensor
    count: int
    clipped: Tensor
    k1: Tensor
    k3: Tensor


class ValueLoss(NamedTuple):
    """Sums over the positions that count, all scalars; only `loss` has a gradient.

    Divided by `count`, `clipped` is the fraction of values whose gradient the clip has cut off.
    """

    loss: Tensor
    count: int
    clipped: Tensor


def policy_gradient(log_probs: Tensor, advantages: Tensor) -> Tensor:
    """-sum_t A_t log p(x_t), whose gradient is the policy gradient (Williams 1992; A2C: Mnih et al. 2016).

    It holds for answers that the policy sampled as it is now: one optimiser step for each sample.

    Args:
        log_probs: [N], of the sampled tokens under the policy now.
        advantages: [N], constants.

    Raises:
        ValueError: the tensors are not [N], both of one N.
    """
    _check_flat(log_probs, advantages)
    return -(advantages.detach() * log_probs).sum()


def clipped_surrogate(
    log_probs: Tensor, old_log_probs: Tensor, advantages: Tensor, clip: float = 0.2, clip_high: float | None = None,
    weights: Tensor | None = None
) -> PolicyLoss:
    """-sum_t w_t min(rho_t A_t, clamp(rho_t, 1 - clip, 1 + clip) A_t), rho_t = p_now(x_t) / p_old(x_t)  (equation 7).

    The minimum makes it a bound from below: what makes things worse is never clipped away. At rho = 1 its gradient
    is the policy gradient -sum_t w_t A_t grad log p(x_t).

    Args:
        log_probs: [N], of the sampled tokens under the policy now, with the logits divided by the same temperature
            as in sampling.
        old_log_probs: [N], kept from the rollout. Dropout must be off in both, or the ratio measures the dropout.
        advantages: [N], whitened over the whole batch (`advantages.whiten`), constants.
        clip: half-width of the trust region around 1; 0.2 in InstructGPT (appendix C.4).
        clip_high: its upper half-width where that is another (DAPO's clip-higher, arXiv 2503.14476: 0.28).
        weights: [N], of the tokens in the loss (`token_weights`), 1 unless given; the other sums do not see them.

    Returns:
        PolicyLoss of sums.

    Raises:
        ValueError: the tensors are not [N], all of one N.
    """
    _check_flat(log_probs, old_log_probs, advantages)
    old_log_probs, advantages = old_log_probs.detach(), advantages.detach()
    log_ratio = log_probs - old_log_probs
    ratio = log_ratio.exp()
    free = ratio * advantages
    limited = ratio.clamp(1 - clip, 1 + (clip if clip_high is None else clip_high)) * advantages
    drift = -log_ratio.detach()  # the samples come from the old policy: p is old, q is now
    gains = torch.minimum(free, limited)
    if weights is not None:
        _check_flat(gains, weights)
        gains = gains * weights
    return PolicyLoss(
        loss=-gains.sum(),
        count=log_probs.numel(),
        clipped=(limited < free).sum(),
        k1=k1(drift).sum(),
        k3=k3(drift).sum(),
    )


Averaging = Literal["token", "answer", "constant"]


def token_weights(lengths: Tensor, averaging: Averaging, constant: int) -> Tensor:
    """The weight of each answer's tokens that turns their mean over an optimiser step into another average of losses l.

        token      1/N sum_i sum_t l_it                  every token counts the same (DAPO; PPO)
        answer     1/B sum_i 1/n_i sum_t l_it            every answer does: a token of a long one less (GRPO)
        constant   1/B sum_i 1/constant sum_t l_it       the policy gradient up to a constant (Dr. GRPO)

    with n_i the tokens of answer i and N their sum. "token" shares the direction of "constant" within a step.

    Args:
        lengths: [B], tokens of each answer of the whole optimiser step, not of a micro-batch.
        averaging: which.
        constant: the divisor, for example the most tokens that an answer may have.

    Returns:
        [B].
    """
    ones = torch.ones(len(lengths))
    if averaging == "token":
        return ones
    mean_length = lengths.float().mean()
    return mean_length / lengths if averaging == "answer" else ones * (mean_length / constant)


def clipped_value_loss(values: Tensor, old_values: Tensor, returns: Tensor, clip: float = 0.2) -> ValueLoss:
    """sum_t 1/2 max((V_t - R_t)^2, (V'_t - R_t)^2), V'_t = clamp(V_t, V_old,t - clip, V_old,t + clip).

    Not in the paper but in its code (OpenAI baselines) and in all of OpenAI's work on language models since Ziegler
    et al. 2019: a value may move by at most `clip` in an update, unless that takes it away from the return. `clip` is
    in units of the return; infinity turns it off.

    Args:
        values: [N], of the value network now.
        old_values: [N], kept from the rollout.
        returns: [N], advantages plus old values before whitening (`advantages.gae`).
        clip: the largest useful step of a value.

    Returns:
        ValueLoss of sums.

    Raises:
        ValueError: the tensors are not [N], all of one N.
    """
    _check_flat(values, old_values, returns)
    old_values, returns = old_values.detach(), returns.detach()
    limited = torch.clamp(values, old_values - clip, old_values + clip)
    free_error, limited_error = (values - returns).square(), (limited - returns).square()
    return ValueLoss(
        loss=0.5 * torch.maximum(free_error, limited_error).sum(),
        count=values.numel(),
        clipped=(limited_error > free_error).sum(),
    )


def _check_flat(*tensors: Tensor) -> None:
    shapes = {tuple(tensor.shape) for tensor in tensors}
    if len(shapes) != 1 or len(next(iter(shapes))) != 1:  # [N] against [N, 1] would broadcast to N x N in silence
        raise ValueError(f"the losses of PPO take tensors [N] of one N, without padding, not {sorted(shapes)}")
