"""The engine: who joins late, leaves early or fails changes nothing for the others, and nothing is kept of them."""

import threading
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from preceptor.generate.decoder import Answer, Request
from preceptor.generate.engine import Engine, Full, Job
from preceptor.generate.growing import Growing
from preceptor.generate.guard import GuardedDecoder, Policy
from preceptor.generate.local import LocalDecoder
from preceptor.run.errors import UserError
from tests.generate.conftest import ask


class Told:
    """What an engine tells of one request."""

    def __init__(self, decoder: LocalDecoder, request: Request, streams: bool = True) -> None:
        self.pieces: list[str] = []
        self.last: Answer | Exception | None = None
        self.began, self.over = threading.Event(), threading.Event()
        self.job = Job(request, decoder.prompt_tokens(request), self._hear, streams)

    def _hear(self, said: str | Answer | Exception) -> None:
        self.began.set()
        if isinstance(said, str):
            self.pieces.append(said)
        else:
            self.last = said
            self.over.set()

    def answer(self) -> Answer:
        assert self.over.wait(20)
        assert isinstance(self.last, Answer), self.last
        return self.last


SHAPED = [{"repetition_penalty": 1.3}, {"mirostat_tau": 3.0}, {"dry_multiplier": 0.8, "dry_sequence_breakers": (" ",)},
          {"temperature": 0, "num_beams": 3}, {"temperature": 0, "penalty_alpha": 0.5, "top_k": 4},
          {"temperature": 0, "prompt_lookup_num_tokens": 3}, {"stop": ("a", "on")}]


def test_requests_that_join_others_get_the_answers_that_they_get_alone(model: nn.Module, tokenizer: Any,
                                                                       requests: list[Request]) -> None:
    requests = requests + [ask("ado emi", seed=n, max_tokens=9 + 5 * n, **options) for n, options in enumerate(SHAPED)]
    alone = [LocalDecoder(model, tokenizer).answers([request])[0] for request in requests]
    decoder = LocalDecoder(model, tokenizer, rows=5)
    engine = Engine(decoder)
    told = [Told(decoder, request) for request in requests]
    for number, one in enumerate(told):
        engine.submit([one.job])
        if number % 3 == 0:
            assert one.began.wait(20)  # the next join while others are written
    for one, expected in zip(told, alone):
        answer = one.answer()
        assert answer.response == expected.response and answer.prompt_tokens == expected.prompt_tokens
        assert answer.log_probs == pytest.approx(expected.log_probs, abs=1e-4)
        assert "".join(one.pieces) == expected.response.text
    engine.close()
    assert not engine._together and not engine._call.requests and not engine._shaper.requests and not engine._calls


def test_one_that_leaves_frees_its_row_and_hears_no_more(endless: nn.Module, tokenizer: Any) -> None:
    decoder = LocalDecoder(endless, tokenizer, rows=1)
    engine = Engine(decoder, waiting=1)
    first, second = (Told(decoder, ask("ado", seed=n, max_tokens=50)) for n in range(2))
    blocked, go = threading.Event(), threading.Event()

    def hold(said: object) -> None:
        blocked.set()
        go.wait(20)
    first.job.tell = hold  # the engine stands still in the midst of the first answer
    engine.submit([first.job])
    assert blocked.wait(20)
    engine.submit([second.job])
    with pytest.raises(Full):
        engine.submit([Told(decoder, ask("one too many")).job])
    first.job.tell = first._hear
    engine.cancel([first.job])
    go.set()
    assert second.answer().response == LocalDecoder(endless, tokenizer).answers([second.job.request])[0].response
    assert first.last is None and engine.at_work() == 0
    engine.close()


def test_a_request_that_fails_fails_alone(endless: nn.Module, tokenizer: Any) -> None:
    decoder = LocalDecoder(endless, tokenizer)
    engine = Engine(decoder)
    good = [Told(decoder, ask(f"ado {n}", seed=n, max_tokens=20)) for n in range(3)]
    bad = Told(decoder, ask("emi", temperature=0.5, top_k=1, no_repeat_ngram_size=1, max_tokens=20,
                            order=("top_k", "no_repeat_ngram_size", "temperature")), streams=False)
    engine.submit([one.job for one in good] + [bad.job])
    for one in good:
        expected = LocalDecoder(endless, tokenizer).answers([one.job.request])[0].response
        assert one.answer().response == expected and "".join(one.pieces) == expected.text
    assert bad.over.wait(20)
    with pytest.raises(UserError):
        LocalDecoder(endless, tokenizer).answers([bad.job.request])
    assert isinstance(bad.last, UserError)
    engine.close()


def test_closing_ends_what_is_left(endless: nn.Module, tokenizer: Any) -> None:
    decoder = LocalDecoder(endless, tokenizer, rows=1)
    engine = Engine(decoder)
    told = [Told(decoder, ask("ado", seed=n, max_tokens=50)) for n in range(40)]
    engine.submit([one.job for one in told])
    engine.close()
    assert all(one.over.is_set() for one in told) and isinstance(told[-1].last, Full)
    with pytest.raises(Full):
        engine.submit([told[0].job])


