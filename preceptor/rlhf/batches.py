"""Minibatches of experience, as batches for the one training loop: new answers are sampled when the old are used up."""

import random
from collections.abc import Sequence
from typing import Any

from preceptor.data.batches import Batch
from preceptor.data.records import Prompt
from preceptor.rlhf.experience import Experience
from preceptor.rlhf.options import PpoOptions
from preceptor.rlhf.rollouts import Rollouts


class RolloutBatches:
    """iterations x inner epochs x minibatches batches; `rollouts` samples with the policy as it is at the time.

    Prompts, sampling seeds and the order of episodes are functions of (seed, iteration), so that the cursor is one
    number and the experience of the iteration under way, which no seed can bring back: the policy has moved on.
    """

    def __init__(self, rollouts: Rollouts, prompts: Sequence[Prompt], options: PpoOptions, seed: int) -> None:
        self.rollouts, self.prompts, self.options, self.seed = rollouts, prompts, options, seed
        self.drawn = 0
        self.skipped: list[range] = []
        self.experience: Experience | None = None
        self.iteration = -1
        self.fresh = False
        """Whether the last batch was the first of its experience, whose metrics are then new."""

    @property
    def steps_per_iteration(self) -> int:
        return self.options.inner_epochs * self.options.minibatches

    @property
    def total(self) -> int:
        planned = self.options.iterations * self.steps_per_iteration
        return planned - sum(self._is_skipped(number) for number in range(planned))

    def __iter__(self) -> "RolloutBatches":
        return self

    def __next__(self) -> Batch:
        while self._is_skipped(self.drawn):
            self.drawn += 1
        iteration, number = divmod(self.drawn, self.steps_per_iteration)
        if iteration >= self.options.iterations:
            raise StopIteration
        self.fresh = iteration != self.iteration
        if self.fresh:
            self.experience, self.iteration = self._roll_out(iteration), iteration
        self.drawn += 1
        return self.experience.minibatch(self._episodes_of(iteration, number))

    def _is_skipped(self, number: int) -> bool:
        return any(number in span for span in self.skipped)

    def _roll_out(self, iteration: int) -> Experience:
        draw = random.Random(f"{self.seed} answers {iteration}")
        seeds = [draw.getrandbits(62) for _ in range(self.options.episodes)]
        experience = self.rollouts.sample(self.prompts_of(iteration), seeds)
        if iteration == 0:
            self.rollouts.check(experience)
        return experience

    def prompts_of(self, iteration: int) -> list[Prompt]:
        """The prompts of an iteration: passes over all of them, each pass in an order of its own."""
        first = iteration * self.options.episodes
        places = [divmod(number, len(self.prompts)) for number in range(first, first + self.options.episodes)]
        passes = {cycle: self._pass(cycle) for cycle, _ in places}
        return [passes[cycle][place] for cycle, place in places]

    def _pass(self, cycle: int) -> list[Prompt]:
        return random.Random(f"{self.seed} prompts {cycle}").sample(self.prompts, len(self.prompts))

    def _episodes_of(self, iteration: int, number: int) -> list[int]:
        """The episodes of one minibatch; an inner epoch deals all of them out, in parts that differ by at most one."""
        inner_epoch, part = divmod(number, self.options.minibatches)
        order = list(range(self.options.episodes))
        random.Random(f"{self.seed} minibatches {iteration} {inner_epoch}").shuffle(order)
        return order[part::self.options.minibatches]

    def state(self) -> dict[str, Any]:
        return {"drawn": self.drawn, "skipped": [[span.start, span.stop] for span in self.skipped],
                "iteration": self.iteration, "experience": self.experience.state() if self.experience else None}

    def restore(self, state: dict[str, Any]) -> None:
        self.drawn, self.iteration = state["drawn"], state["iteration"]
        self.skipped = [range(start, stop) for start, stop in state["skipped"]]
        self.experience = Experience.restore(state["experience"]) if state["experience"] else None

    def skip(self, span: range) -> None:
        self.skipped.append(span)
