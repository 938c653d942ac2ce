"""Shapes of demonstrations: recognised, turned into conversations, and back to the same rows."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preceptor.data.foreign import conversations_of
from preceptor.data.records import Conversation
from preceptor.data.shapes import SHAPES, rows_of, shape_of
from preceptor.run.errors import UserError

Q, A = "谁养蜂？", "Nora does."
ROWS = {
    "messages": {"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": Q},
                              {"role": "assistant", "content": A}]},
    "sharegpt": {"conversations": [{"from": "human", "value": Q}, {"from": "gpt", "value": A},
                                   {"from": "human", "value": "And?"}, {"from": "gpt", "value": "No."}]},
    "dialogue": {"dialogue": [Q, A, "And?", "No."]},
    "instruction": {"instruction": Q, "output": [A, "Tom.", "I do not know."]},
    "completion": {"prompt": Q, "completion": A},
    "qa": {"question": Q, "answer": A},
    "classification": {"text": "Good bees.", "label": "positive"},
    "entity": {"entity": "诺拉", "facts": {"职业": "养蜂人", "born": "1815: in May"}},
}


@pytest.mark.parametrize("name", ROWS)
def test_each_shape_is_recognised_and_comes_back_as_it_was(name: str) -> None:
    row = {"id": "r1", **ROWS[name], "category": "c", "user": "u", "source": "s"}
    assert shape_of(row) is SHAPES[name]
    conversations, ignored = conversations_of(row, "x", "f")
    assert not ignored and rows_of(conversations, name) == [row]


def test_a_list_of_outputs_is_a_conversation_for_each() -> None:
    conversations, _ = conversations_of({**ROWS["instruction"], "id": "i"}, "x", "f")
    assert [(one.id, one.messages[-1]["content"]) for one in conversations] == [
        ("i#1", A), ("i#2", "Tom."), ("i#3", "I do not know.")]
    assert conversations_of({"instruction": "a", "output": "b"}, "x", "f")[0][0].id == "x"


def test_facts_without_names_and_contexts() -> None:
    row = {"id": "x", "entity": "Ada", "facts": ["born 1815: in London", "wrote notes"], "source": "f"}
    [conversation], _ = conversations_of(row, "x", "f")
    assert conversation.messages == [{"role": "user", "content": "What do you know about Ada?"},
                                     {"role": "assistant", "content": "- born 1815: in London\n- wrote notes"}]
    assert rows_of([conversation], "entity") == [row]
    [asked], _ = conversations_of({"context": "Nora keeps bees.", "question": "Who?", "answers": ["Nora"]}, "x", "f")
    assert asked.messages[0]["content"] == "Nora keeps bees.\n\nWho?"


def test_a_number_among_facts_is_written_out() -> None:
    [conversation], _ = conversations_of({"entity": "Ada", "facts": {"born": 1815, "height": 1.6}}, "x", "f")
    assert conversation.messages[-1]["content"] == "born: 1815\nheight: 1.6"


def test_openai_files_with_fields_that_say_nothing_are_read() -> None:
    [conversation], ignored = conversations_of({"messages": [
        {"role": "user", "content": Q}, {"role": "assistant", "content": A, "weight": 1, "refusal": None}]}, "x", "f")
    assert conversation.messages[-1] == {"role": "assistant", "content": A} and not ignored


@pytest.mark.parametrize(("row", "said"), [
    ({"messages": [{"role": "user", "content": Q}, {"role": "assistant", "content": A, "weight": 0}]}, "weight"),
    ({"messages": [{"role": "user", "content": Q}, {"role": "assistant", "content": "", "tool_calls": [{}]}]}, "tools"),
    ({"messages": [{"role": "user", "content": Q}, {"role": "tool", "content": "3"}]}, "tools"),
    ({"messages": [{"role": "user", "content": Q}, {"role": "assistant", "content": A}], "tools": [{}]}, "tools"),
    ({"messages": "hello"}, "list of objects"),
    ({"conversations": [{"from": "human", "value": Q}, {"from": "tool", "value": "x"}]}, "speaker 'tool'"),
    ({"conversations": [{"from": "human", "value": Q}]}, "does not end with an answer"),
    ({"conversations": "x"}, "'from' and 'value'"),
    ({"dialogue": [Q, A, "And?"]}, "has no answer"),
    ({"instruction": Q, "output": []}, "no answer"), ({"instruction": Q, "output": ["a", ""]}, "not empty"),
    ({"question": Q}, "must be text"), ({"text": "a", "label": True}, "label"), ({"text": "a", "label": None}, "label"),
    ({"instruction": Q, "output": A, "history": "hello"}, "pairs"),
    ({"instruction": Q, "output": A, "history": [["one"]]}, "pairs"),
    ({"question": Q, "answer": A, "context": ["Nora"]}, "context"),
    ({"entity": "a", "facts": {"b": True}}, "text"),
    ({"entity": "a", "facts": {}}, "not empty"), ({"entity": "a", "facts": {"b": "c\nd"}}, "one line"),
    ({"entity": "a", "facts": {"b: c": "d"}}, "colon"),
    ({"messages": [{"role": "assistant", "content": "unasked"}]}, "no prompt"),
])
def test_what_would_be_trained_on_by_accident_is_refused(row: dict, said: str) -> None:
    with pytest.raises(UserError, match=said):
        conversations_of(row, "x", "f")


def test_a_shape_that_cannot_hold_a_conversation_refuses_it() -> None:
    long = conversations_of({"dialogue": [Q, A, "And?", "No."]}, "x", "f")[0]
    for name in ("instruction", "completion", "qa", "classification", "entity"):
        with pytest.raises(UserError, match="Conversation 'x'"):
            rows_of(long, name)
    system = [Conversation("x", [{"role": "system", "content": "s"}, *long[0].messages])]
    with pytest.raises(UserError, match="in turn"):
        rows_of(system, "dialogue")
    with pytest.raises(UserError, match="Did you mean 'sharegpt'"):
        rows_of(long, "sharegtp")


words = st.text("ab 蜂:-#\"\\", min_size=1, max_size=12).filter(str.strip)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(words, words), min_size=1, max_size=4), st.booleans(),
       st.sampled_from(["messages", "sharegpt", "dialogue", "qa", "instruction", "completion", "classification"]))
def test_any_conversation_that_a_shape_holds_survives_it(turns: list[tuple[str, str]], system: bool, name: str) -> None:
    messages = [{"role": "system", "content": "s"}] * system
    for asked, answer in turns:
        messages += [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]
    conversation = Conversation("c", messages, source="s")
    try:
        rows = rows_of([conversation], name)
    except UserError:
        assert name not in ("messages", "sharegpt") and (system or len(turns) > 1)
        return
    assert [one for row in rows for one in conversations_of(row, "x", "f")[0]] == [conversation]
