"""Claims 4, 9 and 10: a policy is pushed against a learned reward in a world whose true reward is a formula.

An answer is a point of 16 dimensions. People's gold reward is w . x less a growing price for points that are longer
than answers usually are: nobody writes like that, so rankings of ordinary answers say little about it. The policy is
a normal distribution of deviation 1 about a mean that starts at 0 and moves, so that its divergence from where it
began is |mean|^2 / 2 exactly. A reward model, a network with one hidden layer, learns from noisy rankings of four.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from ledger.claim import Finding, over_seeds

FEATURES, K, RANKINGS, PENALTY, STEPS = 16, 4, 300, 0.1, 300
WORLD = ("Simulated: answers of 16 features, 300 noisy rankings of 4, a reward model of 64 hidden units, a policy "
         "pushed for 300 steps of 128 answers.")


class World:
    """A seed's gold reward, and what people rank by it."""

    def __init__(self, seed: int) -> None:
        self.seed, self.draw = seed, torch.Generator().manual_seed(seed)
        self.weights = torch.randn(FEATURES, generator=self.draw) / math.sqrt(FEATURES)

    def gold(self, answers: Tensor) -> Tensor:
        """(...) of answers (..., features)."""
        return answers @ self.weights - 0.5 * (answers.pow(2).mean(-1) - 1).clamp_min(0).pow(2)

    def ranked(self, mean: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Answers (count, K, features) of the policy with this mean, and what people feel of each (Gumbel noise)."""
        answers = mean + torch.randn(count, K, FEATURES, generator=self.draw)
        noise = -torch.log(-torch.log(torch.rand(count, K, generator=self.draw)))
        return answers, self.gold(answers) + 0.3 * noise

    def worth(self, mean: Tensor) -> float:
        """The gold reward of the policy with this mean, from 20,000 answers."""
        draw = torch.Generator().manual_seed(self.seed + 1000)
        return float(self.gold(mean + torch.randn(20_000, FEATURES, generator=draw)).mean())


def reward_model(answers: Tensor, felt: Tensor, seed: int, width: int = 64, epochs: int = 30) -> nn.Module:
    """A network fitted to the rankings by InstructGPT's loss, 32 rankings a batch."""
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Linear(FEATURES, width), nn.Tanh(), nn.Linear(width, 1))
    optimiser = torch.optim.Adam(network.parameters(), lr=3e-3, weight_decay=1e-3)
    for _ in range(epochs):
        for rows in torch.randperm(len(answers)).split(32):
            scores = network(answers[rows]).squeeze(-1)
            better = felt[rows][:, :, None] > felt[rows][:, None, :]
            loss = -nn.functional.logsigmoid((scores[:, :, None] - scores[:, None, :])[better]).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return network.requires_grad_(False)


def push(reward: nn.Module, penalty: float, start: Tensor, seed: int, steps: int = STEPS) -> Tensor:
    """The mean of the policy after these steps of Adam on E[reward] - penalty |mean|^2 / 2."""
    draw = torch.Generator().manual_seed(seed)
    mean = start.clone().requires_grad_()
    optimiser = torch.optim.Adam([mean], lr=0.03)
    for _ in range(steps):
        answers = mean + torch.randn(128, FEATURES, generator=draw)
        loss = penalty * mean.pow(2).sum() / 2 - reward(answers).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return mean.detach()


START = torch.zeros(FEATURES)


def penalty_holds(seeds: Sequence[int]) -> Finding:
    """Gold reward with the penalty less that without, after equal steps; and what the reward model says of both."""
    values, golds, proxies = [], [], []
    for seed in seeds:
        world = World(seed)
        reward = reward_model(*world.ranked(START, RANKINGS), seed)
        held, free = (push(reward, penalty, START, seed) for penalty in (PENALTY, 0.0))
        golds.append((world.worth(held), world.worth(free)))
        proxies.append(tuple(float(reward(mean + torch.randn(5000, FEATURES, generator=world.draw)).mean())
                             for mean in (held, free)))
        values.append(golds[-1][0] - golds[-1][1])
    (held, free), (said_held, said_free) = np.mean(golds, 0), np.mean(proxies, 0)
    return over_seeds(values, f"{WORLD} Penalty {PENALTY}. With it gold is {held:.2f} and the reward model says "
                      f"{said_held:.2f}; without it {free:.2f} and {said_free:.2f}. It began at gold 0.")


def able_reward_models(seeds: Sequence[int]) -> Finding:
    """Gold reward of policies pushed against a reward model of 64 hidden units, less that against one of 1 unit."""
    golds = []
    for seed in seeds:
        world = World(seed)
        rankings = world.ranked(START, RANKINGS)
        golds.append([world.worth(push(reward_model(*rankings, seed, width), PENALTY, START, seed))
                      for width in (64, 1)])
    wide, narrow = np.mean(golds, 0)
    return over_seeds([a - b for a, b in golds], f"{WORLD} Penalty {PENALTY}. The policy has 16 weights, the reward "
                      f"models 1 153 and 19: gold {wide:.2f} and {narrow:.2f}.")


def iterated_collection(seeds: Sequence[int], rounds: int = 4) -> Finding:
    """Gold reward where 75 rankings are collected in each of four rounds, of the policy as it then is, less that where
    all 300 are of the first policy. No penalty holds the policy, so that it moves."""
    golds = []
    for seed in seeds:
        world = World(seed)
        once = world.worth(push(reward_model(*world.ranked(START, RANKINGS), seed), 0.0, START, seed))
        mean, seen = START, []
        for _ in range(rounds):
            seen.append(world.ranked(mean, RANKINGS // rounds))
            reward = reward_model(*map(torch.cat, zip(*seen, strict=True)), seed)
            mean = push(reward, 0.0, mean, seed, STEPS // rounds)
        golds.append((world.worth(mean), once))
    often, once = np.mean(golds, 0)
    return over_seeds([a - b for a, b in golds], f"{WORLD} No penalty, four rounds. Gold {often:.2f} in rounds and "
                      f"{once:.2f} at once.")


def logistic(x: np.ndarray, won: np.ndarray) -> np.ndarray:
    """Weights (features) of a logistic model of x (rows, features) with prior N(0, 1), by Newton's method."""
    w = np.zeros(x.shape[1])
    for _ in range(15):
        p = 1 / (1 + np.exp(-np.clip(x @ w, -30, 30)))
        w += np.linalg.solve((x * (p * (1 - p))[:, None]).T @ x + np.eye(len(w)), x.T @ (won - p) - w)
    return w
