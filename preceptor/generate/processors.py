"""The processors of each request, in its order: what a batch's logits become before tokens are drawn from them.

R rows of one batch with equal options, N rows of the batch, V entries of the vocabulary.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from preceptor.generate import cuts, penalties
from preceptor.generate.decoder import Request, Sampling
from preceptor.generate.sampling import normals, substream, uniforms
from preceptor.run.errors import UserError

XTC_STREAM, NOISE_STREAM = 1, 2  # numbers apart from those that tokens are drawn with


@dataclass(slots=True)
class Past:
    """What the processors of some rows know besides the logits; every list has one item a row."""

    prompts: Sequence[list[int]]
    answers: Sequence[list[int]]
    seeds_R: Tensor
    """Seeds of the requests, int64."""
    limits_R: Tensor
    """Mirostat's limits on the surprise, in bits."""
    breakers: frozenset[int] = frozenset()
    """Tokens that a sequence of DRY does not reach across."""

    def texts(self) -> list[list[int]]:
        """Prompts and answers."""
        return [prompt + answer for prompt, answer in zip(self.prompts, self.answers)]


def _xtc(logits: Tensor, sampling: Sampling, past: Past) -> Tensor:
    numbers = [uniforms(substream(past.seeds_R[row:row + 1], XTC_STREAM), len(answer) + 1)[0, -1]
               for row, answer in enumerate(past.answers)]
    return cuts.xtc(logits, sampling.xtc_threshold, torch.stack(numbers) < sampling.xtc_probability)


def _noise(logits: Tensor, sampling: Sampling, past: Past) -> Tensor:
    place = torch.tensor([len(answer) for answer in past.answers], device=logits.device)
    return logits + sampling.noise * normals(substream(past.seeds_R, NOISE_STREAM + place), logits.shape[-1])


PROCESSORS: dict[str, Callable[[Tensor, Sampling, Past], Tensor]] = {
    "repetition_penalty": lambda x, o, past: penalties.repetition_penalty(x, past.texts(), o.repetition_penalty),
    "presence_penalty": lambda x, o, past: penalties.presence_penalty(x, past.answers, o.presence_penalty),
    "frequency_penalty": lambda x, o, past: penalties.frequency_penalty(x, past.answers, o.frequency_penalty),
    "no_repeat_ngram_size": lambda x, o, past: penalties.no_repeat_ngram(x, past.texts(), o.no_repeat_ngram_size),
    "dry_multiplier": lambda x, o, past: penalties.dry(x, past.texts(), o.dry_multiplier, o.dry_base,
                                                       o.dry_allowed_length, past.breakers),
    "noise": _noise,
    "temperature": lambda x, o, past: x / o.temperature,
    "top_k": lambda x, o, past: cuts.top_k(x, o.top_k),
    "top_p": lambda x, o, past: cuts.top_p(x, o.top_p),
    "min_p": lambda x, o, past: cuts.min_p(x, o.min_p),
    "typical_p": lambda x, o, past: cuts.typical_p(x, o.typical_p),
    "epsilon_cutoff": lambda x, o, past: cuts.epsilon_cutoff(x, o.epsilon_cutoff),
    "eta_cutoff": lambda x, o, past: cuts.eta_cutoff(x, o.eta_cutoff),
    "top_n_sigma": lambda x, o, past: cuts.top_n_sigma(x, o.top_n_sigma),
    "xtc_probability": _xtc,
    "mirostat_tau": lambda x, o, past: cuts.mirostat(x, past.limits_R),
}


def processed(logits_RV: Tensor, sampling: Sampling, past: Past) -> tuple[Tensor, Tensor]:
    """The logits after all of the request's processors, and those that Mirostat, if it is on, saw before it.

    Raises:
        UserError: they forbid every token, or make numbers of the model's that are none.
    """
    logits_RV = before_mirostat_RV = given_RV = logits_RV.float()
    for name in sampling.processors:
        if name == "mirostat_tau":
            before_mirostat_RV = logits_RV
        logits_RV = PROCESSORS[name](logits_RV, sampling, past)
    largest_R = logits_RV.amax(-1)
    if largest_R.isfinite().all():
        return logits_RV, before_mirostat_RV
    if (largest_R == -torch.inf).any():
        raise UserError(f"Together {', '.join(sampling.processors)} leave no token that could come next.",
                        "Weaken one of them; a no_repeat_ngram_size of 1 forbids every word that was used.")
    if given_RV.amax(-1).isfinite().all():  # else it is the model's fault, which `next_tokens` says
        raise UserError(f"Together {', '.join(sampling.processors)} make logits larger than numbers can be.",
                        "Weaken one of them.")
    return logits_RV, before_mirostat_RV


