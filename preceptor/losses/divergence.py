"""How far one policy is from another: the Kullback-Leibler divergence, estimated from samples or exact.

    KL(p || q) = E_{x ~ p} [log p(x) - log q(x)]

Estimators take `log_ratio` = log p(x) - log q(x) of tokens x that were sampled from p (J. Schulman, "Approximating
KL divergence", 2020). For the penalty of PPO, p is the policy and q the frozen reference; for the size of an update,
p is the policy that sampled and q the policy after the step.

Which is right depends on where it stands. In the reward it is a constant that weights grad log p(x); in the loss it
is differentiated itself, at samples from p:

    estimator            value          in the reward             differentiated in the loss
    k1 = r               unbiased       right: grad KL(p || q)    wrong: expectation 0, pure noise
    k2 = r^2 / 2         biased, low    wrong                     right: grad KL(p || q)
    k3 = e^-r - 1 + r    unbiased       wrong: adds               wrong: grad KL(q || p),
                                        -grad KL(q || p)          the other direction
    exact                exact          a constant, no gradient   right, no sampling noise

with r = log_ratio. Every entry is proved by enumeration in tests/losses/test_divergence.py. k3 is never negative and
has a low variance, so it is the one to log. That is the table of one token. Of an answer x_1 ... x_T, whose tokens
also decide where the later ones stand, KL(p || q) = E sum_t KL_t has two parts:

    grad KL  =  E sum_t grad KL_t  +  E sum_t grad log p(x_t) sum_{s > t} KL_s
                within a token        through what the token leads to

    in the reward, as rewards to go:   k1 both parts;   exact the second only
    in the loss, token by token:       k2 and exact the first only;   k3 sum_t grad KL(q || p)_t;   k1 nothing

so that k1 in the reward is complete, and exact in the reward *and* in the loss is complete with less noise; what
stands in the loss alone does not see that a token leads to where policies differ. Proved on all answers of a small
world in tests/rlhf/test_divergence.py. All of it holds where the policy is the one that sampled (ratio 1).
Legend: V vocabulary; the other axes are free.
"""

import torch
from torch import Tensor


def k1(log_ratio: Tensor) -> Tensor:
    """r: unbiased, of either sign; the one inside the reward (InstructGPT, equation 2). [...] -> [...]"""
    return log_ratio


def k2(log_ratio: Tensor) -> Tensor:
    """r^2 / 2: biased, small when p is near q; its gradient at samples from p is that of KL(p || q). [...] -> [...]"""
    return 0.5 * log_ratio.square()


def k3(log_ratio: Tensor) -> Tensor:
    """e^-r - 1 + r: unbiased and never negative, for logs. [...] -> [...]"""
    # expm1 keeps the small values: e^-r - 1 in float32 is exact only to 6e-8, more than k3 itself near r = 0.
    return torch.expm1(-log_ratio) + log_ratio


def full_kl(logits_p: Tensor, logits_q: Tensor) -> Tensor:
    """KL(p || q) = sum_v p(v) (log p(v) - log q(v)) in nats, exact over the vocabulary, at every position.

    Tokens that p forbids (a logit of -inf) add nothing; a token that q forbids and p allows makes it infinite.
    Half-precision logits are widened to float32.

    Args:
        logits_p, logits_q: [..., V], divided by the temperature that the answers were sampled with.

    Returns:
        [...], float32 or wider.
    """
    widest = torch.promote_types(torch.float32, torch.promote_types(logits_p.dtype, logits_q.dtype))
    log_p, log_q = logits_p.to(widest).log_softmax(-1), logits_q.to(widest).log_softmax(-1)
    log_ratio = (log_p - log_q).masked_fill(log_p == -torch.inf, 0.0)  # -inf - -inf is not a number
    return (log_p.exp() * log_ratio).sum(-1)


def adapted_coefficient(coefficient: float, divergence: float, episodes: int, target: float, horizon: int) -> float:
    """beta (1 + e n / horizon), e = clip(KL / target - 1, -0.2, 0.2): towards a divergence that is wanted.

    Ziegler et al. 2019 (arXiv 1909.08593), section 2.2; there target 6 nats an answer and horizon 10 000 episodes.

    Args:
        coefficient: beta, in score for a nat.
        divergence: KL from the reference of the episodes just sampled, nats an answer.
        episodes: n, how many they were.
        target: the divergence that is wanted, nats an answer, above 0.
        horizon: episodes in which the coefficient can change by a fifth.
    """
    error = min(max(divergence / target - 1, -0.2), 0.2)
    return coefficient * (1 + error * episodes / horizon)
