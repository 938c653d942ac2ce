"""Kahneman-Tversky optimisation (Ethayarajh et al. 2024, arXiv 2402.01306): answers that are good or bad, not pairs.

Of a ranking the answers are good that win more of their comparisons than they lose, bad that lose more; of two answers,
the chosen and the rejected one. Those in the middle are neither, and count nowhere.
"""

import random
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from preceptor.data.batches import Batch
from preceptor.data.ranked import RankedBatches, RankedPrompt, collate_ranked
from preceptor.learn.precision import autocast
from preceptor.losses.preference import kto, kto_divergence
from preceptor.models.causal import context_length
from preceptor.rlhf.offline_options import KtoOptions
from preceptor.rlhf.preference import log_ratios, pair_metrics
from preceptor.rlhf.rankings import learn, with_reference
from preceptor.run.errors import UserError
from preceptor.run.step import Step


def run(step: Step) -> None:
    """Read `policy` and `comparisons`; write model/ and results.json."""

    def around(batches: RankedBatches, prompts: list[RankedPrompt], policy: nn.Module) -> KtoBatches:
        foreign = with_reference(step, policy, foreign_answers(prompts, context_length(policy), step.seed),
                                 batches.pad, step.folder / "reference.foreign.jsonl")
        return KtoBatches(batches, foreign, policy, step.options.precision)

    learn(step, partial(loss, options=step.options), log_ratios, reference=True, around=around)


def loss(policy: nn.Module, batch: Batch, options: KtoOptions) -> tuple[Tensor, int, dict[str, Tensor]]:
    """Equation 8 over the good and the bad answers; each prompt has the weight of one."""
    ratios_BK = log_ratios(policy, batch)
    verdict_BK = verdicts(batch["ranks"], batch["ends"] >= 0)
    losses = kto(ratios_BK, verdict_BK > 0, batch["divergence"][:, None], options.beta, options.good_weight,
                 options.bad_weight)
    judged = verdict_BK != 0
    total = ((losses * judged).sum(1) / judged.sum(1)).sum()
    return total, len(ratios_BK), {**pair_metrics(ratios_BK, batch), "divergence": batch["divergence"].sum()}


def verdicts(ranks: Tensor, present: Tensor) -> Tensor:
    """[B, K]: 1 where an answer wins more of its comparisons than it loses, -1 where it loses more, else 0."""
    both = present[:, :, None] & present[:, None, :]
    wins = ((ranks[:, :, None] < ranks[:, None, :]) & both).sum(2)
    losses = ((ranks[:, :, None] > ranks[:, None, :]) & both).sum(2)
    return (wins - losses).sign()


def foreign_answers(prompts: list[RankedPrompt], context: int, seed: int) -> list[RankedPrompt]:
    """Each prompt with one answer to another prompt, drawn once, so that its reference can be computed once.

    Raises:
        UserError: there is one prompt only.
    """
    draw = random.Random(f"{seed} foreign")
    order = draw.sample(range(len(prompts)), len(prompts))
    paired: list[RankedPrompt | None] = [None] * len(prompts)
    for place, index in enumerate(order):
        one = prompts[index]
        others = (prompts[order[(place + step) % len(order)]] for step in range(1, len(order)))
        other = next((other for other in others if other.prompt != one.prompt), None)
        if other is None:
            raise UserError("KTO needs answers to other prompts, and all rankings are of one prompt.",
                            "Give rankings of two prompts or more, or take another algorithm.")
        answer = draw.choice(other.answers)
        paired[index] = RankedPrompt(one.id, one.prompt[len(answer) - context:], [answer], [0])
    return paired


class KtoBatches:
    """The rankings' batches, each with the `divergence` [B] of the policy as it then is.

    It couples all prompts of an optimiser step, so it is taken before the batch is split: micro-batches change nothing.
    """

    def __init__(self, batches: RankedBatches, foreign: list[RankedPrompt], policy: nn.Module, precision: str) -> None:
        self.batches, self.foreign, self.policy, self.precision = batches, foreign, policy, precision

    @property
    def total(self) -> int:
        return self.batches.total

    def __next__(self) -> Batch:
        batch = next(self.batches)
        device = str(next(self.policy.parameters()).device)
        chosen = collate_ranked([self.foreign[index] for index in self.batches.last], self.batches.pad)
        with torch.no_grad(), autocast(self.precision, device):
            z = kto_divergence(log_ratios(self.policy, chosen.to(device))[:, 0])
        return replace(batch, tensors={**batch.tensors, "divergence": z.cpu().expand(len(batch.counts))})

    def state(self) -> dict[str, Any]:
        return self.batches.state()

    def restore(self, state: dict[str, Any]) -> None:
        self.batches.restore(state)

    def skip(self, span: range) -> None:
        self.batches.skip(span)
