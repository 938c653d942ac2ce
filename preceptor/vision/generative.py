"""What systems that make pictures share: texts left out in training, noise levels in a fair order, elimination, and
codes that the decoding engine writes.

A model of p(picture | text) tells which of several texts is true of a picture by Bayes' rule. Every comparison costs a
pass of the network, so texts that are clearly worse are dropped early.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from preceptor.data.batches import Batch
from preceptor.data.records import Prompt
from preceptor.generate.decoder import Request, Sampling
from preceptor.generate.guidance import Combine, guided_answers
from preceptor.generate.local import LocalDecoder, evaluating

Trial = Callable[[Tensor, Tensor, int], Tensor]
"""`errors(pictures_P, texts_P, trial)`: the error of P pairs, given by number, in the trial of that number. A trial's
noise is the same for all pairs, or their errors could not be compared."""


def some_without_text(batch: Batch, share: float, empty: Batch) -> Batch:
    """The texts of a batch, of which a random share is replaced by the empty text, the one row of `empty`."""
    out_B = torch.rand(batch.count, device=batch["tokens"].device) < share
    tensors = {}
    for name in ("tokens", "segments"):
        tensors[name] = batch[name].clone()
        tensors[name][out_B] = 0
        tensors[name][:, :empty[name].shape[1]][out_B] = empty[name]
    return Batch(tensors, batch.counts, batch.documents)


def level_of(trial: int) -> float:
    """Numbers in (0, 1) such that those of the first n trials are spread nearly evenly, for every n: the van der Corput
    sequence (1/2, 1/4, 3/4, 1/8, ...)."""
    number, level, step = trial + 1, 0.0, 0.5
    while number:
        level += step * (number & 1)
        number, step = number >> 1, step / 2
    return level


@dataclass(frozen=True, slots=True)
class Chosen:
    """`text_I`: the number of each picture's text; `evaluations`: passes of the network for one picture, on average."""

    text_I: Tensor
    evaluations: float


@torch.no_grad()
def eliminate(errors: Trial, pictures: int, texts: int, stages: Sequence[tuple[int, int]], rows: int = 256) -> Chosen:
    """The text of least mean error for each picture, found in stages (trials so far, texts kept).

    Successive elimination as in Li et al. 2023 (arXiv 2303.16203, algorithm 2): after each stage only the best texts of
    a picture go on, with their errors so far. The last stage keeps one; [(n, 1)] is the full grid of n trials.

    Raises:
        ValueError: the stages do not end with one text, or do not grow.
    """
    counts = [count for count, _ in stages]
    if stages[-1][1] != 1 or counts != sorted(set(counts)) or counts[0] < 1:
        raise ValueError(f"the stages {list(stages)} do not grow in trials down to one text")
    sums_IT, left_IT = torch.zeros(pictures, texts), torch.ones(pictures, texts, dtype=torch.bool)
    done = evaluations = 0
    for count, kept in stages:
        pairs_P2 = left_IT.nonzero()
        for trial in range(done, count):
            found = [errors(part[:, 0], part[:, 1], trial).cpu() for part in pairs_P2.split(rows)]
            sums_IT[pairs_P2[:, 0], pairs_P2[:, 1]] += torch.cat(found)
            evaluations += len(pairs_P2)
        done = count
        best = sums_IT.masked_fill(~left_IT, torch.inf).topk(min(kept, texts), largest=False).indices
        left_IT = torch.zeros_like(left_IT).scatter_(1, best, True) & left_IT
    return Chosen(left_IT.long().argmax(1), evaluations / pictures)


class Guide(NamedTuple):
    """Prompts `without` what the others say, and how the logits behind both become those that are drawn from."""

    without: Sequence[list[int]]
    combine: Combine


def written_codes(model: nn.Module, tokenizer: Any, prompts: Sequence[list[int]], sampling: Sampling, seed: int,
                  guide: Guide | None = None) -> Tensor:
    """The entries (prompts, max_tokens) that the decoding engine writes behind the tokens of prompts; the seed of
    prompt n is `seed` + n. The model must give its end of text no probability."""
    decoder = LocalDecoder(model, tokenizer)
    requests = [Request(Prompt(str(n), [{"role": "user", "content": ""}]), sampling, seed + n)
                for n in range(len(prompts))]
    if guide is not None:
        answers = guided_answers(decoder, requests, prompts, *guide)
        written = {n: answer.response.token_ids for n, answer in enumerate(answers)}
    else:
        call, written = decoder.call("sample", requests, prompts), {}
        with evaluating(model):
            while call.advance():
                written |= {place: answer.response.token_ids for place, answer in call.finished()}
    return torch.tensor([written[n] for n in range(len(prompts))], device=next(model.parameters()).device)
