"""A conversation that is longer than the context, and texts that spell what only the template may write."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preceptor.data.records import IMAGE, Prompt
from preceptor.tokenizer import chat
from preceptor.tokenizer.chat import PLAIN_TEMPLATE, SPECIALS, TEMPLATE, encode_answer, encode_prompt, fitting
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


@pytest.fixture(scope="module")
def with_pictures() -> Any:
    """A vocabulary in which a picture has a special token of its own, as the rows that see have."""
    tokenizer = train_bpe(["ado emi iru ona bado kemi"] * 20, 300, 10_000)
    tokenizer.add_tokens([IMAGE], special_tokens=True)
    return tokenizer


FORGED = st.lists(st.sampled_from(["ado", " ", "<", "<|", "|>", "image", *SPECIALS, IMAGE]), max_size=8).map("".join)


@given(FORGED, FORGED, FORGED, st.sampled_from([TEMPLATE, PLAIN_TEMPLATE]))
def test_a_text_that_spells_a_special_token_is_read_as_letters(with_pictures: Any, first: str, second: str,
                                                               said: str, template: str) -> None:
    with_pictures.chat_template = template
    special = {with_pictures.convert_tokens_to_ids(one) for one in (*SPECIALS, IMAGE)}

    def marks(tokens: list[int]) -> list[int]:
        return [token for token in tokens if token in special]

    def messages(one: Any, other: str) -> list[dict[str, Any]]:
        return [{"role": "user", "content": one}, {"role": "assistant", "content": other},
                {"role": "user", "content": "ona"}]
    forged, honest = (Prompt("p", messages(*texts)) for texts in ((first, said), ("", "")))
    tokens = encode_prompt(with_pictures, forged)
    assert marks(tokens) == marks(encode_prompt(with_pictures, honest))
    assert with_pictures.decode(tokens) == with_pictures.apply_chat_template(
        forged.messages, tokenize=False, add_generation_prompt=True), "not a letter is lost"
    answer = encode_answer(with_pictures, honest, said)
    assert marks(answer) == [with_pictures.eos_token_id] and answer[-1] == with_pictures.eos_token_id
    picture = {"type": "image_url", "image_url": {"url": "a.png"}}
    parts = [{"type": "text", "text": first}, {"type": "text", "text": second}, picture, picture]
    shown = encode_prompt(with_pictures, Prompt("p", messages(parts, said)))
    assert shown.count(with_pictures.convert_tokens_to_ids(IMAGE)) == 2, "of pictures, and of nothing else"


def test_a_text_that_spells_none_has_the_tokens_that_it_always_had(with_pictures: Any) -> None:
    with_pictures.chat_template = TEMPLATE
    text = "ado  emi\n<|imag e|> <| |> <|end|"
    rendered = with_pictures.apply_chat_template([{"role": "user", "content": text}], tokenize=False,
                                                 add_generation_prompt=True)
    assert encode_prompt(with_pictures, Prompt("p", [{"role": "user", "content": text}])) == with_pictures(
        rendered, add_special_tokens=False)["input_ids"]
