"""The context_distillation stage: what a context in front of each prompt does to a model, written into its weights.

Askell et al. 2021 (arXiv 2112.00861, section 2.1): the teacher is the model with the context, the student the same
model without it. The teacher answers prompts; at every token of its answers the student learns the teacher's
distribution,

    L = mean over tokens of KL(p(. | context, prompt, answer so far) || q(. | prompt, answer so far)),

over the whole vocabulary, so that each answer teaches more than the tokens that were drawn.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from preceptor.data.batches import IGNORE, Batch, Example, collate
from preceptor.data.jsonl import read_jsonl, write_jsonl
from preceptor.data.ranked import RankedBatches
from preceptor.data.records import Prompt, Response
from preceptor.generate.decoder import Request, Sampling
from preceptor.generate.local import LocalDecoder
from preceptor.learn.adapting import adapt
from preceptor.learn.fit import fit
from preceptor.losses.divergence import full_kl
from preceptor.models.causal import (
    context_length,
    hidden_states,
    load_causal,
    model_folder,
    parameter_count,
    save_model,
)
from preceptor.run.errors import UserError
from preceptor.run.step import Step
from preceptor.sft.options import DistillationOptions
from preceptor.tokenizer.chat import encode_prompt, load_tokenizer

CONTEXT = Path(__file__).with_name("helpful_honest_harmless.txt")
TEACHER = "teacher_"  # in front of the names of the teacher's tensors in a batch


def run(step: Step) -> None:
    """Read `model` and `prompts` (and `context`); write answers.jsonl and model/."""
    options: DistillationOptions = step.options
    folder = model_folder(step.input("model"))
    tokenizer, student, teacher = load_tokenizer(folder), load_causal(folder), load_causal(folder)
    teacher.requires_grad_(False).eval()
    adapt(step, student)
    prompts = read_jsonl(step.input("prompts"), Prompt)[:options.prompts or None]
    context = (step.input("context") if "context" in step.inputs else CONTEXT).read_text(encoding="utf-8").strip()
    if not prompts or not context or options.answers < 1:
        raise UserError(f"Nothing can be distilled from {options.answers} answers to each of {len(prompts)} prompts "
                        f"with {len(context)} letters of context.", "Give prompts, a context, and 1 answer or more.")
    answers = _answers(step, teacher, tokenizer, [with_context(prompt, context) for prompt in prompts])
    taught = [one for prompt, own in zip(prompts, answers) for answer in own
              if (one := taught_answer(tokenizer, prompt, context, answer)).width <= context_length(student)]
    total = sum(map(len, answers))
    if len(taught) < total:
        step.say(f"{total - len(taught)} of {total} answers left out: with the context they exceed the model's own")
    if not taught:
        raise UserError("No answer with its prompt and the context fits the model.", "Give a shorter context.")
    batches = RankedBatches(taught, rows=options.rows, epochs=options.epochs, pad=tokenizer.pad_token_id,
                            seed=step.seed, collate=collate_taught)
    step.plan(parameters=parameter_count(student), prompts=len(prompts), answers=len(taught), epochs=options.epochs,
              answer_tokens=sum(one.student.count for one in taught), optimiser_steps=batches.total)
    student.eval()
    fit(student, batches, partial(distillation_loss, teacher=teacher), options, folder=step.folder, log=step.log,
        progress=step.progress(batches.total))
    save_model(student, tokenizer, step.folder / "model")


def with_context(prompt: Prompt, context: str) -> Prompt:
    """The prompt behind a system message; a prompt's own system message follows in the same one."""
    first, rest = prompt.messages[0], prompt.messages[1:]
    if first["role"] == "system":
        return replace(prompt, messages=[{"role": "system", "content": f"{context}\n\n{first['content']}"}, *rest])
    return replace(prompt, messages=[{"role": "system", "content": context}, *prompt.messages])


@dataclass(frozen=True, slots=True)
class Taught:
    """One answer as the teacher reads it, behind context and prompt, and as the student does, behind the prompt."""

    id: str
    teacher: Example
    student: Example

    @property
    def width(self) -> int:
        return len(self.teacher.tokens)


def taught_answer(tokenizer: Any, prompt: Prompt, context: str, answer: Response) -> Taught:
    """The very tokens that the teacher drew, behind both prompts."""
    said = answer.token_ids or []
    teacher, student = (_behind(encode_prompt(tokenizer, one), said, prompt.id)
                        for one in (with_context(prompt, context), prompt))
    return Taught(prompt.id, teacher, student)


def _behind(before: list[int], said: list[int], id: str) -> Example:
    return Example(id, before + said, [IGNORE] * (len(before) - 1) + said + [IGNORE])


def collate_taught(rows: Sequence[Taught], pad: int) -> Batch:
    """The student's rows, and the teacher's of the same answers under names that begin with `teacher_`."""
    batch = collate([[one.student] for one in rows], pad)
    for name, tensor in collate([[one.teacher] for one in rows], pad).tensors.items():
        batch.tensors[TEACHER + name] = tensor
    return batch


def distillation_loss(student: nn.Module, batch: Batch, teacher: nn.Module) -> tuple[Tensor, int, dict[str, Tensor]]:
    """KL(teacher || student) in nats, summed over the tokens of answers, and how many these are."""
    shown = Batch({name.removeprefix(TEACHER): tensor for name, tensor in batch.tensors.items()
                   if name.startswith(TEACHER)}, batch.counts, batch.documents)
    with torch.no_grad():
        logits_NV = _answer_logits(teacher, shown)
    return full_kl(logits_NV, _answer_logits(student, batch)).sum(), batch.count, {}


def _answer_logits(model: nn.Module, batch: Batch) -> Tensor:
    """The logits that predict the tokens of answers, [N, V], row by row."""
    return model.get_output_embeddings()(hidden_states(model, batch)[batch["targets"] != IGNORE])


def _answers(step: Step, teacher: nn.Module, tokenizer: Any, prompts: Sequence[Prompt]) -> list[list[Response]]:
    """The teacher's answers to each prompt, from the file of an earlier attempt where there is one."""
    options, path = step.options, step.folder / "answers.jsonl"
    if not path.exists():
        sampling = Sampling(temperature=options.temperature, max_tokens=options.max_tokens)
        requests = [Request(prompt, sampling, random.Random(f"{step.seed}/{prompt.id}/{number}").getrandbits(31))
                    for prompt in prompts for number in range(options.answers)]
        decoder = LocalDecoder(teacher, tokenizer, rows=options.decode_rows, name=step.name)
        progress, found = step.progress(len(requests), "answers"), {}
        for number, answer in decoder.generate(requests):
            found[number] = answer.response
            progress.update(len(found))
        write_jsonl(path, (found[number] for number in range(len(requests))))
    said = read_jsonl(path, Response)
    return [said[first:first + options.answers] for first in range(0, len(said), options.answers)]
