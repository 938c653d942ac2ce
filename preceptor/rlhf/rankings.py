"""The one path of the algorithms that learn from rankings: records in, a policy out, one network in memory.

The reference is the policy as it begins. Its log-probabilities are taken in one pass before training and kept in the
step's folder, so that no second network is there while the first one learns, and a resumed run has the same numbers.
Legend: B prompts, K answers to each; 0 where a prompt has fewer answers than the most.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from preceptor.data.batches import Batch, Batches
from preceptor.data.jsonl import read_jsonl
from preceptor.data.ranked import HELD_OUT, RankedBatches, RankedPrompt, answer_tokens, collate_ranked
from preceptor.data.records import Comparison
from preceptor.learn.adapting import adapt
from preceptor.learn.fit import Loss, fit
from preceptor.learn.parallel import refuse_shards
from preceptor.learn.precision import autocast
from preceptor.losses.likelihood import selected_log_probs
from preceptor.metrics.rankings import accuracy
from preceptor.models.adapters import adapter_off
from preceptor.models.attention import shared_prompt_mask
from preceptor.models.causal import (
    context_length,
    hidden_states,
    load_causal,
    model_folder,
    parameter_count,
    save_model,
)
from preceptor.models.reward_model import AnswerEncoder
from preceptor.rlhf.offline_options import RankingOptions
from preceptor.run.errors import UserError
from preceptor.run.files import write_json, write_lines
from preceptor.run.processes import meet
from preceptor.run.step import Step
from preceptor.tokenizer.chat import load_tokenizer


@dataclass(frozen=True, slots=True)
class Likelihoods:
    """What a policy makes of each answer of a batch, [B, K]."""

    log_probs: Tensor
    """Summed over the answer's tokens, its end included."""
    lengths: Tensor
    """Its tokens; 1 where there is no answer."""

    @property
    def means(self) -> Tensor:
        """The mean over the answer's tokens."""
        return self.log_probs / self.lengths


def likelihoods(policy: nn.Module, batch: Batch) -> Likelihoods:
    """log pi(answer | prompt) of every answer; each prompt is read once for all its answers."""
    at, head = answer_tokens(batch), policy.get_output_embeddings()
    hidden_ND = hidden_states(policy, batch, shared_prompt_mask)[at.rows, at.sources]
    by_token = selected_log_probs(hidden_ND, head.weight, at.targets, bias=head.bias)
    none, where = by_token.new_zeros(batch["ranks"].shape), (at.rows, at.answers)
    return Likelihoods(none.index_put(where, by_token, accumulate=True),
                       none.index_put(where, torch.ones_like(by_token), accumulate=True).clamp(min=1))


Score = Callable[[nn.Module, Batch], Tensor]


def learn(step: Step, loss: Loss, score: Score, *, reference: bool,
          around: Callable[[RankedBatches, list[RankedPrompt], nn.Module], Batches] | None = None) -> None:
    """Read `policy` and `comparisons`, train by `loss`, write model/ and results.json.

    Args:
        step: its options are `RankingOptions`.
        loss: of a batch of ranked prompts, counted in prompts.
        score: [B, K] of a batch, the algorithm's own word on which answer is better; measured on held-out rankings.
        reference: whether batches hold the table `reference`, the answers' log-probabilities before training.
        around: makes the batches that the loop sees from those of the rankings, where the algorithm needs more.
    """
    options: RankingOptions = step.options
    folder = model_folder(step.input("policy"))
    tokenizer, policy = load_tokenizer(folder), load_causal(folder)
    adapt(step, policy)
    encoder = AnswerEncoder(tokenizer, context_length(policy))
    prompts = training_rankings(step, encoder)
    if reference:
        prompts = with_reference(step, policy, prompts, encoder.pad, step.folder / "reference.jsonl")
    ranked = RankedBatches(prompts, rows=options.rows, epochs=options.epochs, pad=encoder.pad, seed=step.seed)
    batches = around(ranked, prompts, policy) if around else ranked
    announce(step, policy, prompts, ranked)
    held_out = HeldOut.read(step, encoder, policy, reference)
    fit(policy, batches, loss, options, folder=step.folder, log=step.log, progress=step.progress(ranked.total))
    save_model(policy, tokenizer, step.folder / "model")
    held_out.measure(policy, score)


def announce(step: Step, model: nn.Module, prompts: Sequence[RankedPrompt], batches: RankedBatches) -> None:
    """Print the numbers that follow from the options, before work starts."""
    step.plan(parameters=parameter_count(model), prompts=len(prompts), epochs=batches.epochs,
              answers=sum(len(one.answers) for one in prompts), pairs=sum(one.pairs for one in prompts),
              tokens=sum(one.width for one in prompts), optimiser_steps=batches.total)


