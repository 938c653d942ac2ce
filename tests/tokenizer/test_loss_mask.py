"""The loss mask of conversations, token by token, against the mask that transformers makes from a template's own marks.

`{% generation %}` in a template marks what the assistant writes, and `apply_chat_template` returns which tokens that
is: a reference that shares no code with ours.
"""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preceptor.data.batches import IGNORE
from preceptor.data.records import Conversation
from preceptor.run.errors import UserError
from preceptor.tokenizer.chat import END, TEMPLATE, encode_conversation
from preceptor.tokenizer.train import train_bpe

MARKED = ("{% for message in messages %}{% if message['role'] == 'assistant' %}{{ '<|assistant|>' }}"
          "{% generation %}{{ ' ' + message['content'] + '<|end|>' }}{% endgeneration %}"
          "{% else %}{{ '<|' + message['role'] + '|> ' + message['content'] }}{% endif %}{% endfor %}")
CHATML = ("{% for message in messages %}{{ '<|user|>' + message['role'] + '\n' }}"
          "{{ message['content'] + '<|end|>' + '\n' }}{% endfor %}"
          "{% if add_generation_prompt %}{{ '<|user|>assistant\n' }}{% endif %}")
CHATML_MARKED = ("{% for message in messages %}{{ '<|user|>' + message['role'] + '\n' }}"
                 "{% if message['role'] == 'assistant' %}{% generation %}{{ message['content'] + '<|end|>' }}"
                 "{% endgeneration %}{{ '\n' }}{% else %}{{ message['content'] + '<|end|>' + '\n' }}{% endif %}"
                 "{% endfor %}")
TEMPLATES = {"ours": (TEMPLATE, MARKED), "chatml": (CHATML, CHATML_MARKED)}
S, U, A = "system", "user", "assistant"
CASES = {
    "one turn": [U, A], "system": [S, U, A], "three turns": [U, A, U, A, U, A], "system and turns": [S, U, A, U, A],
    "the user twice": [U, U, A], "the assistant twice": [U, A, A], "system between": [U, A, S, U, A],
    "ends with the user": [U, A, U],
}


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return train_bpe(["the bees hum in the garden. 蜜蜂在花园里嗡嗡作响。 user assistant system"] * 3, 320, 10_000)


def _with(tokenizer: Any, name: str) -> tuple[Any, str]:
    tokenizer.chat_template, marked = TEMPLATES[name]
    return tokenizer, marked


def _check(tokenizer: Any, marked: str, messages: list[dict[str, str]]) -> None:
    """Compare with the reference, up to where the last answer ends: what follows it is no part of the example."""
    example = encode_conversation(tokenizer, Conversation("c", messages))
    reference = tokenizer.apply_chat_template(messages, chat_template=marked, tokenize=True, return_dict=True,
                                              return_assistant_tokens_mask=True)
    size = len(example.tokens)
    assert example.tokens == reference["input_ids"][:size]
    counted = [target != IGNORE for target in example.targets]
    assert [False, *counted[:-1]] == [bool(mark) for mark in reference["assistant_masks"][:size]]
    assert not any(reference["assistant_masks"][size:])
    assert all(target in (IGNORE, token) for target, token in zip(example.targets, example.tokens[1:]))
    assert not counted[-1]


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("case", CASES)
def test_every_case_of_several_turns(tokenizer: Any, template: str, case: str) -> None:
    messages = [{"role": role, "content": f"{role} hums {place} 蜜蜂"} for place, role in enumerate(CASES[case])]
    _check(*_with(tokenizer, template), messages)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.sampled_from([S, U, A]), st.text("the bee蜜蜂\n", min_size=1, max_size=8)), min_size=1,
                max_size=6), st.sampled_from(sorted(TEMPLATES)))
def test_any_conversation(tokenizer: Any, said: list[tuple[str, str]], template: str) -> None:
    messages = [{"role": role, "content": text} for role, text in [(U, "bee"), *said, (A, "hum")]]
    _check(*_with(tokenizer, template), messages)


@pytest.mark.parametrize("role", [S, U, A])
@pytest.mark.parametrize("mark", [END, "<|assistant|>", "<|pad|>"])
def test_a_message_that_spells_a_special_token_is_refused(tokenizer: Any, role: str, mark: str) -> None:
    """In a user's message it would open an answer that is no answer; in an answer it would cut off what follows."""
    tokenizer.chat_template = TEMPLATE
    messages = [{"role": U, "content": "hum"}, {"role": A, "content": "bees"}]
    messages.insert(1, {"role": role, "content": f"the {mark} bees"})
    with pytest.raises(UserError, match="special token"):
        encode_conversation(tokenizer, Conversation("c", messages))


def test_an_answer_to_nothing_is_refused(tokenizer: Any) -> None:
    with pytest.raises(UserError, match="begins with the assistant"):
        encode_conversation(tokenizer, Conversation("c", [{"role": A, "content": "a"}, {"role": U, "content": "b"},
                                                          {"role": A, "content": "c"}]))
