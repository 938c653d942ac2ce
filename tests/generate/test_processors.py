"""Each processor against Hugging Face's of the same name, else against a slow oracle written from its source."""

import math
import random
from collections import Counter
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from transformers.generation import logits_process as library

from preceptor.generate import cuts, penalties
from preceptor.generate.local import LocalDecoder
from preceptor.generate.processors import PROCESSORS, Past, processed
from preceptor.generate.request import ORDER, Sampling
from preceptor.generate.sampling import normals, substream, uniforms
from preceptor.run.errors import UserError
from tests.generate.conftest import ask

VOCABULARY = 12


def many_logits(seed: int, rows: int = 400) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, VOCABULARY, generator=generator) * torch.rand(rows, 1, generator=generator) * 6


def texts(seed: int, length: int = 9, rows: int = 400, kinds: int = 4) -> list[list[int]]:
    draw = random.Random(seed)
    return [[draw.randrange(kinds) for _ in range(length)] for _ in range(rows)]


@pytest.mark.parametrize("ours, theirs", [
    (lambda x: cuts.top_k(x, 3), library.TopKLogitsWarper(3)),
    (lambda x: cuts.top_k(x, 99), library.TopKLogitsWarper(99)),
    (lambda x: cuts.top_p(x, 0.8), library.TopPLogitsWarper(0.8)),
    (lambda x: cuts.top_p(x, 0.05), library.TopPLogitsWarper(0.05)),
    (lambda x: cuts.min_p(x, 0.1), library.MinPLogitsWarper(0.1)),
    (lambda x: cuts.min_p(x, 1.0), library.MinPLogitsWarper(1.0)),
    (lambda x: cuts.typical_p(x, 0.6), library.TypicalLogitsWarper(0.6)),
    (lambda x: cuts.typical_p(x, 0.1), library.TypicalLogitsWarper(0.1)),
    (lambda x: cuts.epsilon_cutoff(x, 0.06), library.EpsilonLogitsWarper(0.06)),
    (lambda x: cuts.epsilon_cutoff(x, 0.9), library.EpsilonLogitsWarper(0.9)),
    (lambda x: cuts.eta_cutoff(x, 0.09), library.EtaLogitsWarper(0.09)),
    (lambda x: cuts.eta_cutoff(x, 0.9), library.EtaLogitsWarper(0.9)),
], ids=lambda value: type(value).__name__)
def test_cuts_are_those_of_the_library(ours: Any, theirs: Any) -> None:
    logits = many_logits(0)
    result = ours(logits)
    assert torch.equal(result, theirs(None, logits))
    gaps = torch.rand(logits.shape, generator=torch.Generator().manual_seed(1)) < 0.3
    with_gaps = logits.masked_fill(gaps, -math.inf)
    with_gaps[:, 0] = 0.0
    assert torch.equal(ours(with_gaps), theirs(None, with_gaps))


@pytest.mark.parametrize("penalty", [1.3, 0.7])
@pytest.mark.parametrize("log_probs", [False, True])
def test_the_repetition_penalty_is_the_library_s(penalty: float, log_probs: bool) -> None:
    logits, past = many_logits(2), texts(2, kinds=VOCABULARY)
    logits = logits.log_softmax(-1) if log_probs else logits
    expected = library.RepetitionPenaltyLogitsProcessor(penalty)(torch.tensor(past), logits.clone())
    assert torch.equal(penalties.repetition_penalty(logits, past, penalty), expected)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 20])
def test_no_repeat_ngram_is_the_library_s(size: int) -> None:
    logits, past = many_logits(3), texts(3)
    expected = library.NoRepeatNGramLogitsProcessor(size)(torch.tensor(past), logits.clone())
    result = penalties.no_repeat_ngram(logits, past, size)
    assert torch.equal(result, expected)
    assert size > 3 or not torch.equal(result, logits)


