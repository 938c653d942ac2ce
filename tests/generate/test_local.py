"""The local decoder: the same answer alone and in any batch, the right log-probabilities, endings, streaming."""

import dataclasses
import random
from typing import Any

import pytest
import torch
from torch import nn

from preceptor.data.batches import Example, collate
from preceptor.generate.decoder import Answer, Request
from preceptor.generate.growing import settled
from preceptor.generate.local import LocalDecoder, cut
from preceptor.models.causal import hidden_states
from preceptor.run.errors import UserError
from preceptor.tokenizer.chat import encode_prompt
from preceptor.tokenizer.fingerprint import fingerprint
from tests.generate.conftest import CONTEXT, ask


def assert_same(left: Answer, right: Answer) -> None:
    assert left.response == right.response and left.prompt_tokens == right.prompt_tokens
    assert left.log_probs == pytest.approx(right.log_probs, abs=1e-4)


@torch.no_grad()
def recomputed(model: nn.Module, tokenizer: Any, answer: Answer, temperature: float) -> torch.Tensor:
    """The answer's log-probabilities by one forward pass without a cache, as training computes them."""
    tokens = answer.prompt_tokens + answer.response.token_ids
    other = Example.of_text("other", encode_prompt(tokenizer, ask("another text in the same row").prompt))
    batch = collate([[other, Example.of_text("answer", tokens)]], tokenizer.pad_token_id)
    hidden = hidden_states(model, batch)[0, len(other.tokens) + len(answer.prompt_tokens) - 1:-1]
    log_probs = (model.get_output_embeddings()(hidden) / temperature).log_softmax(-1)
    return log_probs.gather(-1, torch.tensor(answer.response.token_ids)[:, None])[:, 0]


def test_an_answer_is_the_same_alone_and_in_any_batch(model: nn.Module, tokenizer: Any,
                                                      requests: list[Request]) -> None:
    alone = [LocalDecoder(model, tokenizer).answers([request])[0] for request in requests]
    for rows in (64, 3):
        for one, other in zip(alone, LocalDecoder(model, tokenizer, rows=rows).answers(requests)):
            assert_same(one, other)
    order = list(range(len(requests)))
    random.Random(0).shuffle(order)
    shuffled = dict(LocalDecoder(model, tokenizer, rows=7).generate([requests[number] for number in order]))
    for place, number in enumerate(order):
        assert_same(alone[number], shuffled[place])
    same_prompt = {tuple(answer.response.token_ids) for answer in alone[-6:]}
    assert len(same_prompt) > 3, "other seeds must give other answers to the same prompt"


def test_log_probs_are_those_of_a_forward_pass_over_packed_rows(model: nn.Module, tokenizer: Any,
                                                                requests: list[Request]) -> None:
    for request, answer in zip(requests, LocalDecoder(model, tokenizer, rows=6).answers(requests)):
        assert len(answer.log_probs) == len(answer.response.token_ids)
        expected = recomputed(model, tokenizer, answer, request.sampling.temperature or 1.0)
        torch.testing.assert_close(torch.tensor(answer.log_probs), expected, atol=1e-4, rtol=0)


def test_greedy_answers_are_those_of_the_library(model: nn.Module, tokenizer: Any) -> None:
    requests = [ask("ado " * n, temperature=0, max_tokens=20) for n in range(1, 6)]
    for answer in LocalDecoder(model, tokenizer).answers(requests):
        prompt = torch.tensor([answer.prompt_tokens])
        written = model.generate(prompt, attention_mask=torch.ones_like(prompt), do_sample=False, max_new_tokens=20,
                                 pad_token_id=tokenizer.pad_token_id)[0, prompt.shape[1]:]
        assert answer.response.token_ids == written.tolist()


def test_an_answer_ends_at_the_end_of_text_or_at_its_limit(llama: nn.Module, tokenizer: Any,
                                                           requests: list[Request]) -> None:
    many = [dataclasses.replace(request, seed=request.seed + 1000 * n) for n in range(5) for request in requests]
    answers = LocalDecoder(llama, tokenizer, rows=16, name="tiny").answers(many)
    finishes = [answer.response.finish for answer in answers]
    assert finishes.count("eos") > 20 and finishes.count("length") > 20
    for request, answer in zip(many, answers):
        response, end = answer.response, tokenizer.eos_token_id
        assert end not in response.token_ids[:-1]
        assert (response.token_ids[-1] == end) == (response.finish == "eos")
        assert len(response.token_ids) <= request.sampling.max_tokens
        assert response.finish == "eos" or len(response.token_ids) == request.sampling.max_tokens
        assert response.text == tokenizer.decode([token for token in response.token_ids if token != end]).lstrip()
        assert (response.model, response.tokenizer) == ("tiny", fingerprint(tokenizer))
        assert response.sampling == {**request.sampling.to_dict(), "seed": request.seed}


def test_answers_are_drawn_from_the_model(llama: nn.Module, tokenizer: Any) -> None:
    count = 4000
    requests = [ask("ado", seed=n, max_tokens=1) for n in range(count)]
    answers = LocalDecoder(llama, tokenizer, rows=count).answers(requests)
    with torch.no_grad():
        logits = llama(torch.tensor([answers[0].prompt_tokens])).logits[0, -1]
    expected = logits.softmax(-1)
    shares = torch.bincount(torch.tensor([answer.response.token_ids[0] for answer in answers]),
                            minlength=len(expected)) / count
    assert (shares - expected).abs().max() < 4 * (0.25 / count) ** 0.5
    assert (shares - expected).abs().sum() / 2 < 0.08  # total variation; 0.05 is usual for 4 000 draws of this law


