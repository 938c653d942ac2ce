"""Rollouts: the policy answers prompts, the reward scores the answers, and the frozen networks say what they think."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from preceptor.data.records import Prompt
from preceptor.data.reward import Reward
from preceptor.generate.decoder import Answer, Decoder, Request, Sampling
from preceptor.rlhf.experience import Algorithm, Episodes, Experience
from preceptor.rlhf.loss import ActorCritic, answer_log_probs, answer_values
from preceptor.rlhf.options import PpoOptions
from preceptor.run.errors import UserError

TOLERANCE = 1e-4  # nats between a token's log-probability in cached decoding and in a packed forward pass, in fp32


@dataclass(frozen=True, slots=True)
class Rollouts:
    """All that it takes to make experience. The reference is the model that the policy began as, and never changes."""

    model: ActorCritic
    reference: nn.Module
    decoder: Decoder
    reward: Reward
    algorithm: Algorithm
    options: PpoOptions
    pad: int

    def sample(self, prompts: Sequence[Prompt], seeds: Sequence[int]) -> Experience:
        """One answer to each prompt, a function of the weights and the seeds.

        Raises:
            UserError: the reward gave a score that is not a finite number.
        """
        sampling = Sampling(temperature=self.options.temperature, max_tokens=self.options.max_tokens)
        requests = [Request(prompt, sampling, seed) for prompt, seed in zip(prompts, seeds, strict=True)]
        finished = dict(self.decoder.generate(requests))
        answers = [finished[number] for number in range(len(requests))]
        episodes = Episodes([prompt.id for prompt in prompts], [answer.prompt_tokens for answer in answers],
                            [answer.response.token_ids for answer in answers], self.pad)
        return Experience.estimate(
            episodes,
            scores=self._scores(prompts, answers),
            ended=torch.tensor([answer.response.finish == "eos" for answer in answers]),
            log_probs=episodes.padded([answer.log_probs for answer in answers]),
            reference_log_probs=self._log_probs(self.reference, episodes),
            values=self._measure(partial(answer_values, self.model["value"]), episodes),
            algorithm=self.algorithm, options=self.options)

    def check(self, experience: Experience) -> None:
        """Compare the log-probabilities of sampling with those of the forward pass that the update will make.

        Raises:
            UserError: they differ by more than rounding, so that the ratio of PPO would not begin at 1.
        """
        recomputed = self._log_probs(self.model["policy"], experience.episodes)
        gap = float((experience.log_probs - recomputed).abs().max())
        if not gap <= TOLERANCE:
            raise UserError(f"The policy gives a sampled token another log-probability (by {gap:.2g} nats) when its "
                            "answer is read at once than when it was written token by token.",
                            "Models of this family, or in this precision, cannot be trained by PPO here.")

    def _scores(self, prompts: Sequence[Prompt], answers: Sequence[Answer]) -> Tensor:
        scores = self.reward.score(prompts, [answer.response for answer in answers])
        for prompt, score in zip(prompts, scores, strict=True):
            if not math.isfinite(score):
                raise UserError(f"The reward of an answer to the prompt '{prompt.id}' is {score}.",
                                "Mend the reward: each score must be a finite number.")
        return torch.tensor(scores, dtype=torch.float32)

    def _log_probs(self, policy: nn.Module, episodes: Episodes) -> Tensor:
        return self._measure(partial(answer_log_probs, policy, temperature=self.options.temperature), episodes)

    def _measure(self, function: partial[Tensor], episodes: Episodes) -> Tensor:
        """In passes no larger than those of the update, so that the rollout needs no more memory than that."""
        device = str(next(self.model.parameters()).device)
        parts = self.options.minibatches * self.options.micro_batches
        return episodes.measure(lambda batch: function(batch=batch.to(device)), parts)
