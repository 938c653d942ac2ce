"""A world that can be written out: V tokens, answers of T tokens, all V^T of them, and a policy that is a table."""

from itertools import product

import torch
from torch import Tensor

V, T = 3, 2
ANSWERS = list(product(range(V), repeat=T))


class TablePolicy:
    """Logits of the first token [V] and of the second after each first [V, V]; float64."""

    def __init__(self, seed: int) -> None:
        draw = torch.Generator().manual_seed(seed)
        self.first = torch.randn(V, generator=draw, dtype=torch.float64).requires_grad_()
        self.second = torch.randn(V, V, generator=draw, dtype=torch.float64).requires_grad_()
        self.parameters = [self.first, self.second]

    def log_probs(self) -> Tensor:
        """log pi(y) of every answer, [V^T]."""
        first, second = self.first.log_softmax(-1), self.second.log_softmax(-1)
        return torch.stack([first[a] + second[a, b] for a, b in ANSWERS])

    def minimise(self, objective) -> None:
        """Move the table to where `objective(log_probs)` is least."""
        optimiser = torch.optim.LBFGS(self.parameters, max_iter=500, tolerance_grad=1e-12, tolerance_change=1e-16,
                                      line_search_fn="strong_wolfe")

        def closure():
            optimiser.zero_grad()
            loss = objective(self.log_probs())
            loss.backward()
            return loss

        optimiser.step(closure)


def rewards(seed: int = 7) -> Tensor:
    """A reward of every answer, [V^T]."""
    return torch.randn(len(ANSWERS), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def preferences(r: Tensor) -> Tensor:
    """[V^T, V^T]: how often labelers of Bradley and Terry put i before j, sigmoid(r_i - r_j)."""
    return torch.sigmoid(r[:, None] - r[None, :])


def tilted(log_p: Tensor, r: Tensor) -> Tensor:
    """log of the distribution ~ exp(log_p + r): the optimum of E[r] - KL(pi || p)."""
    return (log_p + r).log_softmax(0)
