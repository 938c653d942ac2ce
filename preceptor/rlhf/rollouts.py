"""Rollouts: the policy answers prompts, the reward scores the answers, and the frozen networks say what they think."""

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Self

import torch
from torch import Tensor

from preceptor.data.batches import Batch
from preceptor.data.records import Prompt
from preceptor.data.reward import Reward
from preceptor.generate.decoder import Answer, Decoder, Request, Sampling, in_order
from preceptor.learn.parallel import dealt, from_leader
from preceptor.learn.precision import autocast
from preceptor.models.trunk import lower_states
from preceptor.rlhf.experience import Algorithm, Episodes, Experience
from preceptor.rlhf.networks import Networks
from preceptor.rlhf.options import OnlineOptions
from preceptor.rlhf.reading import answer_log_probs, answer_values, read_policy
from preceptor.run.errors import UserError

# Nats between a token's log-probability in cached decoding, which is in fp32, and in the forward pass of the update.
TOLERANCE, ROUGH_TOLERANCE = 1e-4, 0.1


@dataclass(frozen=True, slots=True)
class Scored:
    """Prompts, an answer to each, and what the reward says of it. Several answers to one prompt stand together."""

    prompts: list[Prompt]
    answers: list[Answer]
    scores: list[float]

    def flat(self, group: int) -> list[int]:
        """The numbers of the groups of `group` answers whose scores are all equal."""
        return [number for number in range(len(self.scores) // group)
                if len(set(self.scores[number * group:(number + 1) * group])) == 1]

    def replaced(self, groups: Sequence[int], others: Self, group: int) -> "Scored":
        """The same with the answers of these groups exchanged for `others`, group by group."""
        new = Scored(list(self.prompts), list(self.answers), list(self.scores))
        for source, number in enumerate(groups):
            there, here = (slice(place * group, (place + 1) * group) for place in (number, source))
            new.prompts[there], new.answers[there] = others.prompts[here], others.answers[here]
            new.scores[there] = others.scores[here]
        return new

    @property
    def ended(self) -> Tensor:
        """[B] booleans: whether the answer ended by itself."""
        return torch.tensor([answer.response.finish == "eos" for answer in self.answers])


@dataclass(frozen=True, slots=True)
class Rollouts:
    """All that it takes to make experience. The decoder writes with the policy as it is at the time.

    Of several processes each writes its share of the answers and reads its share of them for the frozen networks. The
    reward is the leader's alone: it may be a person, or a server that counts calls.
    """

    networks: Networks
    decoder: Decoder
    reward: Reward
    algorithm: Algorithm
    options: OnlineOptions
    pad: int

    def answer(self, prompts: Sequence[Prompt], seeds: Sequence[int]) -> Scored:
        """One answer to each prompt, a function of the weights and the seeds.

        Raises:
            UserError: the reward gave a score that is not a finite number.
        """
        sampling = Sampling(temperature=self.options.temperature, max_tokens=self.options.max_tokens)
        requests = [Request(prompt, sampling, seed) for prompt, seed in zip(prompts, seeds, strict=True)]
        answers = dealt(requests, partial(in_order, self.decoder))
        scores = from_leader(lambda: self.reward.score(prompts, [answer.response for answer in answers]))
        for prompt, score in zip(prompts, scores, strict=True):
            if not math.isfinite(score):
                raise UserError(f"The reward of an answer to the prompt '{prompt.id}' is {score}.",
                                "Mend the reward: each score must be a finite number.")
        return Scored(list(prompts), answers, scores)

    def experience(self, scored: Scored, paid: Tensor, kl_coefficient: float) -> Experience:
        """Answers with what is learned from them; `paid` [B] is what they are paid, before the divergence."""
        answers, options = scored.answers, self.options
        episodes = Episodes([prompt.id for prompt in scored.prompts], [answer.prompt_tokens for answer in answers],
                            [answer.response.token_ids for answer in answers], self.pad)
        episodes = self.with_lower_states(episodes)
        value = self.networks.value
        log_probs = episodes.padded([answer.log_probs for answer in answers])
        if self.rough:  # else the ratio would begin off 1 by the rounding of bfloat16
            sampled, log_probs = log_probs, self._measure(self._log_probs, episodes)
            self._compare(sampled, log_probs, episodes.mask)
        with self.networks.as_reference() as reference:
            reference_log_probs = self._measure(
                partial(answer_log_probs, reference, temperature=options.temperature), episodes)
        return Experience.estimate(
            episodes, scores=torch.tensor(scored.scores, dtype=torch.float32), paid=paid, ended=scored.ended,
            log_probs=log_probs,
            reference_log_probs=reference_log_probs,
            values=self._measure(partial(answer_values, value), episodes) if value else None,
            exact=self._measure(self._exact, episodes) if options.kl_reward == "exact" else None,
            algorithm=self.algorithm, options=options, kl_coefficient=kl_coefficient)

    def with_lower_states(self, episodes: Episodes) -> Episodes:
        """The episodes with what the shared blocks make of them, where there are any: the only time they are read."""
        if not self.networks.frozen_layers:
            return episodes
        with autocast(self.options.precision, self._device):
            return episodes.with_states(
                lambda batch: lower_states(self.networks.policy, batch.to(self._device)), self._parts)

    @property
    def rough(self) -> bool:
        """Whether the update runs in bfloat16, and what it compares must be measured in it."""
        return not isinstance(autocast(self.options.precision, self._device), nullcontext)

    def check(self, experience: Experience) -> None:
        """Compare the log-probabilities of sampling with those of the forward pass that the update will make.

        Raises:
            UserError: they differ by more than rounding, so that the ratio of PPO would not begin at 1.
        """
        self._compare(experience.log_probs, self._measure(self._log_probs, experience.episodes),
                      experience.episodes.mask)

    def _compare(self, sampled: Tensor, recomputed: Tensor, mask: Tensor) -> None:
        gaps = (sampled - recomputed)[mask].abs()
        # In bfloat16, and at the edge of a mask's nucleus, rounding may move a few tokens far, but not a tenth of them.
        gap = float(gaps.quantile(0.9) if self.rough or self.networks.mask else gaps.max())
        if not gap <= (ROUGH_TOLERANCE if self.rough else TOLERANCE):
            raise UserError(f"The policy gives a sampled token another log-probability (by {gap:.2g} nats) when its "
                            "answer is read at once than when it was written token by token.",
                            "Models of this family, or in this precision, cannot be trained by PPO here.")

    def _log_probs(self, batch: Batch) -> Tensor:
        return read_policy(self.networks, batch, self.options.temperature).log_probs

    def _exact(self, batch: Batch) -> Tensor:
        return read_policy(self.networks, batch, self.options.temperature, against_reference=True).divergence

    @property
    def _device(self) -> str:
        return str(next(self.networks.parameters()).device)

    def _measure(self, function: Callable[..., Tensor], episodes: Episodes) -> Tensor:
        """As the update will: in its precision, and in passes no larger, so that no more memory is needed than that."""
        with autocast(self.options.precision, self._device):
            return episodes.measure(lambda batch: function(batch=batch.to(self._device)), self._parts)

    @property
    def _parts(self) -> int:
        return self.options.minibatches * self.options.micro_batches
