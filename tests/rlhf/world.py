"""A world whose answers can all be written out, and what is true of it, computed without the code under test.

Three tokens, of which 0 ends an answer; answers of at most three tokens, cut or not: fifteen of them. Every state is a
prefix of an answer; a policy is, for each of seven states, the logarithm of three probabilities.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from preceptor.rlhf.experience import Episodes, Experience
from preceptor.rlhf.networks import Networks
from preceptor.rlhf.options import OnlineOptions
from preceptor.rlhf.reading import answer_log_probs, answer_values, read_policy
from tests.rlhf.tiny import algorithm_of, estimate, tiny_policy, tiny_value

LONGEST = 3
PROMPT = [1, 2]
STATES = [(), *product((1, 2)), *product((1, 2), repeat=2)]
ANSWERS = [[0], *([a, 0] for a in (1, 2)), *([a, b, c] for a, b in product((1, 2), repeat=2) for c in (0, 1, 2))]
SCORES = torch.tensor([0.3, -1.0, 2.0, 0.5, 1.0, -0.7, 0.1, 1.3, -0.2, 0.9, -1.6, 0.4, 0.0, 2.2, -0.5])

Policy = dict[tuple[int, ...], Tensor]


def networks(**parts: Any) -> Networks:
    """Three different networks of this world."""
    return Networks(**{"policy": tiny_policy(0, vocab_size=3), "reference": tiny_policy(1, vocab_size=3),
                       "value": tiny_value(2, vocab_size=3), **parts})


def policy_of(model: nn.Module, temperature: float = 1.0, allowed: Policy | None = None) -> Policy:
    """log p(next token | state), one plain forward pass a state; `allowed` masks tokens out of each."""
    found = {}
    for state in STATES:
        logits = model(torch.tensor([PROMPT + list(state)])).logits[0, -1] / temperature
        if allowed is not None:
            logits = logits.masked_fill(~allowed[state], -torch.inf)
        found[state] = logits.log_softmax(-1)
    return found


def probability(policy: Policy) -> Tensor:
    """[15]: of every answer."""
    return torch.stack([sum(policy[tuple(answer[:t])][token] for t, token in enumerate(answer))
                        for answer in ANSWERS]).exp()


def visits(policy: Policy) -> dict[tuple[int, ...], Tensor]:
    """How likely each state is to be visited."""
    return {state: sum((policy[state[:t]][token] for t, token in enumerate(state)), torch.zeros(())).exp()
            for state in STATES}


def one_step(p: Policy, q: Policy) -> dict[tuple[int, ...], Tensor]:
    """KL(p || q) of the next token, by state."""
    return {state: (p[state].exp() * (p[state] - q[state]).masked_fill(p[state] == -torch.inf, 0.0)).sum()
            for state in STATES}


def divergence(p: Policy, q: Policy) -> Tensor:
    """KL(p || q) of whole answers."""
    steps, seen = one_step(p, q), visits(p)
    return sum(seen[state] * steps[state] for state in STATES)


def objective(policy: Policy, reference: Policy, beta: float) -> Tensor:
    """E[score] - beta KL(policy || reference)."""
    return (probability(policy) * SCORES).sum() - beta * divergence(policy, reference)


def fixed(policy: Policy) -> Policy:
    return {state: log_probs.detach() for state, log_probs in policy.items()}


def gradient(model: nn.Module, value: Tensor) -> Tensor:
    """Of a scalar with respect to the weights of the model, in one vector."""
    found = torch.autograd.grad(value, list(model.parameters()), allow_unused=True, retain_graph=True)
    return torch.cat([(torch.zeros_like(p) if g is None else g).flatten() for g, p in zip(found, model.parameters())])


def experience(nets: Networks, options: OnlineOptions, answers: list[int] | None = None,
               scores: Tensor = SCORES, **measured: Any) -> Experience:
    """All answers once (or those of these numbers), as the rollouts would measure them."""
    def read(function: Callable[..., Tensor]) -> Tensor:
        return every.measure(function, 1)[chosen]

    chosen = list(range(len(ANSWERS))) if answers is None else answers
    every = Episodes([str(n) for n in range(len(ANSWERS))], [PROMPT] * len(ANSWERS), ANSWERS, pad=2)
    episodes = Episodes([str(n) for n in chosen], [PROMPT] * len(chosen), [ANSWERS[n] for n in chosen], pad=2)
    found = {
        "scores": scores[chosen],
        "log_probs": read(lambda batch: read_policy(nets, batch, options.temperature).log_probs),
        "reference_log_probs": read(lambda batch: answer_log_probs(nets.reference, batch, options.temperature)),
        "exact": read(lambda batch: read_policy(nets, batch, options.temperature, against_reference=True).divergence)}
    if hasattr(options, "discount"):
        # A baseline that depends on what stands before a token, as any value network does, changes no expectation.
        found["values"] = read(lambda batch: answer_values(nets.value, batch))
    return estimate(episodes, options, **{**found, **measured})


def expected_gradient(nets: Networks, found: Experience, options: OnlineOptions, chances: Tensor,
                      each: Callable[[Tensor, int], Tensor] = lambda loss, count: loss) -> Tensor:
    """sum_y chance(y) grad loss(y) with respect to the policy: one minibatch for each of the fifteen answers."""
    total = torch.zeros(())
    for number in range(len(ANSWERS)):
        loss, count, _ = algorithm_of(options).loss(nets, found.minibatch([number], options), options)
        total = total + chances[number] * each(loss, count)
    return gradient(nets.policy, total)


def pairs() -> Iterator[tuple[int, int]]:
    return product(range(len(ANSWERS)), repeat=2)


def expected_advantages(nets: Networks, options: OnlineOptions, chances: Tensor) -> Experience:
    """Experience whose advantage of answer y is sum over all groups of two of P(group) A(y in the group).

    At ratio 1 the loss is linear in the advantages, so that its gradient on these is that of all groups together.
    """
    groups = [number for pair in pairs() for number in pair]
    found = experience(nets, options, groups)
    chance = torch.tensor([float(chances[a] * chances[b]) for a, b in pairs() for _ in range(2)])
    whole = torch.zeros(len(ANSWERS)).index_add(0, torch.tensor(groups), chance * found.advantages[:, 0])
    once = experience(nets, replace(options, answers_per_prompt=3))
    return replace(once, advantages=whole[:, None] * once.episodes.mask)
