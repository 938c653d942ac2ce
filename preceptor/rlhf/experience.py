"""What one iteration learns from: episodes as ragged tokens, and the numbers that belong to each token.

Legend: B episodes, T tokens of the longest answer, N tokens of all answers together.

An episode is a prompt and its answer. Its document leaves out the answer's last token, because nothing is predicted
from there, and every token of the answer, the end of text included, is an action at the position that predicts it:

    position   0    1    2    3    4
    token      p0   p1   a0   a1   a2
    target     -    a0   a1   a2   end        action a1: old log-probability, value, advantage, return at position 2
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

import torch
from torch import Tensor, nn

from preceptor.data.batches import IGNORE, Batch, Example, collate
from preceptor.data.packing import pack
from preceptor.learn.parallel import dealt
from preceptor.losses.advantages import kl_penalised_rewards
from preceptor.losses.divergence import k1, k2, k3
from preceptor.losses.policy import token_weights
from preceptor.rlhf.options import OnlineOptions

PASS = 2048
"""Positions that go through a network at once: more of them are no faster, but the backward pass holds them all; with a
third of them a step took a sixth longer (docs/performance.md)."""


class Algorithm(Protocol):
    """What a module of `preceptor.rlhf.algorithms` defines to learn from answers as they come."""

    def advantages(self, rewards: Tensor, values: Tensor | None, mask: Tensor,
                   options: OnlineOptions) -> tuple[Tensor, Tensor | None]:
        """How much better each token was than expected, and what a value network should have said; all [B, T]."""
        ...

    def loss(self, networks: nn.Module, batch: Batch, options: OnlineOptions) -> tuple[Tensor, int, dict[str, Tensor]]:
        """The loss of one minibatch, as `learn.fit` takes it."""
        ...


@dataclass(frozen=True, slots=True)
class Episodes:
    """The tokens of B prompts and answers, laid out in packed rows on request."""

    ids: list[str]
    prompts: list[list[int]]
    answers: list[list[int]]
    pad: int
    lower_states: list[Tensor] | None = None
    """Of each document, (tokens, width): what the blocks that no network learns make of it. See `with_states`."""

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

        Wider rows are filled no better, and attention is paid on the square of a row. The longest come first, so that
        the short ones fill what they leave.
        """
        chosen = sorted(chosen, key=lambda episode: len(self.prompts[episode]) + len(self.answers[episode]),
                        reverse=True)
        documents = [self._document(episode) for episode in chosen]
        lengths = [len(document.tokens) for document in documents]
        rows = pack(lengths, max(lengths))
        batch = collate([[documents[item] for item in row] for row in rows], self.pad)
        batch = replace(batch, passes=math.ceil(batch["tokens"].numel() / PASS))
        order = [chosen[item] for row in rows for item in row]
        if self.lower_states is not None:
            batch.tensors["lower_states"] = _scattered(
                batch["segments"] > 0, torch.cat([self.lower_states[episode] for episode in order]))
        return batch, order

    def _document(self, episode: int) -> Example:
        prompt, answer = self.prompts[episode], self.answers[episode]
        targets = [IGNORE] * (len(prompt) - 1) + answer
        return Example(self.ids[episode], prompt + answer[:-1], targets)

    @torch.no_grad()
    def with_states(self, function: Callable[[Batch], Tensor], parts: int) -> Self:
        """The same with the lower states that `function` gives of packed rows (rows, time, width).

        They are a function of the tokens and of weights that never change, so a checkpoint need not hold them.
        """
        batch, order = self.packed(range(len(self.ids)))
        states = dealt(list(batch.split(max(parts, batch.passes))),
                       lambda some: [function(part).float().cpu()[part["segments"] > 0] for part in some])
        flat = torch.cat(states)
        lengths = [len(self.prompts[episode]) + len(self.answers[episode]) - 1 for episode in order]
        by_episode = dict(zip(order, flat.split(lengths), strict=True))
        return replace(self, lower_states=[by_episode[episode] for episode in range(len(order))])

    @torch.no_grad()
    def measure(self, function: Callable[[Batch], Tensor], parts: int) -> Tensor:
        """[B, T]: what `function` reads off packed rows ([N] for its part of them), in `parts` passes or more."""
        batch, order = self.packed(range(len(self.ids)))
        flat = torch.cat(dealt(list(batch.split(max(parts, batch.passes))),
                               lambda some: [function(part).float().cpu() for part in some]))
        table, mask = torch.zeros(self.mask.shape), self.mask
        in_order = torch.zeros(mask.shape)
        in_order[mask[order]] = flat
        table[order] = in_order
        return table


