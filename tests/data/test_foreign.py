"""Rows of foreign files: each shape becomes the record that it means, and every other row is refused with a cure."""

import json
from pathlib import Path

import pytest

from preceptor.data.foreign import comparison_of, conversations_of, document_of
from preceptor.data.records import Comparison, Conversation, Document, Prompt, Response
from preceptor.run.errors import UserError

USER, ANSWER = {"role": "user", "content": "谁养蜂？"}, {"role": "assistant", "content": "诺拉。"}
OWN = {"prompt": {"id": "p", "messages": [USER]}, "responses": [{"text": "a"}, {"text": "b"}], "ranking": [[1], [0]],
       "labeler": "ann", "kind": "person"}


def conversation_of(row: dict, id: str, source: str) -> tuple[Conversation, set[str]]:
    """The one conversation of a row with one answer."""
    [conversation], ignored = conversations_of(row, id, source)
    return conversation, ignored


def test_documents_keep_what_they_say_of_themselves() -> None:
    row = {"text": "a\u2028b", "id": 7, "lang": "zh", "license": "MIT", "source": "web", "title": "t", "year": 1918}
    assert document_of(row, "x", "file") == (Document("a\u2028b", "7", "web", "zh", "MIT"), {"title", "year"})
    assert document_of({"text": "a"}, "x", "file") == (Document("a", "x", "file"), set())
    assert document_of({"text": "a", "lang": "zh", "language": "en"}, "x", "f")[0].language == "en"


@pytest.mark.parametrize("row", [
    {"messages": [USER, ANSWER]},
    {"instruction": USER["content"], "output": ANSWER["content"]},
    {"instruction": USER["content"], "input": "", "output": ANSWER["content"]},
    {"prompt": USER["content"], "completion": ANSWER["content"]},
    {"prompt": [USER], "completion": [ANSWER]},
])
def test_every_shape_of_a_demonstration_is_the_same_conversation(row: dict) -> None:
    expected = Conversation("x", [USER, ANSWER], source="file")
    assert conversation_of(row, "x", "file") == (expected, set())
    labelled = {**row, "id": "c", "user": 12, "category": "qa", "source": "s", "license": "MIT"}
    assert conversation_of(labelled, "x", "file") == (Conversation("c", [USER, ANSWER], "qa", "12", "s"), {"license"})


def test_an_input_follows_its_instruction_after_a_blank_line() -> None:
    row = {"instruction": "Translate.", "input": "bee", "output": "abeille"}
    assert conversation_of(row, "x", "f")[0].messages[0] == {"role": "user", "content": "Translate.\n\nbee"}


def test_conversations_of_several_turns_and_a_system_message_stay_whole() -> None:
    messages = [{"role": "system", "content": "Be brief."}, USER, ANSWER, USER, ANSWER]
    assert conversation_of({"messages": messages}, "x", "f")[0].messages == messages


@pytest.mark.parametrize(("row", "responses"), [
    ({"prompt": [USER], "chosen": "a", "rejected": "b"}, ["a", "b"]),
    ({"prompt": USER["content"], "chosen": [{"role": "assistant", "content": "a"}], "rejected": ""}, ["a", ""]),
    ({"prompt": [USER], "candidates": ["a", "b", "c", "d"]}, ["a", "b", "c", "d"]),
])
def test_every_shape_of_a_comparison_ranks_in_the_order_given(row: dict, responses: list[str]) -> None:
    expected = Comparison("x", Prompt("x", [USER], source="file"), [Response(text) for text in responses],
                          [[place] for place in range(len(responses))], "unknown", "person")
    assert comparison_of(row, "x", "file") == (expected, set())
    named, ignored = comparison_of({**row, "id": "k", "labeler": "bo", "user": "u", "subset": "s"}, "x", "file")
    assert (named.id, named.labeler, named.prompt.user, ignored) == ("k", "bo", "u", {"subset"})


def test_our_own_comparisons_are_read_strictly() -> None:
    assert comparison_of(OWN, "x", "f")[0].ranks() == [1, 0]
    assert comparison_of({**OWN, "id": "k"}, "x", "f")[0].id == "k"
    with pytest.raises(UserError, match="Did you mean 'labeler'"):
        comparison_of({**OWN, "labeller": "bo"}, "x", "f")


@pytest.mark.parametrize(("reader", "row", "said"), [
    (document_of, {"txt": "a"}, "cannot be made of the fields txt"),
    (document_of, {"text": " "}, "empty or not text"),
    (document_of, {"text": "a", "source": ["b"]}, "'source' must be text, not list"),
    (conversation_of, {"query": "a", "reply": "b"}, "fields query, reply"),
    (conversation_of, {}, r"\(none\)"),
    (conversation_of, {"messages": [USER]}, "does not end with an answer"),
    (conversation_of, {"messages": [USER, {**ANSWER, "content": ""}]}, "does not end with an answer"),
    (conversation_of, {"messages": [ANSWER, USER, ANSWER]}, "no prompt"),
    (conversation_of, {"messages": [USER, {**ANSWER, "name": "x"}]}, "exactly 'role' and 'content'"),
    (conversation_of, {"messages": [{"role": "human", "content": "a"}, ANSWER]}, "Unknown role 'human'"),
    (conversation_of, {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}]}, ANSWER]}, "be text"),
    (conversation_of, {"instruction": "a", "input": 3, "output": "b"}, "must be text"),
    (conversation_of, {"prompt": "a", "completion": None}, "'completion' must be text"),
    (conversation_of, {"prompt": "", "completion": "b"}, "'prompt' must be text"),
    (comparison_of, {"prompt": "a", "chosen": "b"}, "Give 'prompt' with 'chosen' and 'rejected'"),
    (comparison_of, {"prompt": "a", "candidates": ["b"]}, "at least two answers"),
    (comparison_of, {"prompt": "a", "candidates": "bc"}, "at least two answers"),
    (comparison_of, {"prompt": "a", "chosen": [USER, ANSWER], "rejected": "b"}, "one message of the assistant's"),
    (comparison_of, {**OWN, "prompt": {"id": "p", "messages": [{"role": "user", "content": [{}]}]}}, "must be text"),
])
def test_a_row_of_no_use_is_refused_with_its_cure(reader, row: dict, said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        reader(row, "x", "f")
    assert caught.value.cause.endswith(".") and caught.value.cure.endswith(".")


def test_the_examples_of_the_documentation_are_read() -> None:
    page = (Path(__file__).parents[2] / "docs/own_data.md").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in page.splitlines() if line.lstrip().startswith('{"')]
    readers = {"text": document_of, "chosen": comparison_of, "candidates": comparison_of, "messages": conversation_of,
               "output": conversation_of, "completion": conversation_of}
    assert {next(name for name in readers if name in row) for row in rows} == set(readers)
    for row in rows:
        _, ignored = next(readers[name] for name in readers if name in row)(row, "x", "f")
        assert not ignored
