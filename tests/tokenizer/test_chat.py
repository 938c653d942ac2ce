"""A conversation that is longer than the context."""

from typing import Any

import pytest

from preceptor.data.records import Prompt
from preceptor.tokenizer import chat
from preceptor.tokenizer.chat import encode_prompt, fitting
from preceptor.tokenizer.train import train_bpe


def test_whole_exchanges_are_left_out_and_what_stands_in_front_stays() -> None:
    tokenizer = train_bpe(["ado emi iru ona bado kemi"] * 20, 300, 10_000)
    exchange = [{"role": "user", "content": "ado emi"}, {"role": "assistant", "content": "ado"}]
    for head in ([], [{"role": "system", "content": "ona"}]):
        whole = [*head, *exchange, *exchange, exchange[0]]
        for kept in ([*head, exchange[0]], [*head, *exchange, exchange[0]], whole):
            room = len(encode_prompt(tokenizer, Prompt("p", kept)))
            assert fitting(whole, tokenizer, room) == (kept, True)
        assert fitting(whole, tokenizer, 2) == ([*head, exchange[0]], False)


def test_a_long_conversation_is_looked_at_few_times_and_as_much_of_it_is_kept_as_fits(
        monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = train_bpe(["ado emi iru ona bado kemi"] * 20, 300, 10_000)
    exchange = [{"role": "user", "content": "ado emi"}, {"role": "assistant", "content": "ado"}]
    looks = []

    def counted(tokenizer: Any, prompt: Prompt) -> list[int]:
        looks.append(len(prompt.messages))
        return encode_prompt(tokenizer, prompt)
    monkeypatch.setattr(chat, "encode_prompt", counted)
    for length in (1, 2, 3, 400, 401):
        whole = (exchange * 201)[:length]
        for room in (5, 30, 100, 100_000):
            looks.clear()
            kept, fits = fitting(whole, tokenizer, room)
            assert 1 <= len(looks) <= 10 and kept and (length - len(kept)) % 2 == 0 and kept == whole[-len(kept):]
            assert fits == (len(encode_prompt(tokenizer, Prompt("p", kept))) <= room)
            more = whole[-len(kept) - 2:]
            assert len(kept) == length or len(encode_prompt(tokenizer, Prompt("p", more))) > room, "more would fit"
            assert fits or len(kept) <= 2
    assert fitting([{"role": "system", "content": "ona"}], tokenizer, 100)[1]