def test_presence_and_frequency_by_hand() -> None:
    logits = torch.zeros(2, 4)
    presence = penalties.presence_penalty(logits, [[1, 1, 2], []], 0.5)
    assert presence.tolist() == [[0, -0.5, -0.5, 0], [0, 0, 0, 0]]
    frequency = penalties.frequency_penalty(logits, [[1, 1, 2], []], -0.5)
    assert frequency.tolist() == [[0, 1.0, 0.5, 0], [0, 0, 0, 0]]


def slow_dry(text: list[int], allowed: int, multiplier: float, base: float, breakers: set[int]) -> dict[int, float]:
    """The cost of each token by trying every length at every earlier place."""
    costs: dict[int, float] = {}
    for place in range(len(text)):
        if text[place] in breakers:
            continue
        length = 0
        while (length < place and text[place - 1 - length] == text[len(text) - 1 - length]
               and text[place - 1 - length] not in breakers):
            length += 1
        if length >= allowed:
            cost = multiplier * base ** (length - allowed)
            costs[text[place]] = max(cost, costs.get(text[place], 0))
    return costs


@settings(max_examples=300, deadline=None)
@given(st.lists(st.integers(0, 3), max_size=24), st.integers(1, 4), st.sets(st.integers(0, 3), max_size=2))
def test_dry_is_what_trying_every_place_gives(text: list[int], allowed: int, breakers: set[int]) -> None:
    result = penalties.dry(torch.zeros(1, 4), [text], 0.8, 1.75, allowed, breakers)[0]
    costs = slow_dry(text, allowed, 0.8, 1.75, breakers)
    torch.testing.assert_close(result, -torch.tensor([costs.get(token, 0.0) for token in range(4)]))


def test_dry_does_not_overflow() -> None:
    result = penalties.dry(torch.zeros(1, 4), [[1] * 1000], 0.8, 1.75, 2, set())
    assert -math.inf < result[0, 1] < -1e30 and result[0, 0] == 0


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(-6, 6), min_size=2, max_size=8), st.floats(0.01, 0.6))
def test_xtc_leaves_only_the_least_likely_of_the_top_choices(row: list[float], threshold: float) -> None:
    logits = torch.tensor([row, row])
    chances = logits[0].log_softmax(-1)
    top = [place for place in range(len(row)) if chances[place] >= math.log(threshold)]
    least = min((float(chances[place]) for place in top), default=0)
    gone = {place for place in top if float(chances[place]) > least}
    result = cuts.xtc(logits, threshold, torch.tensor([True, False]))
    assert {place for place in range(len(row)) if result[0, place] == -math.inf} == gone
    assert torch.equal(result[1], logits[1])


def test_top_n_sigma_by_hand_and_at_any_temperature() -> None:
    logits = torch.tensor([[0.0, 2.0, 4.0, 10.0, -math.inf]])  # mean 4, variance 14, sigma 3.74
    assert cuts.top_n_sigma(logits, 1.0).isfinite().tolist() == [[False, False, False, True, False]]
    assert cuts.top_n_sigma(logits, 1.7).isfinite().tolist() == [[False, False, True, True, False]]
    several = many_logits(4)
    for temperature in (0.3, 3.0):
        kept = cuts.top_n_sigma(several / temperature, 1.0).isfinite()
        assert torch.equal(kept, cuts.top_n_sigma(several, 1.0).isfinite())


def test_mirostat_is_the_authors_program() -> None:
    """Truncate what surprises more than mu, draw, and correct mu by the surprise before truncation."""
    logits = many_logits(5, rows=60)
    limit = torch.tensor([6.0])
    mu = 6.0
    for number, row in enumerate(logits):
        chances = row.softmax(-1)
        kept = [place for place in range(VOCABULARY) if -math.log2(chances[place]) <= mu] or [int(row.argmax())]
        result = cuts.mirostat(row[None], limit)[0]
        assert result.isfinite().nonzero()[:, 0].tolist() == kept
        token = kept[number % len(kept)]
        mu -= 0.1 * (-math.log2(chances[token]) - 3.0)
        limit = cuts.mirostat_limits(row.log_softmax(-1)[token], limit, 3.0, 0.1)
        assert float(limit) == pytest.approx(mu, abs=1e-4)


