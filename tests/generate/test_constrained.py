"""Answers under a grammar: the tokens allowed are those of a brute force, and models can write nothing else."""

import itertools
import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from preceptor.generate.constrained import Listing, Vocabulary
from preceptor.generate.decoder import Sampling
from preceptor.generate.guard import GuardedDecoder
from preceptor.generate.local import LocalDecoder
from preceptor.generate.server import ServerDecoder
from preceptor.run.errors import UserError
from tests.generate.conftest import ask

FIELDS, NONE = ["ado", "X"], "-"
TEXTS = ["ado iru ado ", "北京 X", " ona: X\u00e9", "  "]


def units(text: str) -> list[tuple[int, int]]:
    """Words; a Han character is one."""
    found, start = [], None
    for place, character in enumerate(text + " "):
        if start is not None and (character == " " or character > "\u4e00" or text[start] > "\u4e00"):
            found.append((start, place))
            start = None
        if character != " " and start is None:
            start = place
    return found


def answers(text: str) -> set[str]:
    """Every answer that the grammar allows, listed one by one."""
    pieces = units(text)
    spans = [(one[0], other[1]) for one, other in itertools.combinations_with_replacement(pieces, 2)]
    lines: dict[int, set[str]] = {}

    def behind(bound: int) -> set[str]:
        if bound not in lines:
            lines[bound] = {f"{field}: {text[start:end]}{rest}" for field in FIELDS for start, end in spans
                            if start >= bound for rest in ["", *("\n" + more for more in behind(end))]}
        return lines[bound]

    return {NONE, *behind(0)} | {f" {one}" for one in (NONE, *behind(0))}


@pytest.fixture(scope="module")
def vocabulary(tokenizer: Any) -> Vocabulary:
    return Vocabulary(tokenizer)


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(TEXTS), st.integers(0, 10**6))
def test_the_tokens_allowed_are_those_of_a_brute_force(vocabulary: Vocabulary, text: str, seed: int) -> None:
    """A random answer is written with random tokens; at each one the whole set of allowed tokens is compared."""
    draw = random.Random(seed)
    every = {one.encode() for one in answers(text)}
    beginnings = {one[:length] for one in every for length in range(len(one) + 1)}
    listing = Listing(vocabulary, FIELDS, text, units(text), NONE)
    written: list[int] = []
    while True:
        said = b"".join(vocabulary.pieces[token] for token in written)
        wanted = {token for token, piece in enumerate(vocabulary.pieces) if piece and said + piece in beginnings}
        wanted |= {vocabulary.end} if said in every else set()
        found = listing(written)
        assert set(found) == wanted and len(found) == len(wanted)
        token = draw.choice(sorted(wanted))
        if token == vocabulary.end:
            return
        written.append(token)


def test_a_model_writes_what_is_allowed_and_its_neighbours_what_they_ever_did(tokenizer: Any, model: nn.Module) -> None:
    vocabulary = Vocabulary(tokenizer)
    decoder = LocalDecoder(model, tokenizer, rows=3)
    free = [ask("ado emi", seed, max_tokens=8) for seed in range(3)]
    bound = []
    for seed, text in itertools.product(range(3), TEXTS):
        request = ask(text, seed, temperature=float(seed), max_tokens=46, top_k=seed * 5)
        bound.append(replace(request, allowed=Listing(vocabulary, FIELDS, text, units(text), NONE)))
    written = decoder.answers([*bound, *free])
    for request, answer in zip(bound, written):
        said, every = answer.response.text, answers(request.allowed.text.decode())
        assert said in every if answer.response.finish == "eos" else any(one.startswith(said) for one in every)
    assert sum(answer.response.finish == "eos" for answer in written[:len(bound)]) > len(bound) / 2
    assert [one.response.text for one in written[len(bound):]] == [
        one.response.text for one in decoder.answers(free)]


def test_a_vocabulary_that_cannot_write_the_answer_is_refused(tokenizer: Any, llama: nn.Module) -> None:
    request = replace(ask("ado", max_tokens=8), allowed=lambda answer: [])
    with pytest.raises(UserError, match="grammar"):
        LocalDecoder(llama, tokenizer).answers([request])


def test_who_cannot_follow_a_grammar_says_so(tokenizer: Any, llama: nn.Module) -> None:
    request = replace(ask("ado", max_tokens=8), allowed=lambda answer: [5])
    with pytest.raises(UserError, match="a search is asked for"):
        beams = replace(request, sampling=Sampling(temperature=0, num_beams=2, max_tokens=8))
        LocalDecoder(llama, tokenizer).answers([beams])
    with pytest.raises(UserError, match="rolls answers back"):
        GuardedDecoder(LocalDecoder(llama, tokenizer)).answers([request])
    with pytest.raises(UserError, match="cannot be given a grammar"):
        ServerDecoder("http://localhost:1", "m").answers([request])
