"""Beam, diverse beam and contrastive search, contrastive and speculative decoding: the library, or slow oracles."""

import dataclasses
import random
from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from preceptor.data.records import Prompt
from preceptor.generate.contrast import Contrasted, contrasted
from preceptor.generate.decoder import Answer, Request
from preceptor.generate.drawing import looked_up
from preceptor.generate.local import LocalDecoder
from preceptor.run.errors import UserError
from tests.generate.conftest import CONTEXT, ask, build

TEXTS = ["ado", "emi iru ona", "bado kemi ado emi iru", "ona ado"]


def searching(**options: Any) -> list[Request]:
    return [ask(text, temperature=0, max_tokens=12, **options) for text in TEXTS]


@torch.no_grad()
def log_probs_after(model: nn.Module, tokens: list[int]) -> Tensor:
    return model(torch.tensor([tokens])).logits[0, -1].log_softmax(-1)


def check_log_probs(model: nn.Module, answer: Answer) -> None:
    """The log-probabilities are the model's own, whatever the search went by."""
    text = answer.prompt_tokens + answer.response.token_ids
    with torch.no_grad():
        log_probs = model(torch.tensor([text])).logits[0].log_softmax(-1)[len(answer.prompt_tokens) - 1:-1]
    expected = log_probs.gather(-1, torch.tensor(answer.response.token_ids)[:, None])[:, 0]
    torch.testing.assert_close(torch.tensor(answer.log_probs), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("options", [
    {"num_beams": 2}, {"num_beams": 5}, {"num_beams": 3, "length_penalty": 0.0}, {"num_beams": 3, "length_penalty":
    3.0}, {"num_beams": 4, "early_stopping": True}, {"num_beams": 4, "early_stopping": "never", "length_penalty": 1.5},
    {"num_beams": 3, "repetition_penalty": 1.4, "no_repeat_ngram_size": 2}], ids=str)
def test_beam_search_is_the_library_s(llama: nn.Module, tokenizer: Any, options: dict) -> None:
    compare_beams(llama, tokenizer, options)


def test_beam_search_is_the_library_s_in_every_family(model: nn.Module, tokenizer: Any) -> None:
    compare_beams(model, tokenizer, {"num_beams": 3})


def compare_beams(model: nn.Module, tokenizer: Any, options: dict) -> None:
    for answer in LocalDecoder(model, tokenizer, rows=7).answers(searching(**options)):
        prompt = torch.tensor([answer.prompt_tokens])
        written = model.generate(prompt, attention_mask=torch.ones_like(prompt), do_sample=False, max_new_tokens=12,
                                 pad_token_id=tokenizer.pad_token_id, **options)[0, prompt.shape[1]:]
        assert answer.response.token_ids == written.tolist()
        check_log_probs(model, answer)


def test_a_wide_beam_finds_the_likeliest_answer(llama: nn.Module, tokenizer: Any) -> None:
    """With a beam as wide as the vocabulary, two tokens are searched completely."""
    request = ask("ado", temperature=0, max_tokens=2, num_beams=len(tokenizer), length_penalty=0.0,
                  early_stopping="never")
    answer = LocalDecoder(llama, tokenizer, rows=512).answers([request])[0]
    first = log_probs_after(llama, answer.prompt_tokens)
    end = tokenizer.eos_token_id
    with torch.no_grad():
        texts = torch.tensor([[*answer.prompt_tokens, token] for token in range(len(tokenizer))])
        second = llama(texts).logits[:, -1].log_softmax(-1)
    joint = first[:, None] + second
    joint[end] = -torch.inf
    best = max(float(joint.max()), float(first[end]))
    assert sum(answer.log_probs) == pytest.approx(best, abs=1e-4)


def slow_diverse(model: nn.Module, prompt: list[int], end: int, beams: int, groups: int, penalty: float,
                 limit: int) -> list[int]:
    """Diverse beam search without a cache; every hypothesis is (score, tokens)."""
    size = beams // groups
    running = [[(0.0, [])] for _ in range(groups)]
    finished: list[list[tuple[float, list[int]]]] = [[] for _ in range(groups)]
    open_groups = [True] * groups
    for length in range(1, limit + 1):
        chosen: Counter = Counter()
        for g in range(groups):
            if not open_groups[g]:
                continue
            candidates = []
            for score, tokens in running[g]:
                for token, log_prob in enumerate(log_probs_after(model, prompt + tokens).tolist()):
                    candidates.append((score + log_prob - penalty * chosen[token], [*tokens, token]))
            candidates = sorted(candidates, key=lambda pair: -pair[0])[:2 * size]
            done = [pair[1][-1] == end or length == limit for pair in candidates]
            finished[g] += [(score / length, tokens) for (score, tokens), ended in list(zip(candidates, done))[:size]
                            if ended]
            finished[g] = sorted(finished[g], key=lambda pair: -pair[0])[:size]
            running[g] = [pair for pair, ended in zip(candidates, done) if not ended][:size]
            chosen.update(tokens[-1] for _, tokens in running[g])
            open_groups[g] = bool(running[g]) and (len(finished[g]) < size
                                                   or running[g][0][0] / length > finished[g][-1][0])
    return max((pair for group in finished for pair in group), key=lambda pair: pair[0])[1]


@pytest.mark.parametrize("beams, groups, penalty", [(4, 2, 0.5), (4, 4, 2.0)])
def test_diverse_beam_search_is_a_plain_loop(llama: nn.Module, tokenizer: Any, beams: int, groups: int,
                                             penalty: float) -> None:
    requests = [dataclasses.replace(request, sampling=dataclasses.replace(request.sampling, max_tokens=5)) for request
                in searching(num_beams=beams, num_beam_groups=groups, diversity_penalty=penalty)]
    for answer in LocalDecoder(llama, tokenizer).answers(requests):
        expected = slow_diverse(llama, answer.prompt_tokens, tokenizer.eos_token_id, beams, groups, penalty, 5)
        assert answer.response.token_ids == expected


def slow_contrastive(model: nn.Module, prompt: list[int], end: int, top_k: int, alpha: float, limit: int) -> list[int]:
    """Contrastive search by a whole forward pass for every candidate."""
    answer: list[int] = []
    while len(answer) < limit and (not answer or answer[-1] != end):
        text = prompt + answer
        chances = log_probs_after(model, text).exp()
        best = (-float("inf"), -1)
        for token in chances.topk(top_k).indices.tolist():
            with torch.no_grad():
                states = model.base_model(torch.tensor([[*text, token]])).last_hidden_state[0]
            cosines = torch.cosine_similarity(states[:-1], states[-1:], dim=-1)
            best = max(best, (float((1 - alpha) * chances[token] - alpha * cosines.max()), token))
        answer.append(best[1])
    return answer


def test_contrastive_search_is_a_plain_loop_in_any_batch(model: nn.Module, tokenizer: Any) -> None:
    requests = [dataclasses.replace(request, sampling=dataclasses.replace(request.sampling, top_k=k, penalty_alpha=a))
                for request, (k, a) in zip(searching(penalty_alpha=0.6, top_k=4), [(4, 0.6), (8, 0.4), (2, 0.8), (5,
                0.6)])]
    answers = LocalDecoder(model, tokenizer, rows=2).answers(requests)
    for request, answer in zip(requests, answers):
        options = request.sampling
        assert answer.response.token_ids == slow_contrastive(
            model, answer.prompt_tokens, tokenizer.eos_token_id, options.top_k, options.penalty_alpha, 12)
        check_log_probs(model, answer)
    together = LocalDecoder(model, tokenizer, rows=64).answers(requests)
    assert [answer.response for answer in together] == [answer.response for answer in answers]
    greedy = LocalDecoder(model, tokenizer).answers([ask(text, temperature=0, max_tokens=12) for text in TEXTS])
    assert any(one.response.token_ids != other.response.token_ids for one, other in zip(answers, greedy))


@pytest.mark.parametrize("options", [{"top_k": 1, "penalty_alpha": 0.6}, {"top_k": 5, "penalty_alpha": 1e-9}], ids=str)
def test_contrastive_search_without_a_choice_or_a_weight_is_greedy(endless: nn.Module, tokenizer: Any,
                                                                   options: dict) -> None:
    greedy = LocalDecoder(endless, tokenizer).answers([ask(text, temperature=0, max_tokens=12) for text in TEXTS])
    for one, other in zip(LocalDecoder(endless, tokenizer).answers(searching(**options)), greedy):
        assert one.response.token_ids == other.response.token_ids


def test_contrastive_search_streams_and_stops(endless: nn.Module, tokenizer: Any) -> None:
    request = ask("ado", temperature=0, max_tokens=30, top_k=6, penalty_alpha=0.6, stop=("a", "i"))
    decoder = LocalDecoder(endless, tokenizer)
    assert "".join(decoder.stream(request)) == decoder.answers([request])[0].response.text


def test_a_beam_search_streams_its_text_in_one_piece_and_stops(endless: nn.Module, tokenizer: Any) -> None:
    decoder = LocalDecoder(endless, tokenizer)
    request = ask("ado", temperature=0, max_tokens=12, num_beams=3)
    assert list(decoder.stream(request)) == [decoder.answers([request])[0].response.text]
    text = decoder.answers([dataclasses.replace(request, sampling=dataclasses.replace(
        request.sampling, early_stopping=True))])[0].response.text
    letters = sorted(set(text))
    assert letters, "the answer has nothing to stop at"
    stopping = dataclasses.replace(request, sampling=dataclasses.replace(request.sampling, stop=tuple(letters)))
    response = decoder.answers([stopping])[0].response
    assert not set(response.text) & set(letters)


def speculative(request: Request, **options: Any) -> Request:
    return dataclasses.replace(request, sampling=dataclasses.replace(request.sampling, **options))


@pytest.fixture(scope="module")
def copycat(endless: nn.Module, tokenizer: Any) -> nn.Module:
    """A draft model that is often right: the model itself with disturbed weights."""
    torch.manual_seed(5)
    model = build("llama", tokenizer)
    model.load_state_dict(endless.state_dict())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.01)
    return model


