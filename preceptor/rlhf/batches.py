"""Minibatches of experience, as batches for the one training loop: new answers are sampled when the old are used up."""

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from preceptor.data.batches import Batch
from preceptor.data.records import Prompt
from preceptor.learn.parallel import added_up
from preceptor.losses.divergence import adapted_coefficient
from preceptor.rlhf.experience import Experience
from preceptor.rlhf.loss import Metrics, critic_loss
from preceptor.rlhf.networks import Networks
from preceptor.rlhf.options import OnlineOptions
from preceptor.rlhf.rollouts import Rollouts, Scored
from preceptor.rlhf.shaping import ScoreScale, payments


class RolloutBatches:
    """iterations x inner epochs x minibatches batches; `rollouts` samples with the policy as it is at the time.

    Prompts, sampling seeds and the order of episodes are functions of (seed, iteration), so that the cursor is one
    number, what was learned of the scores and the divergence so far, and the experience of the iteration under way,
    which no seed can bring back: the policy has moved on.
    """

    def __init__(self, rollouts: Rollouts, prompts: Sequence[Prompt], options: OnlineOptions, seed: int) -> None:
        self.rollouts, self.prompts, self.options, self.seed = rollouts, prompts, options, seed
        self.drawn = 0
        self.skipped: set[int] = set()
        self.experience: Experience | None = None
        self.iteration = -1
        self.scale = ScoreScale(options.score_scale)
        self.kl_coefficient = options.kl_coefficient
        self.fresh = False
        """Whether the last batch was the first of its experience, whose metrics are then new."""
        self.notes: dict[str, float] = {}
        """What the last rollout has to say beside its experience."""
        self._drift, self._counted = 0.0, 0

    @property
    def steps_per_iteration(self) -> int:
        return self.options.inner_epochs * self.options.minibatches

    @property
    def total(self) -> int:
        planned = self.options.iterations * self.steps_per_iteration
        return planned - sum(number < planned for number in self.skipped)

    def __iter__(self) -> "RolloutBatches":
        return self

    def __next__(self) -> Batch:
        while self.drawn in self.skipped:
            self.drawn += 1
        iteration, number = divmod(self.drawn, self.steps_per_iteration)
        if iteration >= self.options.iterations:
            raise StopIteration
        self.fresh = iteration != self.iteration
        if self.fresh:
            self.experience, self.iteration = self._roll_out(iteration), iteration
        self.drawn += 1
        return self.experience.minibatch(self._episodes_of(iteration, number), self.options)

    def _roll_out(self, iteration: int) -> Experience:
        options, mask = self.options, self.rollouts.networks.mask
        if mask and iteration % options.mask_every == 0:
            mask.renew(self.rollouts.networks.policy)
        scored = self.rollouts.answer(self.prompts_of(iteration), self._seeds(f"{iteration}", options.episodes))
        if options.answers_per_prompt > 1:
            scored = self._resampled(scored, iteration)
        scores = torch.tensor(scored.scores, dtype=torch.float32)
        self.scale.take_in(scores)
        paid = payments(scores, [answer.response.token_ids for answer in scored.answers], scored.ended, self.scale,
                        options)
        experience = self.rollouts.experience(scored, paid, self.kl_coefficient)
        if options.kl_target:
            self.kl_coefficient = adapted_coefficient(self.kl_coefficient, experience.divergence, options.episodes,
                                                      options.kl_target, options.kl_horizon)
        if iteration == 0 and not self.rollouts.rough:
            self.rollouts.check(experience)
        return experience

    def _resampled(self, scored: Scored, iteration: int) -> Scored:
        """Groups whose scores are all equal, exchanged for those of other prompts; what is left of them is kept."""
        group, replaced = self.options.answers_per_prompt, 0
        for attempt in range(self.options.resampling_rounds):
            flat = scored.flat(group)
            if not flat:
                break
            name = f"{iteration} again {attempt}"
            prompts = random.Random(f"{self.seed} prompts {name}").choices(self.prompts, k=len(flat))
            others = self.rollouts.answer([prompt for prompt in prompts for _ in range(group)],
                                          self._seeds(name, len(flat) * group))
            scored, replaced = scored.replaced(flat, others, group), replaced + len(flat)
        self.notes = {"flat_groups": float(len(scored.flat(group))), "replaced_groups": float(replaced)}
        return scored

    def _seeds(self, name: str, count: int) -> list[int]:
        draw = random.Random(f"{self.seed} answers {name}")
        return [draw.getrandbits(62) for _ in range(count)]

    def prompts_of(self, iteration: int) -> list[Prompt]:
        """The prompts of an iteration, once for each answer: passes over all of them, each in an order of its own."""
        group = self.options.answers_per_prompt
        count = self.options.episodes // group
        places = [divmod(number, len(self.prompts)) for number in range(iteration * count, (iteration + 1) * count)]
        passes = {cycle: self._pass(cycle) for cycle, _ in places}
        return [passes[cycle][place] for cycle, place in places for _ in range(group)]

    def _pass(self, cycle: int) -> list[Prompt]:
        return random.Random(f"{self.seed} prompts {cycle}").sample(self.prompts, len(self.prompts))

    def _episodes_of(self, iteration: int, number: int) -> list[int]:
        """The episodes of one minibatch; an inner epoch deals all of them out, in parts that differ by at most one."""
        inner_epoch, part = divmod(number, self.options.minibatches)
        order = list(range(self.options.episodes))
        random.Random(f"{self.seed} minibatches {iteration} {inner_epoch}").shuffle(order)
        return order[part::self.options.minibatches]

    def loss(self, networks: Networks, batch: Batch) -> tuple[Tensor, int, Metrics]:
        """The algorithm's loss, or the critic's alone while it warms up; how far the policy has moved is kept."""
        warming = self.iteration < self.options.value_warmup
        found = (critic_loss if warming else self.rollouts.algorithm.loss)(networks, batch, self.options)
        self._drift += float(found[2].get("approximate_kl", 0.0))
        self._counted += found[1]
        return found

    def end_step(self) -> dict[str, float]:
        """Hear that an optimiser step is done, and end the iteration where it went far enough; returns what to log.

        What is left of an iteration that ends early is skipped, so that `total` says what is due. A checkpoint is
        written after this, so that a resumed run knows of it.
        """
        moved, self._drift, self._counted = {"drift": self._drift, "counted": self._counted}, 0.0, 0
        if self.options.kl_stop and (whole := added_up(moved))["drift"] > self.options.kl_stop * whole["counted"]:
            self.skip(range(self.drawn, (self.iteration + 1) * self.steps_per_iteration))
        return {"iteration": self.iteration, **self.experience.metrics(), **self.notes} if self.fresh else {}

    def state(self) -> dict[str, Any]:
        return {"drawn": self.drawn, "skipped": sorted(self.skipped), "iteration": self.iteration,
                "experience": self.experience.state() if self.experience else None,
                "scale": self.scale.state(), "kl_coefficient": self.kl_coefficient}

    def restore(self, state: dict[str, Any]) -> None:
        self.drawn, self.iteration = state["drawn"], state["iteration"]
        self.skipped = set(state["skipped"])
        self.experience = None
        if state["experience"]:
            experience = Experience.restore(state["experience"])
            self.experience = replace(experience, episodes=self.rollouts.with_lower_states(experience.episodes))
        self.scale.restore(state["scale"])
        self.kl_coefficient = state["kl_coefficient"]

    def skip(self, span: range) -> None:
        self.skipped.update(span)