@dataclass(frozen=True, slots=True)
class Experience:
    """Episodes with what the algorithm needs of each. Tables are [B, T], 0 behind the end of an answer; on the CPU."""

    episodes: Episodes
    scores: Tensor
    """[B]: what the reward said."""
    paid: Tensor
    """[B]: the same after `shaping`."""
    ended: Tensor
    """[B] booleans: whether the answer ended by itself."""
    log_probs: Tensor
    """[B, T]: of the sampled tokens, kept from sampling: the old log-probabilities."""
    reference_log_probs: Tensor
    """[B, T]: of the same tokens under the frozen reference."""
    rewards: Tensor
    """[B, T]: the penalty for divergence at every token, plus what is paid at the last."""
    advantages: Tensor
    """[B, T]: with their baseline and scale taken over the iteration, not over a minibatch."""
    kl_coefficient: float
    """Score for a nat of divergence in this iteration."""
    values: Tensor | None = None
    """[B, T]: of the value network before the update: the old values. None without a critic, as the returns."""
    returns: Tensor | None = None
    """[B, T]: advantages before whitening plus values."""

    @classmethod
    def estimate(cls, episodes: Episodes, *, scores: Tensor, paid: Tensor, ended: Tensor, log_probs: Tensor,
                 reference_log_probs: Tensor, values: Tensor | None, algorithm: Algorithm, options: OnlineOptions,
                 kl_coefficient: float, exact: Tensor | None = None) -> Self:
        """From scores to advantages: InstructGPT's equation 2 by token, then what the algorithm makes of it.

        `exact` [B, T] is the divergence over the whole vocabulary, wanted where `kl_reward` is exact.
        """
        mask, log_ratio = episodes.mask, log_probs - reference_log_probs
        divergence = {"none": torch.zeros_like, "k1": k1, "k2": k2, "k3": k3, "exact": lambda _: exact}
        rewards = kl_penalised_rewards(paid, divergence[options.kl_reward](log_ratio), mask, kl_coefficient)
        advantages, returns = algorithm.advantages(rewards, values, mask, options)
        return cls(episodes, scores, paid, ended, log_probs, reference_log_probs, rewards, advantages, kl_coefficient,
                   values, returns)

    def minibatch(self, chosen: Sequence[int], options: OnlineOptions) -> Batch:
        """The chosen episodes as a packed batch, each number at the position that predicts its token."""
        batch, order = self.episodes.packed(chosen)
        actions, mask = batch["targets"] != IGNORE, self.episodes.mask[order]
        weights = token_weights(mask.sum(1), options.averaging, options.max_tokens)
        for name, table in self._tables().items():
            batch.tensors[name] = _scattered(actions, table[order][mask])
        batch.tensors["weights"] = _scattered(actions, weights[:, None].expand(mask.shape)[mask])
        batch.tensors["kl_coefficients"] = actions * self.kl_coefficient
        return batch

    def _tables(self) -> dict[str, Tensor]:
        names = ("log_probs", "reference_log_probs", "advantages", "values", "returns")
        return {name: table for name in names if (table := getattr(self, name)) is not None}

    @property
    def divergence(self) -> float:
        """Estimate of the divergence from the reference, nats an answer."""
        return float(k1(self.log_probs - self.reference_log_probs).sum(1).mean())

    def metrics(self) -> dict[str, float]:
        """What the iteration's answers were worth; see docs/rlhf.md for each."""
        mask = self.episodes.mask
        found = {
            "score": self.scores.mean(),
            "shaped_score": self.paid.mean(),
            "reward": self.rewards.sum(1).mean(),
            "kl_k1": self.divergence,
            "kl_k3": k3(self.log_probs - self.reference_log_probs).sum(1).mean(),
            "kl_coefficient": self.kl_coefficient,
            "entropy": -self.log_probs[mask].mean(),
            "answer_length": mask.sum(1).float().mean(),
            "ended": self.ended.float().mean(),
        }
        if self.values is not None and (returns := self.returns[mask]).var(unbiased=False) > 0:
            errors = (self.returns - self.values)[mask]
            found["explained_variance"] = 1 - errors.var(unbiased=False) / returns.var(unbiased=False)
        return {name: float(value) for name, value in found.items()}

    def state(self) -> dict[str, Any]:
        """Tensors and plain values from which `restore` makes the same experience, but for its lower states."""
        return {"episodes": {**dict(_fields(self.episodes)), "lower_states": None},
                **{name: value for name, value in _fields(self) if name != "episodes"}}

    @classmethod
    def restore(cls, state: dict[str, Any]) -> Self:
        """The experience whose `state()` this is."""
        return cls(**{**state, "episodes": Episodes(**state["episodes"])})


def _scattered(places: Tensor, numbers: Tensor) -> Tensor:
    table = torch.zeros(*places.shape, *numbers.shape[1:])
    table[places] = numbers
    return table


def _fields(record: Episodes | Experience) -> Iterator[tuple[str, Any]]:
    return ((name, getattr(record, name)) for name in record.__slots__)