def training_rankings(step: Step, encoder: AnswerEncoder) -> list[RankedPrompt]:
    """The rankings to learn from.

    Raises:
        UserError: there are none, or the step asks for shards.
    """
    refuse_shards(step)
    prompts = [prompt for _, prompt in read_rankings(step, encoder, "comparisons.train.jsonl")]
    if not prompts:
        raise UserError("No ranking sets two answers apart.", "Give comparisons whose ranking has two groups or more.")
    return prompts


def read_rankings(step: Step, encoder: AnswerEncoder, file: str) -> list[tuple[Comparison, RankedPrompt]]:
    """The rankings of a file that set two answers apart, and encoded; what is left out or cut is counted and said."""
    comparisons = read_jsonl(step.input("comparisons", file), Comparison)
    apart = [one for one in comparisons if len(one.ranking) > 1]
    before = encoder.truncated
    encoded = [(one, prompt) for one in apart if (prompt := encoder.ranked(one)).prompt]
    left_out = {"with all their answers tied": len(comparisons) - len(apart),
                "with an answer that leaves no room for the prompt": len(apart) - len(encoded)}
    for why, count in left_out.items():
        if count:
            step.say(f"{count} of {len(comparisons)} rankings of {file} left out, {why}")
    if cut := encoder.truncated - before:
        step.say(f"{cut} of {len(apart)} prompts of {file} lost their beginning to fit the context")
    return encoded


def with_reference(step: Step, policy: nn.Module, prompts: Sequence[RankedPrompt], pad: int,
                   path: Path) -> list[RankedPrompt]:
    """The prompts with the table `reference`: log-probabilities under the policy without its adapter, or as `path` kept
    them."""
    if not path.exists():
        with adapter_off(policy):  # a fresh soft prompt is not nothing, as fresh LoRA is
            found = evaluate(step.options, policy, prompts, pad,
                             lambda model, batch: likelihoods(model, batch).log_probs)
        write_lines(path, (json.dumps({"id": one.id, "log_probs": row}) for one, row in zip(prompts, found)))
    meet()  # the leader has written it
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [row["id"] for row in rows] == [one.id for one in prompts], "the reference belongs to other comparisons"
    return [replace(one, tables={**one.tables, "reference": row["log_probs"]}) for one, row in zip(prompts, rows)]


@torch.no_grad()
def evaluate(options: RankingOptions, model: nn.Module, prompts: Sequence[RankedPrompt], pad: int,
             function: Score) -> list[list[float]]:
    """`function` of every answer of every prompt, in the precision of training. The model is left in its mode."""
    was_training, device = model.training, str(next(model.parameters()).device)
    model.eval()
    found: list[list[float]] = [[]] * len(prompts)
    order = sorted(range(len(prompts)), key=lambda n: prompts[n].width)
    for first in range(0, len(order), options.rows):
        chosen = order[first:first + options.rows]
        with autocast(options.precision, device):
            table = function(model, collate_ranked([prompts[n] for n in chosen], pad).to(device))
        for n, row in zip(chosen, table.tolist(), strict=True):
            found[n] = row[:len(prompts[n].answers)]
    model.train(was_training)
    return found


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Held-out rankings, and how often the algorithm's own score orders their answers as the labelers did."""

    step: Step
    pad: int
    rankings: dict[str, tuple[list[Comparison], list[RankedPrompt]]]

    @classmethod
    def read(cls, step: Step, encoder: AnswerEncoder, policy: nn.Module, reference: bool) -> "HeldOut":
        """Whichever of the held-out files there are; read before training, while the policy is the reference."""
        folder, rankings = step.input("comparisons"), {}
        for name, file in HELD_OUT.items():
            if not (folder / file).exists():
                continue
            pairs = read_rankings(step, encoder, file)
            prompts = [prompt for _, prompt in pairs]
            if pairs and reference:
                prompts = with_reference(step, policy, prompts, encoder.pad, step.folder / f"reference.{name}.jsonl")
            if pairs:
                rankings[name] = ([comparison for comparison, _ in pairs], prompts)
        if not rankings:
            step.say(f"nothing is measured: the comparisons hold no ranking in {' or '.join(HELD_OUT.values())}")
        return cls(step, encoder.pad, rankings)

    def measure(self, model: nn.Module, score: Score) -> None:
        """Write results.json: the accuracy on each file, with its interval over prompts."""
        results: dict[str, Any] = {}
        for name, (comparisons, prompts) in self.rankings.items():
            scores = evaluate(self.step.options, model, prompts, self.pad, score)
            results[name] = accuracy(comparisons, scores, seed=self.step.seed).to_dict()
            self.step.say("accuracy {} {mean:.1%} ({low:.1%} to {high:.1%}, {n} prompts)".format(
                name.replace("_", " "), **results[name]))
        self.step.log.write(0, preference_accuracy=results)
        write_json(self.step.folder / "results.json", {"preference_accuracy": results})
