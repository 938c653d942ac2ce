"""The two networks that learn, what is read off them, and their losses as the training loop takes them.

Everything is read at the positions that choose a token of an answer, and only there.
Legend: N tokens of answers in a packed batch, in the order of `batch["targets"] != IGNORE`.
"""

from typing import Self

import torch
from torch import Tensor, nn

from preceptor.data.batches import IGNORE, Batch
from preceptor.learn.language import language_loss
from preceptor.losses.likelihood import selected_log_probs
from preceptor.models.causal import hidden_states
from preceptor.models.scalar import offset, token_values


class ActorCritic(nn.ModuleDict):
    """`policy` (a causal model) and `value` (a scalar model), with no weight in common.

    Never in training mode: dropout in the rollout or in the update would make the ratio of new to old probability
    measure the dropout, in whichever way the family of the model implements it.
    """

    def __init__(self, policy: nn.Module, value: nn.Module) -> None:
        super().__init__({"policy": policy, "value": value})
        self.eval()

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode, whatever `mode` says."""
        return super().train(False)


def answer_log_probs(policy: nn.Module, batch: Batch, temperature: float) -> Tensor:
    """log p(token | what stands before it) of every token of an answer, its end included. Returns [N]."""
    targets = batch["targets"]
    chosen = targets != IGNORE
    head = policy.get_output_embeddings()
    return selected_log_probs(hidden_states(policy, batch)[chosen], head.weight, targets[chosen], temperature,
                              bias=head.bias)


def answer_values(value: nn.Module, batch: Batch) -> Tensor:
    """The expected return before each token of an answer is chosen, on the scale of the reward model. Returns [N]."""
    return token_values(value, batch)[batch["targets"] != IGNORE] + offset(value)


def ptx_loss(model: ActorCritic, batch: Batch) -> tuple[Tensor, int, dict[str, Tensor]]:
    """Cross-entropy of the policy on pretraining text (PPO-ptx, InstructGPT's equation 2, last term)."""
    return language_loss(model["policy"], batch)


@torch.no_grad()
def load_average(model: ActorCritic, average: dict[str, Tensor]) -> None:
    """Put the moving average of the weights in the place of the weights."""
    for name, parameter in model.named_parameters():
        parameter.copy_(average[name])