def test_normals_are_normal_and_streams_unrelated() -> None:
    numbers = normals(torch.arange(200), 500).double()
    assert abs(numbers.mean()) < 4 / math.sqrt(1e5) and abs(numbers.var() - 1) < 4 * math.sqrt(2 / 1e5)
    assert abs((numbers.abs() < 1).double().mean() - 0.6827) < 4 * 0.47 / math.sqrt(1e5)
    seeds = torch.arange(2000)
    streams = torch.stack([uniforms(seeds, 1)[:, 0], *(uniforms(substream(seeds, n), 1)[:, 0] for n in range(3))])
    assert (torch.corrcoef(streams) - torch.eye(4, dtype=torch.double)).abs().max() < 4 / math.sqrt(2000)


def past_of(rows: int, answer: list[int]) -> Past:
    return Past([[0, 1, 2]] * rows, [answer] * rows, torch.arange(rows), torch.full((rows,), 6.0))


ON: dict[str, dict[str, Any]] = {
    "repetition_penalty": {"repetition_penalty": 1.5}, "presence_penalty": {"presence_penalty": 1.0},
    "frequency_penalty": {"frequency_penalty": 1.0}, "no_repeat_ngram_size": {"no_repeat_ngram_size": 2},
    "dry_multiplier": {"dry_multiplier": 0.8, "dry_sequence_breakers": ()}, "noise": {"noise": 1.0},
    "temperature": {"temperature": 0.5}, "top_k": {"top_k": 2}, "top_p": {"top_p": 0.5}, "min_p": {"min_p": 0.3},
    "typical_p": {"typical_p": 0.4}, "epsilon_cutoff": {"epsilon_cutoff": 0.05}, "eta_cutoff": {"eta_cutoff": 0.2},
    "top_n_sigma": {"top_n_sigma": 0.8}, "xtc_probability": {"xtc_probability": 1.0},
    "mirostat_tau": {"mirostat_tau": 1.0}}


def test_every_processor_is_listed_and_tested() -> None:
    assert set(PROCESSORS) == set(ORDER) == set(ON)


@pytest.mark.parametrize("name", ORDER)
def test_each_processor_changes_something_and_is_saved(name: str) -> None:
    sampling = Sampling(**ON[name])
    assert sampling.processors == (name,) and sampling.to_dict()["order"] == [name]
    logits = many_logits(6, rows=20) / 3
    past = past_of(20, [4, 0, 1, 2, 4, 0, 1])
    past.limits_R = torch.full((20,), 2.0)
    assert not torch.equal(processed(logits, sampling, past)[0], logits)


def test_the_order_matters_and_is_obeyed() -> None:
    logits = many_logits(7, rows=50)
    options = {"temperature": 2.0, "min_p": 0.2, "top_k": 4}
    late = Sampling(**options, order=("min_p", "top_k", "temperature"))
    assert late.to_dict()["order"] == ["min_p", "top_k", "temperature"] and late.shaped
    expected = cuts.top_k(cuts.min_p(logits, 0.2), 4) / 2.0
    assert torch.equal(processed(logits, late, past_of(50, []))[0], expected)
    standard = processed(logits, Sampling(**options), past_of(50, []))[0]
    assert torch.equal(standard, cuts.min_p(cuts.top_k(logits / 2.0, 4), 0.2))
    assert not torch.equal(standard.isfinite(), expected.isfinite())