@pytest.mark.parametrize("options", [{"num_assistant_tokens": 4}, {"prompt_lookup_num_tokens": 3}], ids=str)
def test_speculation_changes_no_answer(endless: nn.Module, copycat: nn.Module, tokenizer: Any,
                                       options: dict) -> None:
    plain = [ask(text, seed=n, max_tokens=20, **how) for n, (text, how) in enumerate(
        (text, how) for text in TEXTS[:2] for how in ({}, {"temperature": 0}, {"top_k": 4, "temperature": 0.6},
                                                  {"min_p": 0.1, "repetition_penalty": 1.2}, {"stop": ("a",)},
                                                  {"temperature": 0, "frequency_penalty": -3.0}))]
    decoder = LocalDecoder(endless, tokenizer, draft=copycat)
    expected = decoder.answers(plain)
    assert decoder.guessed == 0
    for one, other in zip(decoder.answers([speculative(request, **options) for request in plain]), expected):
        assert one.response.token_ids == other.response.token_ids and one.response.text == other.response.text
        assert one.log_probs == pytest.approx(other.log_probs, abs=1e-4)
    assert decoder.guessed > 20 and 0 < decoder.right <= decoder.guessed


def test_a_right_guess_saves_a_pass_of_the_model(endless: nn.Module, tokenizer: Any) -> None:
    passes: list[int] = []
    hook = endless.register_forward_hook(lambda *_: passes.append(1))
    draft = build("llama", tokenizer)
    draft.load_state_dict(endless.state_dict())
    try:
        decoder = LocalDecoder(endless, tokenizer, draft=draft)
        decoder.answers([ask("ado", temperature=0, max_tokens=21, num_assistant_tokens=4)])
    finally:
        hook.remove()
    assert decoder.right == 16 and len(passes) == 1 + 4, "the prompt, then four times four guesses and one more token"


