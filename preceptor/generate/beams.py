"""Beam search, and diverse beam search: the likeliest answer that a narrow breadth-first search finds.

A finished answer scores log p(answer) / length^length_penalty. The steps are those of Hugging Face's `generate`: of the
2 n best continuations of n beams, those that end within the first n are finished, and the first n that do not end go
on.

Diverse beam search (Vijayakumar et al. 2018, arXiv 1610.02424): the beams are divided into groups that search one after
the other at each step, and a group pays `diversity_penalty` for each time that an earlier group chose the same token
now (Hamming diversity, section 4); as in fairseq and Hugging Face, what is paid stays in the score.

R hypotheses of a group, V entries of the vocabulary.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from preceptor.generate.cache import joined
from preceptor.generate.decoder import Answer, Request
from preceptor.generate.processors import Past, breaker_tokens, processed
from preceptor.generate.request import Sampling
from preceptor.generate.rows import read_prompts, read_token

if TYPE_CHECKING:
    from preceptor.generate.local import LocalDecoder


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """An unfinished answer; `row` is its place in the cache, `score` the sum that the search goes by."""

    tokens: tuple[int, ...] = ()
    log_probs: tuple[float, ...] = ()
    score: float = 0.0
    row: int = 0


@dataclass(slots=True)
class Group:
    """The beams of one search, or one group of them."""

    size: int
    running: list[Hypothesis]
    finished: list[tuple[float, Hypothesis]] = field(default_factory=list)
    """(score over length, answer), the best first, at most `size`."""
    open: bool = True

    def extend(self, scores_RV: Tensor, log_probs_RV: Tensor, ends: Callable[[tuple[int, ...]], bool],
               sampling: Sampling) -> None:
        """Go one token further: `scores` are those of each continuation, `log_probs` the model's of its last token."""
        count = scores_RV.shape[1]
        best = scores_RV.flatten().topk(min(2 * self.size, scores_RV.numel()))
        running: list[Hypothesis] = []
        full = len(self.finished) == self.size and sampling.early_stopping is True
        finished = list(self.finished)
        for rank, (score, place) in enumerate(zip(best.values.tolist(), best.indices.tolist())):
            if score == -torch.inf:
                break
            parent, token = self.running[place // count], place % count
            log_prob = float(log_probs_RV[place // count, token])
            longer = Hypothesis((*parent.tokens, token), (*parent.log_probs, log_prob), score, parent.row)
            if not ends(longer.tokens):
                running.append(longer)
            elif rank < self.size and not full:
                finished.append((score / len(longer.tokens) ** sampling.length_penalty, longer))
        self.finished = sorted(finished, key=lambda pair: pair[0], reverse=True)[:self.size]
        self.running = running[:self.size]
        self.open = self._can_improve(sampling)

    def _can_improve(self, sampling: Sampling) -> bool:
        """Whether the search goes on; an early end is a guess, unless early_stopping is "never"."""
        if not self.running:
            return False
        if len(self.finished) < self.size:
            return True
        if sampling.early_stopping is True:
            return False
        length = len(self.running[0].tokens)
        if sampling.early_stopping == "never" and sampling.length_penalty > 0:
            length = sampling.max_tokens
        return self.running[0].score / length ** sampling.length_penalty > self.finished[-1][0]


class BeamCall:
    """Requests answered by beam search, as many at once as the decoder's rows hold."""

    def __init__(self, decoder: "LocalDecoder", requests: Sequence[Request], prompts: Sequence[list[int]]) -> None:
        self.decoder, self.requests, self.prompts = decoder, requests, prompts
        self.waiting = sorted(range(len(requests)), key=lambda number: len(prompts[number]))
        self.at_work: dict[int, list[Group]] = {}
        self.ended: list[int] = []
        self.breakers = {breakers: breaker_tokens(decoder.tokenizer, breakers) for breakers in
                         {request.sampling.dry_sequence_breakers for request in requests
                          if request.sampling.dry_multiplier}}

    @torch.inference_mode()
    def advance(self) -> bool:
        """Go one token further with each search at work; false when all are done."""
        for number in self.ended:
            del self.at_work[number]
        if self.at_work:
            self._read()
        elif self.waiting:
            self._begin()
        else:
            return False
        log_probs_NV = self.logits_NV.float().log_softmax(-1)
        for number, groups in self.at_work.items():
            self._step(number, groups, log_probs_NV)
        self.ended = [number for number, groups in self.at_work.items() if not any(group.open for group in groups)]
        return True

    def written(self) -> list[int]:
        """Nothing that will surely stay."""
        return []

    def finished(self) -> Iterator[tuple[int, Answer]]:
        """The answers of the searches that ended with the last step, with the indices of their requests."""
        for number in self.ended:
            found = [pair for group in self.at_work[number] for pair in group.finished]
            best = max(found, key=lambda pair: pair[0])[1]
            yield number, self.decoder.answer(self.requests[number], self.prompts[number], list(best.tokens),
                                              best.log_probs)

    def _begin(self) -> None:
        """Read the prompts of as many requests as the rows hold, one at least."""
        numbers, used = [], 0
        while self.waiting:
            beams = self.requests[self.waiting[-1]].sampling.num_beams
            if numbers and used + beams > self.decoder.rows:
                break
            numbers.append(self.waiting.pop())
            used += beams
        prompts = [self.prompts[number] for number in numbers]
        self.cache, self.logits_NV = read_prompts(self.decoder.model, prompts, self.decoder.tokenizer.pad_token_id)
        before = self.cache.get_seq_length() - max(map(len, prompts))  # a soft prompt
        self.cached_N = torch.tensor([before + len(prompt) for prompt in prompts], device=self.logits_NV.device)
        for row, number in enumerate(numbers):
            sampling = self.requests[number].sampling
            self.at_work[number] = [Group(sampling.num_beams // sampling.num_beam_groups, [Hypothesis(row=row)])
                                    for _ in range(sampling.num_beam_groups)]

    def _read(self) -> None:
        """Run the model over the last token of each hypothesis."""
        groups = [group for groups in self.at_work.values() for group in groups if group.open]
        running = [hypothesis for group in groups for hypothesis in group.running]
        device = self.logits_NV.device
        parents = torch.tensor([hypothesis.row for hypothesis in running], device=device)
        tokens = torch.tensor([hypothesis.tokens[-1:] for hypothesis in running], device=device)
        self.cached_N = self.cached_N[parents]
        self.cache = joined([(self.cache, parents, int(self.cached_N.max()))], room=1)
        self.logits_NV = read_token(self.decoder.model, self.cache, self.cached_N, tokens)
        self.cached_N = self.cached_N + 1
        row = 0
        for group in groups:
            group.running = [replace(hypothesis, row=row + place) for place, hypothesis in enumerate(group.running)]
            row += len(group.running)

    def _step(self, number: int, groups: Sequence[Group], log_probs_NV: Tensor) -> None:
        """One step of each group of a request, the later ones kept away from the earlier ones."""
        request, prompt = self.requests[number], self.prompts[number]
        sampling, end = request.sampling, self.decoder.tokenizer.eos_token_id

        def ends(tokens: tuple[int, ...]) -> bool:
            return (tokens[-1] == end or len(tokens) == sampling.max_tokens
                    or self.decoder.stopped(request, list(tokens)))

        chosen: Counter[int] = Counter()
        for group in groups:
            if not group.open:
                continue
            log_probs_RV = log_probs_NV[[hypothesis.row for hypothesis in group.running]]
            past = Past([prompt] * len(group.running), [list(hypothesis.tokens) for hypothesis in group.running],
                        log_probs_RV, log_probs_RV, self.breakers.get(sampling.dry_sequence_breakers, frozenset()))
            scores_RV = processed(log_probs_RV, sampling, past)[0].clone()
            for token, times in chosen.items():
                scores_RV[:, token] -= sampling.diversity_penalty * times
            scores_RV += torch.tensor([[hypothesis.score] for hypothesis in group.running], device=scores_RV.device)
            group.extend(scores_RV, log_probs_RV, ends, sampling)
            chosen.update(hypothesis.tokens[-1] for hypothesis in group.running)
