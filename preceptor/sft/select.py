"""The select stage: which epoch of fine-tuning to go on with, by the reward of its answers.

InstructGPT chose so because validation loss rises from the first epoch on while people's preference goes on growing
(Ouyang et al. 2022, §3.5). The validation loss stands beside the reward to show whether that holds here.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from preceptor.data.batches import Example
from preceptor.data.jsonl import read_jsonl
from preceptor.data.records import Conversation, Prompt
from preceptor.feedback.rewards import open_reward
from preceptor.generate.decoder import Request, Sampling
from preceptor.generate.local import LocalDecoder
from preceptor.metrics.intervals import bootstrap_mean
from preceptor.models.causal import context_length, load_causal
from preceptor.models.rewards import AnyReward
from preceptor.run.files import read_json, write_json
from preceptor.run.step import Step
from preceptor.sft.answers import answer_examples, answer_likelihood
from preceptor.sft.epochs import copy_model, kept_epochs
from preceptor.sft.options import SelectOptions
from preceptor.tokenizer.chat import load_tokenizer


@dataclass(frozen=True, slots=True)
class _Trial:
    """What every epoch is put to: the same prompts, reward and held-out demonstrations."""

    requests: list[Request]
    reward: AnyReward
    demonstrations: list[Example]
    length: int
    rows: int
    seed: int


def run(step: Step) -> None:
    """Read `sft`, `reward` and `prompts` (and `validation`); write selection.json and model/, the chosen epoch's."""
    epochs = kept_epochs(step.input("sft"))
    trial = _prepare(step, next(iter(epochs.values())))
    step.plan(epochs=len(epochs), prompts=len(trial.requests), answers=len(epochs) * len(trial.requests))
    progress = step.progress(len(epochs), "epochs")
    rows = []
    for number, (epoch, folder) in enumerate(epochs.items(), start=1):
        measured = step.folder / "measured" / f"{folder.name}.json"
        if not measured.exists():  # a resume takes what was measured before the kill
            write_json(measured, {"epoch": epoch, **_measure(folder, trial)})
        rows.append(read_json(measured))
        step.log.write(epoch, **rows[-1])
        progress.update(number, f"epoch {epoch} reward {rows[-1]['reward']:.3f}")
    chosen = best_epoch(rows)
    copy_model(epochs[chosen], step.folder / "model")
    write_json(step.folder / "selection.json", {"chosen": chosen, "epochs": rows})
    if cut := max(row["truncated"] for row in rows):
        step.say(f"{cut} of {len(trial.requests)} prompts lost their beginning to fit the context")
    if trial.reward.truncated:
        step.say(f"{trial.reward.truncated} answers were scored without the beginning of their prompt, to fit the "
                 "reward model's context")
    step.say(_verdict(chosen, rows))


def best_epoch(rows: Sequence[dict[str, Any]]) -> int:
    """The epoch whose answers have the highest mean reward; of equal ones the earliest."""
    return max(rows, key=lambda row: (row["reward"], -row["epoch"]))["epoch"]


def _prepare(step: Step, first: Path) -> _Trial:
    """Read the inputs; all epochs share the vocabulary and the context of the `first`."""
    tokenizer, length = load_tokenizer(first), context_length(load_causal(first))
    demonstrations = []
    if "validation" in step.inputs:
        demonstrations = answer_examples(step, tokenizer, read_jsonl(step.input("validation"), Conversation), length)
    reward = open_reward(step.input("reward"), step.options.rows, step.say)
    requests = _requests(step.options, step.seed, read_jsonl(step.input("prompts"), Prompt))
    return _Trial(requests, reward, demonstrations, length, step.options.rows, step.seed)


def _requests(options: SelectOptions, seed: int, prompts: list[Prompt]) -> list[Request]:
    """One request a prompt. Its seed is the same for every epoch, so that epochs differ by their weights alone."""
    draw = random.Random(seed)
    if 0 < options.prompts < len(prompts):
        prompts = draw.sample(prompts, options.prompts)
    sampling = Sampling(temperature=options.temperature, max_tokens=options.max_tokens)
    return [Request(prompt, sampling, draw.getrandbits(31)) for prompt in prompts]


def _measure(folder: Path, trial: _Trial) -> dict[str, float]:
    """The reward of one epoch's answers with its interval, their length, and the loss on held-out demonstrations."""
    tokenizer, model = load_tokenizer(folder), load_causal(folder)
    decoder = LocalDecoder(model, tokenizer, rows=trial.rows, name=folder.name)
    responses = [answer.response for answer in decoder.answers(trial.requests)]
    scores = trial.reward.score([request.prompt for request in trial.requests], responses)
    interval = bootstrap_mean(scores, seed=trial.seed)
    row = {"reward": interval.mean, "low": interval.low, "high": interval.high, "truncated": decoder.truncated,
           "answer_tokens": sum(len(response.token_ids) for response in responses) / len(responses),
           "ended": sum(response.finish == "eos" for response in responses) / len(responses)}
    if trial.demonstrations:
        row["validation_loss"], row["validation_accuracy"] = answer_likelihood(
            model, trial.demonstrations, rows=trial.rows, length=trial.length, pad=tokenizer.pad_token_id)
    return row


def _verdict(chosen: int, rows: Sequence[dict[str, Any]]) -> str:
    best = next(row for row in rows if row["epoch"] == chosen)
    text = f"epoch {chosen} of {len(rows)} has the highest reward, {best['reward']:.3f} " \
           f"({best['low']:.3f} to {best['high']:.3f})"
    if "validation_loss" not in best:
        return text
    lowest = min(rows, key=lambda row: row["validation_loss"])["epoch"]
    return f"{text}; validation loss is lowest at epoch {lowest}"
