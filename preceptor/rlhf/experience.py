"""What one iteration of PPO learns from: episodes as ragged tokens, and the numbers that belong to each token.

Legend: B episodes, T tokens of the longest answer, N tokens of all answers together.

An episode is a prompt and its answer. Its document leaves out the answer's last token, because nothing is predicted
from there, and every token of the answer, the end of text included, is an action at the position that predicts it:

    position   0    1    2    3    4
    token      p0   p1   a0   a1   a2
    target     -    a0   a1   a2   end        action a1: old log-probability, value, advantage, return at position 2
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

import torch
from torch import Tensor, nn

from preceptor.data.batches import IGNORE, Batch, Example, collate
from preceptor.data.packing import pack
from preceptor.losses.advantages import kl_penalised_rewards
from preceptor.losses.divergence import k1, k3
from preceptor.rlhf.options import PpoOptions


class Algorithm(Protocol):
    """What a module of `preceptor.rlhf.algorithms` defines to learn from experience."""

    def advantages(self, rewards: Tensor, values: Tensor, mask: Tensor, options: PpoOptions) -> tuple[Tensor, Tensor]:
        """How much better each token was than expected, and what the value network should have said; all [B, T]."""
        ...

    def loss(self, model: nn.Module, batch: Batch, options: PpoOptions) -> tuple[Tensor, int, dict[str, Tensor]]:
        """The loss of one minibatch, as `learn.fit` takes it."""
        ...


@dataclass(frozen=True, slots=True)
class Episodes:
    """The tokens of B prompts and answers, laid out in packed rows on request."""

    ids: list[str]
    prompts: list[list[int]]
    answers: list[list[int]]
    pad: int

    @property
    def mask(self) -> Tensor:
        """[B, T]: true at the tokens of the answers."""
        lengths = torch.tensor([len(answer) for answer in self.answers])
        return torch.arange(int(lengths.max())) < lengths[:, None]

    def padded(self, values: Sequence[Sequence[float]]) -> Tensor:
        """Numbers by episode and token as [B, T], 0 behind the end of an answer."""
        table = torch.zeros(self.mask.shape)
        table[self.mask] = torch.tensor([value for episode in values for value in episode])
        return table

    def packed(self, chosen: Sequence[int]) -> tuple[Batch, list[int]]:
        """The chosen episodes in packed rows as wide as the longest of them, and the order in which they stand there.

        Wider rows are filled no better, and attention is paid on the square of a row.
        """
        documents = [self._document(episode) for episode in chosen]
        lengths = [len(document.tokens) for document in documents]
        rows = pack(lengths, max(lengths))
        batch = collate([[documents[item] for item in row] for row in rows], self.pad)
        return batch, [chosen[item] for row in rows for item in row]

    def _document(self, episode: int) -> Example:
        prompt, answer = self.prompts[episode], self.answers[episode]
        targets = [IGNORE] * (len(prompt) - 1) + answer
        return Example(self.ids[episode], prompt + answer[:-1], targets)

    @torch.no_grad()
    def measure(self, function: Callable[[Batch], Tensor], parts: int) -> Tensor:
        """[B, T]: what `function` reads off packed rows ([N] for its part of them), in `parts` forward passes."""
        batch, order = self.packed(range(len(self.ids)))
        flat = torch.cat([function(part).float().cpu() for part in batch.split(parts)])
        table, mask = torch.zeros(self.mask.shape), self.mask
        in_order = torch.zeros(mask.shape)
        in_order[mask[order]] = flat
        table[order] = in_order
        return table


@dataclass(frozen=True, slots=True)
class Experience:
    """Episodes with what PPO needs of each. Tables are [B, T], 0 behind the end of an answer; all on the CPU."""

    episodes: Episodes
    scores: Tensor
    """[B]: what the reward said."""
    ended: Tensor
    """[B] booleans: whether the answer ended by itself."""
    log_probs: Tensor
    """[B, T]: of the sampled tokens, kept from sampling: PPO's old log-probabilities."""
    reference_log_probs: Tensor
    """[B, T]: of the same tokens under the frozen reference."""
    values: Tensor
    """[B, T]: of the value network before the update: PPO's old values."""
    rewards: Tensor
    """[B, T]: the penalty for divergence at every token, plus the score at the last."""
    advantages: Tensor
    """[B, T]: whitened over all tokens of the iteration, not of a minibatch."""
    returns: Tensor
    """[B, T]: advantages before whitening plus values."""

    @classmethod
    def estimate(cls, episodes: Episodes, *, scores: Tensor, ended: Tensor, log_probs: Tensor,
                 reference_log_probs: Tensor, values: Tensor, algorithm: Algorithm,
                 options: PpoOptions) -> Self:
        """From scores to advantages: InstructGPT's equation 2 by token, then what the algorithm makes of it."""
        mask = episodes.mask
        paid = scores - options.missing_end_penalty * (~ended)
        rewards = kl_penalised_rewards(paid, log_probs - reference_log_probs, mask, options.kl_coefficient)
        advantages, returns = algorithm.advantages(rewards, values, mask, options)
        return cls(episodes, scores, ended, log_probs, reference_log_probs, values, rewards, advantages, returns)

    def minibatch(self, chosen: Sequence[int]) -> Batch:
        """The chosen episodes as a packed batch, each number at the position that predicts its token."""
        batch, order = self.episodes.packed(chosen)
        actions, mask = batch["targets"] != IGNORE, self.episodes.mask[order]
        for name in ("log_probs", "values", "advantages", "returns"):
            table = torch.zeros(actions.shape)
            table[actions] = getattr(self, name)[order][mask]
            batch.tensors[name] = table
        return batch

    def metrics(self) -> dict[str, float]:
        """What the iteration's answers were worth; see docs/rlhf.md for each."""
        mask = self.episodes.mask
        log_ratio = (self.log_probs - self.reference_log_probs)
        errors, returns = (self.returns - self.values)[mask], self.returns[mask]
        found = {
            "score": self.scores.mean(),
            "reward": self.rewards.sum(1).mean(),
            "kl_k1": k1(log_ratio).sum(1).mean(),
            "kl_k3": k3(log_ratio).sum(1).mean(),
            "entropy": -self.log_probs[mask].mean(),
            "answer_length": mask.sum(1).float().mean(),
            "ended": self.ended.float().mean(),
        }
        if returns.var(unbiased=False) > 0:
            found["explained_variance"] = 1 - errors.var(unbiased=False) / returns.var(unbiased=False)
        return {name: float(value) for name, value in found.items()}

    def state(self) -> dict[str, Any]:
        """Tensors and plain values from which `restore` makes the same experience."""
        return {"episodes": dict(_fields(self.episodes)),
                **{name: value for name, value in _fields(self) if name != "episodes"}}

    @classmethod
    def restore(cls, state: dict[str, Any]) -> Self:
        """The experience whose `state()` this is."""
        return cls(**{**state, "episodes": Episodes(**state["episodes"])})


def _fields(record: Episodes | Experience) -> Iterator[tuple[str, Any]]:
    return ((name, getattr(record, name)) for name in record.__slots__)