def test_a_question_that_cannot_be_put_differently_fails_alone(looping: nn.Module, tokenizer: Any,
                                                               monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = LocalDecoder(looping, tokenizer)
    engine = Engine(decoder)
    refused, other = (Told(decoder, ask("ado", max_tokens=45, temperature=0)) for _ in range(2))
    refused.job.policy = Policy(("regenerate", "stop"))

    def template(request: Request) -> list[int]:
        raise ValueError("the chat template refuses these messages")
    monkeypatch.setattr(decoder, "prompt_tokens", template)
    engine.submit([refused.job, other.job])
    assert refused.over.wait(20) and isinstance(refused.last, ValueError)
    assert other.answer() and engine.alive()
    engine.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_nobody_waits_for_an_engine_that_has_failed(endless: nn.Module, tokenizer: Any) -> None:
    decoder = LocalDecoder(endless, tokenizer, rows=1)
    engine = Engine(decoder)
    first, second = (Told(decoder, ask("ado", seed=n, max_tokens=50)) for n in range(2))

    def fail(said: object) -> None:
        if isinstance(said, str):
            raise ValueError("a mistake of ours")
    first.job.tell = fail
    engine.submit([first.job, second.job])
    assert second.over.wait(20) and isinstance(second.last, ValueError)
    engine._thread.join(20)
    assert not engine.alive() and engine.at_work() == 0
    with pytest.raises(Full):
        engine.submit([Told(decoder, ask("ado")).job])
    engine.close()


def test_jobs_under_guard_get_the_guard_s_answers_in_one_piece(looping: nn.Module, tokenizer: Any) -> None:
    requests = [ask(f"ado {n}", seed=n, max_tokens=45, **options) for n, options in enumerate(
        [{"temperature": 0}, {"temperature": 0, "stop": ("kemi ona",)}, {"temperature": 0, "num_beams": 2}, {}])]
    policies = [Policy(), Policy(("roll_back", "stop")), Policy(("stop",)), Policy(("regenerate", "stop"))]
    decoder = LocalDecoder(looping, tokenizer, rows=3)
    engine = Engine(decoder)
    told = [Told(decoder, request) for request in requests]
    free = Told(decoder, requests[0])  # beside them, nobody watches this one
    for one, policy in zip(told, policies):
        one.job.policy = policy
    engine.submit([one.job for one in (*told, free)])
    for one, request, policy in zip(told, requests, policies):
        expected = GuardedDecoder(LocalDecoder(looping, tokenizer), policy).answers([request])[0]
        answer = one.answer()
        assert answer.response == expected.response and "".join(one.pieces) == expected.response.text
        assert answer.log_probs == pytest.approx(expected.log_probs, abs=1e-3)
        assert len(one.pieces) == 1
    assert "guard" in told[0].answer().response.sampling and "guard" not in free.answer().response.sampling
    engine.close()
    assert not engine._writer.watches and not engine._writer.loops and not engine._writer.kept


def test_a_lost_batch_is_written_again_under_guard_too(looping: nn.Module, tokenizer: Any, monkeypatch: Any) -> None:
    decoder = LocalDecoder(looping, tokenizer, rows=3)
    engine = Engine(decoder)
    request = ask("ado", max_tokens=45, temperature=0)
    guarded, plain = Told(decoder, request), Told(decoder, request)
    guarded.job.policy = Policy()
    advance, turns = engine._call.advance, iter(range(100))

    def fails() -> bool:
        if next(turns) == 9:
            raise RuntimeError("the batch is lost")
        return advance()
    monkeypatch.setattr(engine._call, "advance", fails)
    engine.submit([guarded.job, plain.job])
    alone = LocalDecoder(looping, tokenizer)
    assert guarded.answer().response == GuardedDecoder(alone).answers([request])[0].response
    assert plain.answer().response == alone.answers([request])[0].response
    assert "".join(plain.pieces) == plain.answer().response.text
    engine.close()


@settings(max_examples=60, deadline=None)
@given(texts=st.lists(st.sampled_from(["a", "né", "🙂 ", "中文", "\n", " ona", "\x00"]), max_size=12),
       stops=st.lists(st.sampled_from(["na", "文o", " 🙂", "x"]), max_size=2))
def test_a_growing_text_is_a_beginning_of_the_whole_at_every_token(tokenizer: Any, texts: list[str],
                                                                   stops: list[str]) -> None:
    text = "".join(texts).lstrip()
    tokens = tokenizer("".join(texts), add_special_tokens=False)["input_ids"]
    growing, before = Growing(tokenizer, stops), ""
    for token in tokens:
        growing.add(token)
        assert growing.text.startswith(before) and text.startswith(growing.text)
        before = growing.text
    held = max([len(stop) for stop in stops], default=1) - 1
    assert len(growing.text) >= len(text) - held
