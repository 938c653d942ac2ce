"""Rows of a user's own JSONL files as our records.

    documents       {text}
    demonstrations  every shape of preceptor/data/shapes.py
    comparisons     our own {responses, ranking, ...} · {prompt, chosen, rejected} · {prompt, candidates: best first}
                    · {prompt, candidates, ranks}, 0 the best, equal ranks tied

A prompt is text or a list of messages, an answer is text or a list with one message of the assistant's. `id`, `source`,
`category`, `user`, `language` and `license` are kept where the record has room for them; every other field is ignored,
and each reader returns the names of what it ignored so that the caller can say so.
"""

from dataclasses import fields
from typing import Any

from preceptor.data.records import Comparison, Conversation, Document, Prompt, Record, Response
from preceptor.data.shapes import turns_of
from preceptor.run.errors import UserError

Row = dict[str, Any]


def document_of(row: Row, id: str, source: str) -> tuple[Document, set[str]]:
    """A document and the names of the fields that were ignored; `id` and `source` fill in what the row lacks.

    Raises:
        UserError: there is no text, or an optional field is not text.
    """
    if "text" not in row:
        raise _no_shape("document", row, "Give each object a 'text'.")
    if not isinstance(row["text"], str) or not row["text"].strip():
        raise UserError("The text of the document is empty or not text.", "Write the text, or remove the line.")
    row = {"language": row.get("lang"), **row}
    known = _labels(row, Document) | {"text": row["text"]}
    return Document(**{"id": id, "source": source, **known}), row.keys() - known.keys() - {"language", "lang"}


def conversations_of(row: Row, id: str, source: str) -> tuple[list[Conversation], set[str]]:
    """A demonstration for each answer of a row, and the names of the fields that were ignored.

    Raises:
        UserError: the row has no known shape, or its last message is not an answer of the assistant's.
    """
    every, used, _ = turns_of(row)
    labels = {"id": id, "source": source, **_labels(row, Conversation)}
    conversations = []
    for number, turns in enumerate(every, start=1):
        name = labels["id"] if len(every) == 1 else f"{labels['id']}#{number}"
        conversation = Conversation(**{**labels, "id": name, "messages": _messages(turns, "messages")})
        last = conversation.messages[-1]
        if last["role"] != "assistant" or not last["content"].strip():
            raise UserError("The demonstration does not end with an answer of the assistant's.",
                            "Add the answer, or remove the line.")
        if conversation.messages[0]["role"] == "assistant":
            raise UserError("The demonstration begins with an answer: it has no prompt.",
                            "Add the user's message, or remove the first one.")
        conversations.append(conversation)
    return conversations, row.keys() - used - _names(Conversation)


def comparison_of(row: Row, id: str, source: str) -> tuple[Comparison, set[str]]:
    """A comparison and the names of the fields that were ignored. Foreign rows are taken as ranked by a person.

    Raises:
        UserError: the row has no known shape, or fewer than two answers.
    """
    if "responses" in row:
        comparison = Comparison.from_dict({"id": id, **row})
        _messages(comparison.prompt.messages, "prompt")  # text only, as everywhere here
        return comparison, set()
    if {"prompt", "chosen", "rejected"} <= row.keys():
        used, answers = {"prompt", "chosen", "rejected"}, [row["chosen"], row["rejected"]]
    elif {"prompt", "candidates"} <= row.keys():
        used, answers = {"prompt", "candidates", "ranks"}, row["candidates"]
    else:
        raise _no_shape("comparison", row, "Give 'prompt' with 'chosen' and 'rejected', or with 'candidates' from best "
                        "to worst.")
    if not isinstance(answers, list) or len(answers) < 2:
        raise UserError("A comparison needs a list of at least two answers.", "Add answers, or remove the line.")
    responses = [Response(_said(answer, "answer")["content"]) for answer in answers]
    labels = {"id": id, "source": source, **_labels(row, Prompt)}
    prompt = Prompt(messages=_messages(row["prompt"], "prompt"), **labels)
    labeler = _label(row, "labeler") or "unknown"
    ranking = _ranking(row.get("ranks", list(range(len(responses)))), len(responses))
    return (Comparison(labels["id"], prompt, responses, ranking, labeler, "person"),
            row.keys() - used - _names(Prompt) - {"labeler"})


def _ranking(ranks: Any, count: int) -> list[list[int]]:
    """Groups of answers by their ranks, the best first."""
    if not isinstance(ranks, list) or len(ranks) != count or any(type(rank) not in (int, float) for rank in ranks):
        raise UserError("'ranks' must be a list with one number for each answer.", 'Write "ranks": [0, 1, 1].')
    return [[index for index, rank in enumerate(ranks) if rank == level] for level in sorted(set(ranks))]


def _messages(value: Any, name: str) -> list[Row]:
    """A prompt as messages: text is one message of the user's."""
    if isinstance(value, str):
        return [{"role": "user", "content": value}]
    if not isinstance(value, list) or not value:
        raise UserError(f"'{name}' must be text or a list of messages.", 'Write [{"role": "user", "content": "..."}].')
    Prompt("", value)  # checks roles and fields
    if any(not isinstance(message["content"], str) for message in value):
        raise UserError("The content of a message must be text here; parts are for images.", 'Write "content": "...".')
    return value


def _said(value: Any, name: str) -> Row:
    """One answer as a message of the assistant's."""
    if isinstance(value, str):
        return {"role": "assistant", "content": value}
    messages = _messages(value, name)
    if len(messages) != 1 or messages[0]["role"] != "assistant":
        raise UserError(f"'{name}' must be text or a list with one message of the assistant's.",
                        'Write [{"role": "assistant", "content": "..."}].')
    return messages[0]


def _names(kind: type[Record]) -> set[str]:
    return {f.name for f in fields(kind)} - {"messages", "text"}


def _labels(row: Row, kind: type[Record]) -> Row:
    """The short fields that a record keeps, as text; absent and null ones are left out."""
    return {name: label for name in sorted(_names(kind)) if (label := _label(row, name)) is not None}


def _label(row: Row, name: str) -> str | None:
    value = row.get(name)
    if value is None:
        return None
    if isinstance(value, (str, int)) and not isinstance(value, bool):
        return str(value)  # numbers are common as ids and user names
    raise UserError(f"The field '{name}' must be text, not {type(value).__name__}.", f'Write "{name}": "...".')


def _no_shape(kind: str, row: Row, cure: str) -> UserError:
    return UserError(f"A {kind} cannot be made of the fields {', '.join(sorted(row)) or '(none)'}.", cure)