def test_a_prompt_too_long_loses_its_beginning_and_is_counted(model: nn.Module, tokenizer: Any) -> None:
    decoder = LocalDecoder(model, tokenizer)
    long = ask("ona " * 60 + "emi", max_tokens=2)
    # The long row ends at the very end of the context and is carried along while most of the others go on.
    answers = decoder.answers([long, *(ask("ado", seed=n, max_tokens=30) for n in range(16))])
    assert decoder.truncated == 1
    assert answers[0].prompt_tokens == encode_prompt(tokenizer, long.prompt)[-(CONTEXT - 2):]
    torch.testing.assert_close(torch.tensor(answers[0].log_probs), recomputed(model, tokenizer, answers[0], 1.0),
                               atol=1e-4, rtol=0)


def test_an_answer_as_long_as_the_context_is_refused(llama: nn.Module, tokenizer: Any) -> None:
    with pytest.raises(UserError, match="no room for a prompt"):
        LocalDecoder(llama, tokenizer).answers([ask("ado", max_tokens=CONTEXT)])


def test_no_requests_give_no_answers(llama: nn.Module, tokenizer: Any) -> None:
    assert LocalDecoder(llama, tokenizer).answers([]) == []


def test_the_mode_of_the_model_is_restored(llama: nn.Module, tokenizer: Any) -> None:
    requests = [ask("ado", seed=n) for n in range(4)]
    expected = LocalDecoder(llama, tokenizer).answers(requests)
    noise = llama.lm_head.register_forward_hook(lambda module, _, output: output * (0 if module.training else 1))
    llama.train()
    try:
        decoder = LocalDecoder(llama, tokenizer, rows=2)
        for one, other in zip(expected, decoder.answers(requests)):
            assert_same(one, other)
        assert llama.training
        started = decoder.generate(requests)
        next(started)
        assert torch.is_inference_mode_enabled() is False, "whoever takes the answers may train with them"
        started.close()
        assert llama.training
    finally:
        noise.remove()
        llama.eval()


def test_a_stop_text_ends_the_answer_and_is_not_in_it(llama: nn.Module, tokenizer: Any) -> None:
    free = [ask("ado", seed=n, max_tokens=40) for n in range(40)]
    stops = ("a", "e", "i", "ona", "m")
    stopping = [dataclasses.replace(request, sampling=dataclasses.replace(request.sampling, stop=stops))
                for request in free]
    decoder = LocalDecoder(llama, tokenizer, rows=8)
    stopped = 0
    for whole, ended in zip(decoder.answers(free), decoder.answers(stopping)):
        before = cut(whole.response.text, stops)
        if before is None:
            assert ended.response.text == whole.response.text and ended.response.finish != "stop"
            continue
        stopped += 1
        response = ended.response
        assert (response.text, response.finish) == (before, "stop")
        assert response.token_ids == whole.response.token_ids[:len(response.token_ids)]
        assert len(ended.log_probs) == len(response.token_ids)
        assert tokenizer.decode(response.token_ids).lstrip().startswith(response.text)
        if response.token_ids:
            assert not tokenizer.decode(response.token_ids[:-1]).lstrip().startswith(response.text)
    assert 10 < stopped < 40


@pytest.mark.parametrize("stop", [(), ("a", "on")], ids=["no stop", "stops"])
def test_a_stream_gives_the_text_of_the_answer_in_pieces(llama: nn.Module, tokenizer: Any, stop: tuple) -> None:
    several = 0
    for seed in range(8):
        request = ask("ado", seed=seed, max_tokens=24, stop=stop)
        pieces = list(LocalDecoder(llama, tokenizer).stream(request))
        assert "".join(pieces) == LocalDecoder(llama, tokenizer).answers([request])[0].response.text
        several += len(pieces) > 3
    assert several > 2


def test_a_stream_never_shows_half_a_character(llama: nn.Module, tokenizer: Any) -> None:
    """A model that is made to write 日本 byte by byte."""
    script = tokenizer("日本", add_special_tokens=False)["input_ids"] + [tokenizer.eos_token_id]
    assert len(script) == 7
    request = ask("x", temperature=0)

    def dictate(module: nn.Module, inputs: tuple, output: torch.Tensor) -> torch.Tensor:
        output[:, -1, script[done.pop()]] = 1e4
        return output

    done = list(range(len(script)))[::-1]
    hook = llama.lm_head.register_forward_hook(dictate)
    try:
        assert list(LocalDecoder(llama, tokenizer).stream(request)) == ["日", "本", ""]
    finally:
        hook.remove()


@pytest.mark.parametrize("text, stops, expected", [
    ("abc", (), "abc"), ("ab\ufffd", (), "ab"), ("ab\n", ("\n\nUser",), "ab"), ("ab\n\nUs", ("\n\nUser",), "ab"),
    ("a\ufffdb", (), "a\ufffdb"), ("xaa", ("aab",), "x")])
def test_what_may_still_change_is_held_back(text: str, stops: tuple[str, ...], expected: str) -> None:
    assert settled(text, stops) == expected
