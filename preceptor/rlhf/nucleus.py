"""NLPO's mask: the policy may only say what an older copy of itself finds likely (Ramamurthy et al. 2023).

arXiv 2210.01241, section 4: the action space of a language model is its vocabulary, and most of it is never right. The
mask policy is a copy of the policy, renewed now and then; at every position the tokens of its nucleus of mass p can be
drawn, the others have probability 0, when an answer is sampled and when it is learned from alike.
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from preceptor.data.batches import Batch
from preceptor.generate.sampling import log_probabilities, truncated, weights
from preceptor.models.causal import hidden_states


class NucleusMask(nn.Module):
    """The mask policy. Its weights are part of a checkpoint: they are of an iteration that has gone by."""

    def __init__(self, policy: nn.Module, top_p: float, temperature: float) -> None:
        super().__init__()
        self.policy = copy.deepcopy(policy).requires_grad_(False)
        self.top_p, self.temperature = top_p, temperature
        layers = policy.config.num_hidden_layers
        for module in self.policy.modules():
            if getattr(module, "layer_idx", None) is not None:
                module.layer_idx += layers  # its keys and values stand behind the policy's in one cache

    @torch.no_grad()
    def renew(self, policy: nn.Module) -> None:
        """Take the weights that the policy has now."""
        self.policy.load_state_dict(policy.state_dict())

    @torch.no_grad()
    def hidden(self, batch: Batch) -> Tensor:
        """The mask policy's hidden states, (rows, time, width)."""
        return hidden_states(self.policy, batch)

    @torch.no_grad()
    def allowed(self, logits_NV: Tensor) -> Tensor:
        """[N, V]: true at the tokens that may be said, from the mask policy's logits."""
        rows = len(logits_NV)
        likely_NV = weights(log_probabilities(logits_NV, torch.full((rows,), self.temperature,
                                                                    device=logits_NV.device)))
        none_N = torch.zeros(rows, dtype=torch.long, device=logits_NV.device)
        top_p_N = torch.full((rows,), self.top_p, dtype=torch.double, device=logits_NV.device)
        return truncated(likely_NV, none_N, top_p_N) > 0


class MaskedPolicy(nn.Module):
    """Policy and mask as the one model that a decoder writes with: its logits are -inf at what may not be said."""

    def __init__(self, policy: nn.Module, mask: NucleusMask) -> None:
        super().__init__()
        self.policy, self.mask = policy, mask
        self.eval()  # a decoder gives a model its mode back, and new modules are in training mode: with dropout

    @property
    def config(self) -> Any:
        return self.policy.config

    @property
    def device(self) -> torch.device:
        return self.policy.device

    def forward(self, **inputs: Any) -> Any:
        # The mask policy goes first: the length of the cache is that of the policy's layers, which it leaves alone.
        likely_N1V = self.mask.policy(**inputs).logits
        found = self.policy(**inputs)
        allowed_NV = self.mask.allowed(likely_N1V[:, -1])
        found.logits = found.logits[:, -1:].masked_fill(~allowed_NV[:, None], -torch.inf)
        return found