@pytest.mark.parametrize("text, expected", [([1, 2, 3, 4, 1, 2], [3, 4]), ([1, 2, 5, 1, 2, 6, 1, 2], [6, 1]),
                                            ([1, 1, 1], [1, 1]), ([1, 2], []), ([], [])])
def test_what_is_looked_up_followed_the_same_two_tokens_last(text: list[int], expected: list[int]) -> None:
    assert looked_up(text, 2) == expected


def test_a_draft_model_must_be_there_and_fit(endless: nn.Module, tokenizer: Any) -> None:
    with pytest.raises(UserError, match="the decoder has none"):
        LocalDecoder(endless, tokenizer).answers([ask("ado", num_assistant_tokens=3)])
    other = build("llama", tokenizer)
    other.lm_head = nn.Linear(32, len(tokenizer) + 1)
    with pytest.raises(UserError, match="same tokenizer"):
        LocalDecoder(endless, tokenizer, draft=other)


def test_contrastive_decoding_is_a_plain_loop(endless: nn.Module, copycat: nn.Module, tokenizer: Any) -> None:
    pair = Contrasted(endless, copycat, alpha=0.2, temperature=0.5, name="small")
    answers = LocalDecoder(pair, tokenizer).answers([ask(text, temperature=0, max_tokens=8) for text in TEXTS])
    changed = 0
    assert answers[0].response.sampling["contrastive_decoding"]["amateur"] == "small"
    for answer in answers:
        text = list(answer.prompt_tokens)
        for token in answer.response.token_ids:
            expert = log_probs_after(endless, text)
            with torch.no_grad():
                amateur = (copycat(torch.tensor([text])).logits[0, -1] / 0.5).log_softmax(-1)
            scores = [float(e - a) if e.exp() >= 0.2 * expert.exp().max() else -float("inf")
                      for e, a in zip(expert, amateur)]
            assert token == scores.index(max(scores))
            changed += token != int(expert.argmax())
            text.append(token)
    assert changed > 0