class Shaper:
    """Applies the processors of those requests of a call that have more than temperature, top-k and top-p.

    Rows of equal options are processed together; a row's result depends on nothing but its own logits, past and seed.
    """

    def __init__(self, requests: Sequence[Request], prompts: Sequence[list[int]], tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.requests: dict[int, Request] = {}
        self.prompts: dict[int, list[int]] = {}
        self.numbers: set[int] = set()
        self.limits: dict[int, float] = {}
        self.breakers: dict[tuple[str, ...], frozenset[int]] = {}
        self._surprises: dict[int, Tensor] = {}
        for number, (request, prompt) in enumerate(zip(requests, prompts)):
            self.add(number, request, prompt)

    def add(self, number: int, request: Request, prompt: list[int]) -> None:
        """Know one more request; errors as in `breaker_tokens`."""
        options = request.sampling
        if options.dry_multiplier and options.dry_sequence_breakers not in self.breakers:
            self.breakers[options.dry_sequence_breakers] = breaker_tokens(self.tokenizer, options.dry_sequence_breakers)
        self.requests[number], self.prompts[number] = request, prompt
        if options.shaped or request.allowed:
            self.numbers.add(number)
            if options.mirostat_tau:
                self.limits[number] = 2 * options.mirostat_tau

    def forget(self, number: int) -> None:
        """Know a request no more."""
        breakers = self.requests.pop(number).sampling.dry_sequence_breakers
        if all(other.sampling.dry_sequence_breakers != breakers for other in self.requests.values()):
            self.breakers.pop(breakers, None)  # a table as large as the vocabulary
        del self.prompts[number]
        self.numbers.discard(number)
        self.limits.pop(number, None)
        self._surprises.pop(number, None)

    def __call__(self, rows: Iterable[tuple[int, int, list[int]]], logits_NV: Tensor) -> tuple[Tensor, Tensor] | None:
        """The rows (indices into the batch, R) that have processors, and their processed logits (R, V).

        `rows` are (row of the batch, index of its request, tokens of its answer so far).
        """
        groups: dict[Sampling, list[tuple[int, int, list[int]]]] = {}
        for row, number, answer in rows:
            if number in self.numbers:
                groups.setdefault(self.requests[number].sampling, []).append((row, number, answer))
        if not groups:
            return None
        done = [(members, self._process(sampling, members, logits_NV)) for sampling, members in groups.items()]
        indices = [row for members, _ in done for row, _, _ in members]
        return torch.tensor(indices, device=logits_NV.device), torch.cat([logits for _, logits in done])

    def _process(self, sampling: Sampling, members: list[tuple[int, int, list[int]]], logits_NV: Tensor) -> Tensor:
        device = logits_NV.device
        numbers = [number for _, number, _ in members]
        past = Past([self.prompts[number] for number in numbers], [answer for _, _, answer in members],
                    torch.tensor([signed(self.requests[number].seed) for number in numbers], device=device),
                    torch.tensor([self.limits.get(number, 0.0) for number in numbers], device=device),
                    self.breakers.get(sampling.dry_sequence_breakers, frozenset()))
        logits_RV = logits_NV[[row for row, _, _ in members]]
        for place, (_, number, answer) in enumerate(members):
            if allowed := self.requests[number].allowed:
                logits_RV[place] = restricted(logits_RV[place], allowed(answer))
        logits_RV, before_RV = processed(logits_RV, sampling, past)
        if sampling.mirostat_tau:
            self._surprises |= dict(zip(numbers, before_RV.log_softmax(-1)))
        return logits_RV

    def drawn(self, number: int, token: int) -> None:
        """Tell Mirostat which token request `number` drew."""
        if number in self._surprises:
            options = self.requests[number].sampling
            log_prob = self._surprises.pop(number)[token]
            self.limits[number] = float(cuts.mirostat_limits(log_prob, torch.tensor(self.limits[number]),
                                                             options.mirostat_tau, options.mirostat_eta))


def restricted(logits_V: Tensor, tokens: Sequence[int]) -> Tensor:
    """The logits with every token but these forbidden.

    Raises:
        UserError: there is none of these.
    """
    if not tokens:
        raise UserError("No token of the model's vocabulary can go on as the answer's grammar asks.",
                        "Take a model whose vocabulary can write every text, such as one of bytes.")
    chosen = torch.tensor(tokens, dtype=torch.long, device=logits_V.device)
    return torch.full_like(logits_V, -torch.inf).index_copy(0, chosen, logits_V[chosen])


def breaker_tokens(tokenizer: Any, breakers: tuple[str, ...]) -> frozenset[int]:
    """The tokens that hold one of DRY's sequence breakers.

    Raises:
        UserError: a breaker is spelt with several tokens, so that none holds it.
    """
    pieces = tokenizer.batch_decode([[token] for token in range(len(tokenizer))])
    for breaker in breakers:
        if not any(breaker in piece for piece in pieces):
            raise UserError(f"No token of this vocabulary holds the whole sequence breaker {breaker!r}.",
                            "Leave it out of dry_sequence_breakers, or take a part of it.")
    return frozenset(token for token, piece in enumerate(pieces) if any(text in piece for text in breakers))


def signed(seed: int) -> int:
    """The low 64 bits of a seed of any size, as the signed integer that a tensor holds."""
    return (seed + 2**63) % 2**64 - 2**63
