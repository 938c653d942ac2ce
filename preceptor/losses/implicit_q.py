"""Implicit language Q-learning: the value of tokens from answers that others wrote, with no answer sampled.

Snell et al. 2022 (arXiv 2206.11871), after implicit Q-learning (Kostrikov et al. 2021, arXiv 2110.06169). A state is
the prompt with the answer so far, an action the next token, an answer the whole episode.

Legend: N tokens of whole answers, each answer's tokens side by side and in order; H heads (two, against optimism);
V vocabulary. Losses are sums over the N tokens; divide by the count of the whole optimiser step.
"""

import torch
from torch import Tensor

from preceptor.losses.likelihood import token_log_probs


def expectile(error: Tensor, tau: float) -> Tensor:
    """|tau - [u < 0]| u^2 of u = target - estimate: half the square at tau 1/2, drawn to the greatest target near 1.

    Kostrikov et al., equation 4. The estimate that minimises the mean is the targets' tau-expectile. [...] -> [...]
    """
    return torch.where(error < 0, 1 - tau, tau) * error.square()


def value_loss(values: Tensor, target_q: Tensor, tau: float) -> Tensor:
    """sum_t expectile(min_h Q'_h(s_t, a_t) - V(s_t))  (Snell et al., the first term of L_{Q,V}).

    At tau above 1/2, V is the value of the better actions that the data show in a state, never of one that they do
    not show: that is how it improves on the data without asking after actions that nobody took.

    Args:
        values: [N], V(s_t) of the state before token t.
        target_q: [H, N], Q'(s_t, a_t) of the slowly moving copies of the heads; constants.
        tau: from 1/2 (the value of the data's own policy) towards 1 (that of the best one in the data).

    Returns:
        A scalar, the sum.
    """
    return expectile(target_q.detach().amin(0) - values, tau).sum()


def q_loss(q: Tensor, values: Tensor, rewards: Tensor, last: Tensor, discount: float = 1.0) -> Tensor:
    """sum_t sum_h (r_t + discount V(s_{t+1}) - Q_h(s_t, a_t))^2, V = 0 behind the last token.

    Args:
        q: [H, N], Q_h(s_t, a_t).
        values: [N], V(s_t); constants here.
        rewards: [N], of each token; the answer's score at its last token, and nothing before, as a rule.
        last: [N] booleans, true at the last token of an answer.
        discount: of a token step.

    Returns:
        A scalar, the sum over tokens and heads.
    """
    following = torch.where(last, 0.0, values.detach().roll(-1))
    return (rewards + discount * following - q).square().sum()


def conservative_loss(q_HNV: Tensor, actions: Tensor) -> Tensor:
    """sum_t sum_h log sum_a exp Q_h(s_t, a) - Q_h(s_t, a_t): tokens that the data never show are not thought well of.

    The CQL regulariser (Kumar et al. 2020, arXiv 2006.04779) as ILQL takes it: the cross-entropy of the softmax of Q.

    Args:
        q_HNV: [H, N, V].
        actions: [N], the tokens of the answers.

    Returns:
        A scalar, the sum over tokens and heads.
    """
    return -token_log_probs(q_HNV, actions.expand(q_HNV.shape[:2])).sum()


def implicit_policy(logits: Tensor, q: Tensor, beta: float) -> Tensor:
    """Logits of pi(a|s) ~ pi_data(a|s) exp(beta (Q(s, a) - V(s))): log pi_data + beta Q.

    V(s) is the same for every token and leaves the softmax as it is. Where the network's logits and Q are linear in
    one hidden state, so is the sum: an unembedding W + beta W_Q makes an ordinary language model of it.

    Args:
        logits, q: [..., V], of the model of the data's answers, and of Q.
        beta: how far to trust Q; 0 is the data's own policy.
    """
    return logits + beta * q


@torch.no_grad()
def follow(target: Tensor, source: Tensor, rate: float) -> None:
    """target <- (1 - rate) target + rate source: the slowly moving copies whose Q' the values learn from."""
    target.lerp_(source, rate)