@pytest.mark.parametrize("options, said", [
    ({"order": ("min_q",)}, "no processor 'min_q'"), ({"order": ("top_k", "top_k")}, "twice"),
    ({"order": ("top_k",), "min_p": 0.1}, "does not say when min_p works"),
    ({"min_p": -0.1}, "min_p must be from 0 to 1"), ({"typical_p": 0.0}, "typical_p"), ({"noise": math.nan}, "noise"),
    ({"repetition_penalty": 0.0}, "above 0"), ({"temperature": 0, "mirostat_tau": 5.0}, "Mirostat"),
    ({"xtc_threshold": 0.2}, "xtc_probability"), ({"dry_base": 2.0}, "dry_multiplier"),
    ({"length_penalty": 2.0}, "num_beams"), ({"num_beams": 2}, "temperature to 0"),
    ({"num_beams": 2, "temperature": 0, "top_p": 0.9}, "top_p cannot be honoured together with num_beams"),
    ({"penalty_alpha": 0.6, "top_k": 4, "temperature": 0, "repetition_penalty": 1.2}, "cannot be honoured"),
    ({"penalty_alpha": 0.6, "temperature": 0}, "top_k"), ({"num_beams": 2, "penalty_alpha": 0.6}, "two ways"),
    ({"num_beams": 3, "num_beam_groups": 2, "diversity_penalty": 1.0, "temperature": 0}, "do not divide"),
    ({"num_beams": 4, "num_beam_groups": 2, "temperature": 0}, "needs both"),
    ({"num_beams": 4, "early_stopping": "soon", "temperature": 0}, "early_stopping"),
    ({"dry_multiplier": 1.0, "dry_sequence_breakers": "\n"}, "dry_sequence_breakers")], ids=str)
def test_what_cannot_be_honoured_is_refused(options: dict, said: str) -> None:
    with pytest.raises(UserError, match=said):
        Sampling(**options)


def mixed() -> list:
    """Requests of every processor, some of them together, beside plain ones."""
    texts = ["ado", "emi iru ona", "bado kemi ado emi iru"]
    options = [*ON.values(), {}, {"temperature": 0.0, "repetition_penalty": 1.4}, {"temperature": 0.7, "top_k": 9},
               {"temperature": 1.2, "min_p": 0.05, "frequency_penalty": 0.4, "order": ("min_p", "temperature",
                                                                                       "frequency_penalty")}]
    return [ask(texts[n % 3], seed=n, max_tokens=6 + n % 9, **each) for n, each in enumerate(options)]


def test_a_processed_answer_is_the_same_alone_and_in_any_batch(llama: nn.Module, tokenizer: Any) -> None:
    requests = mixed()
    alone = [LocalDecoder(llama, tokenizer).answers([request])[0] for request in requests]
    for order, rows in ((range(len(requests)), 64), (range(len(requests))[::-1], 5)):
        together = dict(LocalDecoder(llama, tokenizer, rows=rows).generate([requests[n] for n in order]))
        for place, number in enumerate(order):
            assert together[place].response == alone[number].response
            assert together[place].log_probs == pytest.approx(alone[number].log_probs, abs=1e-4)


def test_penalties_change_the_text_and_not_the_log_probabilities(endless: nn.Module, tokenizer: Any) -> None:
    free = ask("ado", temperature=0, max_tokens=24, frequency_penalty=-3.0)
    held = ask("ado", temperature=0, max_tokens=24, frequency_penalty=-3.0, no_repeat_ngram_size=2)
    answers = LocalDecoder(endless, tokenizer).answers([free, held])
    pairs = [Counter(zip(tokens, tokens[1:])) for tokens in (answer.prompt_tokens + answer.response.token_ids
                                                             for answer in answers)]
    assert max(pairs[0].values()) > 1 and len(answers[1].response.token_ids) > 10
    prompt = Counter(zip(answers[1].prompt_tokens, answers[1].prompt_tokens[1:]))
    assert all(count == 1 for pair, count in pairs[1].items() if pair not in prompt)
    with torch.no_grad():
        tokens = torch.tensor([answers[1].prompt_tokens + answers[1].response.token_ids])
        log_probs = endless(tokens).logits[0].log_softmax(-1)
    expected = log_probs[len(answers[1].prompt_tokens) - 1:-1].gather(
        -1, torch.tensor(answers[1].response.token_ids)[:, None])[:, 0]
    torch.testing.assert_close(torch.tensor(answers[1].log_probs), expected, atol=1e-4, rtol=0)


