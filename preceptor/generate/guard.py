"""The guard: watches answers while they are written, and acts when one has begun to go round in circles.

The watch is `metrics/watch.py` on the model's tokens. What is done is a policy: a list of actions, tried one after the
other for each answer that loops, the last of which ends the matter:

    stop          the answer ends before the second copy
    roll_back     the answer goes back to before the second copy, and goes on from there with another strategy
    regenerate    the prompt is put differently, and answered anew
    queue         a person gets prompt and answer; the answer ends before the second copy

Every action is an `Event`, kept, counted, and saved with the answer.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from preceptor.data.records import Prompt, Response
from preceptor.generate.call import RowCall
from preceptor.generate.decoder import Answer, Request, Sampling, in_order
from preceptor.generate.local import LocalDecoder, check_states, evaluating
from preceptor.generate.processors import Shaper
from preceptor.generate.watched import Watched, token_units
from preceptor.metrics.meaning import Limits
from preceptor.metrics.watch import Loop, Unit, first_loop, units
from preceptor.run.errors import UserError, nearest

ACTIONS = ("stop", "roll_back", "regenerate", "queue")
RECOVERY = {"temperature": 0.9, "top_p": 0.95, "dry_multiplier": 1.0, "dry_sequence_breakers": ()}


@dataclass(frozen=True, slots=True)
class Event:
    """One loop and what was done about it. `at` is the token of the answer at which it was seen."""

    prompt: str
    kind: str
    start: int
    period: int
    at: int
    action: str


@dataclass(frozen=True, slots=True)
class Policy:
    """What to do about loops."""

    actions: tuple[str, ...] = ("roll_back", "roll_back", "stop")
    """The first loop of an answer meets the first action, the next the second, and so on; the last ends the answer."""
    recovery: dict[str, Any] = field(default_factory=lambda: dict(RECOVERY))
    """Decoding options that change when an answer is rolled back or written anew."""

    def __post_init__(self) -> None:
        for action in self.actions:
            if action not in ACTIONS:
                raise UserError(f"The guard has no action '{action}'.", nearest(action, ACTIONS))
        if not self.actions or self.actions[-1] not in ("stop", "queue"):
            raise UserError("The guard's last action must end the matter.", "Put stop or queue at the end of actions.")


@dataclass(eq=False, slots=True)
class Guarded:
    """An answer in the making under guard: the loops that it met, and what was kept of it."""

    request: Request
    prompt: list[int]
    policy: Policy
    rephrase: Callable[[Prompt, int], Prompt]
    changed: Request = field(init=False)
    """The request as the policy has changed it."""
    kept: list[int] = field(default_factory=list)
    log_probs: list[float] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.changed = self.request

    def rest(self) -> Request:
        """The request for what is missing; whoever watches it looks for its stop texts, too."""
        room = self.request.sampling.max_tokens - len(self.kept)
        return replace(self.changed, sampling=replace(self.changed.sampling, max_tokens=room, stop=()))

    def read(self) -> list[int]:
        """The tokens that `rest` goes on from."""
        return self.prompt + self.kept

    def took(self, decoder: LocalDecoder, added: Answer, loop: Loop | None) -> Answer | None:
        """What comes of what was added, up to a loop: the finished answer, or None where `rest` is to be written."""
        tokens, log_probs = self.kept + added.response.token_ids, self.log_probs + added.log_probs
        if loop is None:
            return self._finished(decoder, tokens, log_probs)
        action = self.policy.actions[min(len(self.events), len(self.policy.actions) - 1)]
        self.events.append(Event(self.changed.prompt.id, loop.kind, loop.start, loop.period, len(tokens), action))
        tokens, log_probs = tokens[:loop.start], log_probs[:loop.start]
        if action in ("stop", "queue"):
            return self._finished(decoder, tokens, log_probs)
        attempt = len(self.events)
        sampling = recovering(self.changed.sampling, self.policy)
        self.changed = replace(self.changed, sampling=sampling, seed=self.changed.seed + attempt)
        if action == "roll_back":
            self.kept, self.log_probs = tokens, log_probs
        else:
            self.changed = replace(self.changed, prompt=self.rephrase(self.changed.prompt, attempt))
            self.prompt, self.kept, self.log_probs = decoder.prompt_tokens(self.changed), [], []
        return None

    def _finished(self, decoder: LocalDecoder, tokens: list[int], log_probs: list[float]) -> Answer:
        """The answer with its events; one that was stopped says so."""
        answer = decoder.answer(self.request, self.prompt, tokens, log_probs)
        response = answer.response
        stopped = bool(self.events) and self.events[-1].action in ("stop", "queue")
        if self.events:
            events = [asdict(event) for event in self.events]
            response = replace(response, sampling={**response.sampling, "guard": events})
        return replace(answer, response=replace(response, finish="stop") if stopped else response)


class GuardedDecoder:
    """A local decoder under guard; its answers carry their events in `response.sampling["guard"]`.

    `meaning` are limits for the repetition of meaning (`watched.calibrate`); without them words alone are watched.
    `rephrase(prompt, attempt)` gives the prompt to answer instead, for `regenerate`; `queue(request, answer)` takes
    what a person should see. `events` and `counts` tell what was done so far. Sampled and greedy answers are watched as
    they are written, answers of searches when they are finished.
    """

    def __init__(self, decoder: LocalDecoder, policy: Policy | None = None, *,
                 rephrase: Callable[[Prompt, int], Prompt] | None = None,
                 queue: Callable[[Request, Answer], None] | None = None, meaning: Limits | None = None) -> None:
        self.decoder, self.policy, self.meaning = decoder, policy or Policy(), meaning
        self.rephrase, self.queue = rephrase or put_differently, queue
        if "queue" in self.policy.actions and queue is None:
            raise UserError("The guard is to hand loops to a person's queue, and no queue is given.",
                            "Give a queue, or take stop as the last action.")
        if meaning is not None:
            check_states(decoder.model, "The watch over meaning", "watch words alone")
        self.units = token_units(decoder.tokenizer)
        self.events: list[Event] = []

    def counts(self) -> Counter[tuple[str, str]]:
        """How often each (kind of loop, action) occurred."""
        return Counter((event.kind, event.action) for event in self.events)

    def answers(self, requests: Sequence[Request]) -> list[Answer]:
        """The answers in the order of the requests; errors as in `generate`."""
        return in_order(self, requests)

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[int, Answer]]:
        """Yield (index of the request, its answer) as answers are finished; errors as in `LocalDecoder.generate`."""
        if any(request.allowed for request in requests):
            raise UserError("The guard rolls answers back, which a grammar cannot follow.",
                            "Ask for answers under a grammar without the guard.")
        jobs = {number: Guarded(request, self.decoder.prompt_tokens(request), self.policy, self.rephrase)
                for number, request in enumerate(requests)}
        while jobs:
            again = {}
            for number, added, loop in self._written(jobs):
                answer = jobs[number].took(self.decoder, added, loop)
                if loop is not None:
                    self.events.append(jobs[number].events[-1])
                if answer is None:
                    again[number] = jobs[number]
                    continue
                if loop is not None and self.events[-1].action == "queue":
                    self.queue(requests[number], answer)
                yield number, answer
            jobs = again

    def _written(self, jobs: dict[int, Guarded]) -> Iterator[tuple[int, Answer, Loop | None]]:
        """What the decoder adds to each job, up to a loop."""
        searches = [number for number, job in jobs.items() if job.changed.sampling.strategy != "sample"]
        for number, answer in zip(searches, self.decoder.answers([jobs[number].changed for number in searches])):
            yield number, answer, seen(self.units, answer)
        drawn = [number for number in jobs if number not in searches]
        requests, prompts = [jobs[number].rest() for number in drawn], [jobs[number].read() for number in drawn]
        writer = Watched(self.decoder, Shaper(requests, prompts, self.decoder.tokenizer), self.units, self.meaning)
        for place, number in enumerate(drawn):
            writer.watch(place, jobs[number].kept, jobs[number].request.sampling.stop)
        call = RowCall(self.decoder, requests, prompts, writer, self.decoder.rows)
        with evaluating(self.decoder.model):
            while call.advance():
                yield from ((drawn[place], answer, writer.loops.get(place)) for place, answer in call.finished())


class LoopPenalty:
    """A reward for rollouts: 0, and `-penalty` for an answer that loops (`data/reward.py`)."""

    def __init__(self, penalty: float = 1.0) -> None:
        self.penalty = penalty

    def score(self, prompts: Sequence[Prompt], responses: Sequence[Response]) -> list[float]:
        """One score a response."""
        return [-self.penalty if first_loop(units(response.text)) else 0.0 for response in responses]


def put_differently(prompt: Prompt, attempt: int) -> Prompt:
    """The prompt with a request to say nothing twice, in the language that it is written in."""
    last = prompt.messages[-1]
    chinese = any("\u4e00" <= char <= "\u9fff" for char in str(last["content"]))
    wish = "请简短回答，不要重复。" if chinese else "Answer briefly, and say nothing twice."
    return replace(prompt, messages=[*prompt.messages[:-1], {**last, "content": f"{last['content']}\n{wish}"}])


def first_part(prompt: Prompt, attempt: int) -> Prompt:
    """A part of a long prompt: its last message without the later half of its sentences, for `rephrase`."""
    last = prompt.messages[-1]
    lines = str(last["content"]).replace("。", "。\n").replace(". ", ".\n").splitlines()
    half = "\n".join(lines[:max(1, len(lines) // 2)])
    return replace(prompt, messages=[*prompt.messages[:-1], {**last, "content": half}])


def seen(table: Sequence[Unit], answer: Answer) -> Loop | None:
    """The loop of an answer that nobody watched; `table` are the units of all tokens."""
    found = first_loop(table[token] for token in answer.response.token_ids)
    return found and found[0]


def recovering(sampling: Sampling, policy: Policy) -> Sampling:
    """How an answer goes on behind a loop: with the recovery's options, and all searches off, which would find the same
    loop again.

    Raises:
        UserError: the recovery's options do not fit the others.
    """
    return replace(sampling, **{
        "num_beams": 1, "num_beam_groups": 1, "diversity_penalty": 0.0, "length_penalty": 1.0, "early_stopping": False,
        "penalty_alpha": 0.0, "num_assistant_tokens": 0, "prompt_lookup_num_tokens": 0, **policy.recovery})