def test_contrastive_decoding_with_a_flat_amateur_is_the_expert(endless: nn.Module) -> None:
    expert = torch.randn(5, 9)
    scores = contrasted(expert, torch.zeros(5, 9), 1e-9, 1.0)
    torch.testing.assert_close(scores.log_softmax(-1), expert.log_softmax(-1))
    assert contrasted(expert, torch.randn(5, 9), 1.0, 1.0).isfinite().sum() == 5


def test_contrasted_models_must_fit(endless: nn.Module, models: dict, tokenizer: Any) -> None:
    with pytest.raises(UserError, match="attention"):
        Contrasted(endless, models["llama, plain attention"])
    with pytest.raises(UserError, match="alpha"):
        Contrasted(endless, endless, alpha=0)


def test_searches_and_draws_can_stand_in_one_call(llama: nn.Module, tokenizer: Any) -> None:
    requests = [*searching(num_beams=3), *searching(penalty_alpha=0.5, top_k=4),
                *(ask(text, seed=n) for n, text in enumerate(TEXTS)), *searching(prompt_lookup_num_tokens=3)]
    random.Random(0).shuffle(requests)
    together = LocalDecoder(llama, tokenizer, rows=5).answers(requests)
    for request, answer in zip(requests, together):
        alone = LocalDecoder(llama, tokenizer).answers([request])[0]
        assert alone.response == answer.response
        assert answer.response.sampling == {**request.sampling.to_dict(), "seed": request.seed}


def test_a_search_at_the_end_of_the_context(model: nn.Module, tokenizer: Any) -> None:
    long = Prompt(id="long", messages=[{"role": "user", "content": "ona " * 70}])
    for options in ({"num_beams": 3}, {"penalty_alpha": 0.5, "top_k": 4}, {"prompt_lookup_num_tokens": 5}):
        request = dataclasses.replace(ask("x", temperature=0, max_tokens=9, **options), prompt=long)
        answer = LocalDecoder(model, tokenizer).answers([request])[0]
        assert len(answer.prompt_tokens) == CONTEXT - 9


