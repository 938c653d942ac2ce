"""From scores to advantages: rewards of tokens, generalised advantage estimation, baselines of groups, whitening.

Legend: B answers, T time (the longest answer of the batch), G answers to one prompt, which stand together.

`mask` [B, T] is true at the tokens of the answer that count, the end-of-text token included. What stands elsewhere,
numbers or not, changes nothing, and the results there are 0. A position that does not count between two that do is
no time step. Everything here is a constant of the policy's gradient.
"""

import torch
from torch import Tensor


@torch.no_grad()
def kl_penalised_rewards(scores: Tensor, divergence: Tensor, mask: Tensor, coefficient: float) -> Tensor:
    """r_t = -coefficient * divergence_t, plus the score of the answer at its last token.

    InstructGPT (arXiv 2203.02155), section 3.5 and equation 2; coefficient 0.02 there. The divergence of a token is k1
    there, log p(x_t) - log p_ref(x_t), which alone is enough inside a reward (see `losses.divergence`).

    Args:
        scores: [B], of whole answers.
        divergence: [B, T], of the policy that sampled from the frozen reference, by one of the estimators.
        mask: [B, T] booleans.
        coefficient: beta, in units of score for a nat.

    Returns:
        [B, T]; its sum is the quantity that PPO raises: sum of scores - coefficient * KL.

    Raises:
        ValueError: an answer has no token, so that its score would be lost.
    """
    if not mask.any(1).all():
        raise ValueError("an answer without a token that counts has no place for its score")
    rewards = torch.where(mask, -coefficient * divergence, 0.0)
    steps = torch.arange(mask.shape[1], device=mask.device)
    last = torch.where(mask, steps, -1).amax(1, keepdim=True)  # not T - 1: that is padding in all but the longest
    return rewards.scatter_add(1, last, scores.to(rewards.dtype)[:, None])


@torch.no_grad()
def gae(
    rewards: Tensor, values: Tensor, mask: Tensor, gamma: float = 1.0, lambda_: float = 0.95
) -> tuple[Tensor, Tensor]:
    """Generalised advantage estimation (Schulman et al. 2016, arXiv 1506.02438, equation 16).

        delta_t = r_t + gamma V_{t+1} - V_t,    A_t = delta_t + gamma lambda A_{t+1},    R_t = A_t + V_t

    with V = A = 0 after the last token: the answer is the whole episode, also when it was cut at the length limit
    (a penalty on the score is the way to discourage that). InstructGPT does not discount: gamma = 1 (appendix C.4).

    Args:
        rewards: [B, T].
        values: [B, T], V_t of the state before token t is chosen.
        mask: [B, T] booleans.
        gamma: discount of a time step.
        lambda_: 1 gives the return minus the value, 0 the one-step error.

    Returns:
        Advantages [B, T], not whitened, and returns [B, T], the targets of the value loss; 0 where nothing counts.
    """
    advantages = torch.zeros_like(values)
    next_value = torch.zeros_like(values[:, 0])
    running = torch.zeros_like(next_value)
    for t in reversed(range(values.shape[1])):
        counts = mask[:, t]
        delta = rewards[:, t] + gamma * next_value - values[:, t]
        # Where t does not count, the next step and its advantage are handed on unchanged.
        running = torch.where(counts, delta + gamma * lambda_ * running, running)
        next_value = torch.where(counts, values[:, t], next_value)
        advantages[:, t] = torch.where(counts, running, 0.0)
    return advantages, torch.where(mask, advantages + values, 0.0)


@torch.no_grad()
def leave_one_out(rewards: Tensor, group: int) -> Tensor:
    """A_i = R_i - mean of the other G - 1 rewards of its group (RLOO: Kool et al. 2019; Ahmadian et al. 2024, eq. 8).

    arXiv 2402.14740. The baseline does not depend on answer i, so that the gradient stays unbiased. With G = 1 there
    is no other answer, hence no baseline.

    Args:
        rewards: [B] of whole answers, those of one prompt together.
        group: G; it divides B.

    Returns:
        [B].

    Raises:
        ValueError: G is below 2 or does not divide B.
    """
    table = _groups(rewards, group)
    return ((group * table - table.sum(1, keepdim=True)) / (group - 1)).flatten()


@torch.no_grad()
def group_relative(rewards: Tensor, group: int, divide: bool = True, epsilon: float = 1e-4) -> Tensor:
    """A_i = (R_i - mean) / (std + epsilon) over the G rewards of its group (GRPO: Shao et al. 2024, section 4.1.2).

    arXiv 2402.03300; std divides by G - 1. The mean holds R_i itself, so that the expectation is (G - 1)/G of the
    unbiased one, a factor that all answers share; the division weighs prompts whose answers score alike more. Without
    it (Dr. GRPO: Liu et al. 2025, arXiv 2503.20783) that bias is gone.

    Args, returns and errors are those of `leave_one_out`; a group of equal rewards gives 0.
    """
    table = _groups(rewards, group)
    centred = table - table.mean(1, keepdim=True)
    return (centred / (table.std(1, keepdim=True) + epsilon) if divide else centred).flatten()


def _groups(rewards: Tensor, group: int) -> Tensor:
    if group < 2 or rewards.ndim != 1 or len(rewards) % group:
        raise ValueError(f"{tuple(rewards.shape)} rewards do not make groups of {group}, at least 2")
    return rewards.view(-1, group)


@torch.no_grad()
def whiten(x: Tensor, mask: Tensor, shift_mean: bool = True, epsilon: float = 1e-8) -> Tensor:
    """(x - mean) / sqrt(variance + epsilon) over the positions that count; the variance divides by their number.

    The unit is the whole batch of a rollout, over all processes: whitened by minibatch, an advantage would depend on
    its neighbours of the moment. Ziegler et al. 2019 (arXiv 1909.08593) whiten rewards with `shift_mean=False`,
    which scales around the mean and keeps it, so that a reward that is always positive stays so.

    Args:
        x: [...].
        mask: [...] booleans, the shape of x.
        shift_mean: whether the mean becomes 0.
        epsilon: added to the variance; a constant x gives 0 (or its mean), not a division by zero.

    Returns:
        [...], 0 where nothing counts.

    Raises:
        ValueError: no position counts.
    """
    counted = x[mask]
    if counted.numel() == 0:
        raise ValueError("whitening needs at least one position that counts")
    mean, variance = counted.mean(), counted.var(unbiased=False)
    white = (x - mean) * torch.rsqrt(variance + epsilon)
    return torch.where(mask, white if shift_mean else white + mean, 0.0)