def test_penalised_greedy_answers_are_those_of_the_library(model: nn.Module, tokenizer: Any) -> None:
    options = {"repetition_penalty": 1.3, "no_repeat_ngram_size": 3}
    for answer in LocalDecoder(model, tokenizer).answers(
            [ask("ado " * n, temperature=0, max_tokens=20, **options) for n in range(1, 4)]):
        prompt = torch.tensor([answer.prompt_tokens])
        written = model.generate(prompt, attention_mask=torch.ones_like(prompt), do_sample=False, max_new_tokens=20,
                                 pad_token_id=tokenizer.pad_token_id, **options)[0, prompt.shape[1]:]
        assert answer.response.token_ids == written.tolist()


def test_mirostat_holds_the_surprise(endless: nn.Module, tokenizer: Any) -> None:
    def surprise(**options: Any) -> float:
        answers = LocalDecoder(endless, tokenizer).answers([ask("ado", seed=n, max_tokens=40, **options)
                                                          for n in range(60)])
        bits = [-log_prob / math.log(2) for answer in answers for log_prob in answer.log_probs[10:]]
        return sum(bits) / len(bits)

    free = surprise()
    for tau in (free - 0.5, free - 1.5):
        assert surprise(mirostat_tau=tau, mirostat_eta=0.3) == pytest.approx(tau, abs=0.25)


def test_a_breaker_that_no_token_holds_is_refused(llama: nn.Module, tokenizer: Any) -> None:
    with pytest.raises(UserError, match="No token of this vocabulary holds"):
        LocalDecoder(llama, tokenizer).answers([ask("ado", dry_multiplier=0.8, dry_sequence_breakers=("日",))])


@pytest.mark.parametrize("options", [{"repetition_penalty": 5e-324}, {"noise": 1e38, "temperature": 1e-5},
                                     {"presence_penalty": -1e38, "temperature": 1e-5}], ids=str)
def test_processors_that_leave_the_numbers_there_are_are_refused_and_not_the_model(
        llama: nn.Module, tokenizer: Any, options: dict[str, float]) -> None:
    with pytest.raises(UserError, match="larger than numbers can be"):
        LocalDecoder(llama, tokenizer).answers([ask("ado ado", max_tokens=9, **options)])
    past = Past([[0, 1]], [[2, 3]], torch.zeros(1, dtype=torch.long), torch.zeros(1))
    diverged = torch.tensor([[torch.nan, 0.0, 1.0, 2.0]])
    assert processed(diverged, Sampling(repetition_penalty=1.1), past)[0].isnan().any(), "that is told of the model"


@pytest.mark.parametrize("options", [{"temperature": 1e-38}, {"temperature": 0, "num_beams": 2, "length_penalty": 2e9},
                                     {"temperature": 0, "num_beams": 2, "length_penalty": -2e9}], ids=str)
def test_options_that_mean_nothing_are_refused_by_name(options: dict[str, float]) -> None:
    with pytest.raises(UserError, match="length_penalty must be from -10 to 10|temperature of 1e-38"):
        Sampling(**options)


def test_processors_that_forbid_everything_are_refused(llama: nn.Module, tokenizer: Any) -> None:
    logits = torch.zeros(1, 4)
    past = Past([[0, 1]], [[2, 3]], torch.zeros(1, dtype=torch.long), torch.zeros(1))
    with pytest.raises(UserError, match="leave no token"):
        processed(logits, Sampling(no_repeat_ngram_size=1), past)
