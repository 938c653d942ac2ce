"""The shapes in which people keep demonstrations: recognised by their fields, turned into `Conversation` and back.

    messages       {messages: [{role, content}]}                    OpenAI's fine-tuning files; our own records
    sharegpt       {conversations: [{from, value}]}                 ShareGPT and what copied it
    dialogue       {dialogue: ["...", "..."]}                       two people in turn, the user first
    instruction    {instruction, input?, output: text or a list}    Alpaca; a list is several answers to one prompt
    completion     {prompt, completion}
    qa             {question, answer or answers, context?}
    classification {text, label}
    entity         {entity, facts: {name: value} or a list}

What a row says beside its shape's fields is kept where a Conversation has room for it and named where it has not. A
row that would be trained on otherwise than its author meant is refused with the reason: tool calls, messages of
weight 0, answers that are missing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from preceptor.data.records import Conversation
from preceptor.run.errors import UserError, nearest

Row = dict[str, Any]
Turns = list[dict[str, Any]]
SHAREGPT = {"system": "system", "human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant",
            "chatgpt": "assistant", "bot": "assistant", "model": "assistant"}
SHAREGPT_BACK = {"system": "system", "user": "human", "assistant": "gpt"}
ABOUT = {"en": "What do you know about {}?", "zh": "关于{}，你知道什么？"}


@dataclass(frozen=True, slots=True)
class Shape:
    """`fields` recognise it (all must be there); `turns` reads a row as one list of messages for each answer; `row`
    writes conversations of one prompt, or refuses."""

    name: str
    fields: tuple[str, ...]
    optional: tuple[str, ...]
    turns: Callable[[Row], list[Turns]]
    row: Callable[[list[Turns]], Row]


def shape_of(row: Row) -> Shape | None:
    """The first shape whose fields a row has."""
    return next((shape for shape in SHAPES.values() if all(name in row for name in shape.fields)), None)


def turns_of(row: Row) -> tuple[list[Turns], set[str], Shape]:
    """The messages of a row, once for each answer; the fields that its shape used; and the shape.

    Raises:
        UserError: it has no known shape, or its content is not what the shape says.
    """
    shape = shape_of(row)
    if shape is None:
        raise UserError(f"A demonstration cannot be made of the fields {', '.join(sorted(row)) or '(none)'}.",
                        f"Give one of the shapes {', '.join(SHAPES)} (docs/data.md).")
    return shape.turns(row), {*shape.fields, *shape.optional} & row.keys(), shape


def rows_of(conversations: Sequence[Conversation], name: str) -> list[Row]:
    """Conversations in the shape called `name`; neighbours that ask the same become one row where it holds several
    answers.

    Raises:
        UserError: there is no such shape, or it cannot hold a conversation.
    """
    if name not in SHAPES:
        raise UserError(f"There is no shape '{name}'.", nearest(name, SHAPES))
    shape, rows, group = SHAPES[name], [], []
    for place, conversation in enumerate(conversations):
        group.append(conversation)
        following = conversations[place + 1] if place + 1 < len(conversations) else None
        if (name in SEVERAL and following is not None and _asked(following) == _asked(conversation)):
            continue
        try:
            row = shape.row([one.messages for one in group])
        except UserError as error:
            raise UserError(f"Conversation '{group[0].id}': {error.cause}", error.cure) from None
        labels = {label: value for label in ("category", "user", "source") if (value := getattr(group[0], label))}
        rows.append({"id": _stem(group[0].id) if len(group) > 1 else group[0].id, **row, **labels})
        group = []
    return rows


def _asked(conversation: Conversation) -> tuple[Any, ...]:
    return _stem(conversation.id), conversation.messages[:-1], conversation.source


def _stem(name: str) -> str:
    return name.partition("#")[0]


# ---- reading ---------------------------------------------------------------------------------------------------------

def _text(value: Any, name: str) -> str:
    if isinstance(value, str) and value.strip():
        return value
    raise UserError(f"'{name}' must be text that is not empty.", f'Write "{name}": "...", or remove the line.')


def _answers(value: Any, name: str) -> list[str]:
    values = value if isinstance(value, list) else [value]
    if not values:
        raise UserError(f"'{name}' holds no answer.", "Add one, or remove the line.")
    return [_text(one, name) for one in values]


def _exchanges(asked: str, answers: list[str]) -> list[Turns]:
    return [[{"role": "user", "content": asked}, {"role": "assistant", "content": answer}] for answer in answers]


def _from_messages(row: Row) -> list[Turns]:
    """OpenAI's form: a message of weight 0 and a tool call are of no use to a loss that counts every answer."""
    messages = row["messages"]
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        raise UserError("'messages' must be a list of objects.", 'Write [{"role": "user", "content": "..."}].')
    for message in messages:
        if message.get("weight", 1) != 1:
            raise UserError("A message has a weight of its own: it would be trained on here like any other.",
                            "Remove the weight, or the conversation.")
        if message.get("tool_calls") or message.get("function_call") or message.get("role") in ("tool", "function"):
            raise UserError("The conversation calls tools, which a record here does not hold.", "Remove it.")
    if row.get("tools"):
        raise UserError("The conversation calls tools, which a record here does not hold.", "Remove it.")
    kept = ("role", "content")
    extra = {"weight", "tool_calls", "function_call", "refusal", "annotations", "audio"}  # null or 1: they say nothing
    return [[{name: value for name, value in message.items() if name in kept or name not in extra}
             for message in messages]]


def _from_sharegpt(row: Row) -> list[Turns]:
    turns = []
    for turn in row["conversations"] if isinstance(row["conversations"], list) else [None]:
        if not isinstance(turn, dict) or not {"from", "value"} <= turn.keys():
            raise UserError("'conversations' must be a list of objects with 'from' and 'value'.",
                            'Write [{"from": "human", "value": "..."}].')
        if turn["from"] not in SHAREGPT:
            raise UserError(f"Unknown speaker '{turn['from']}' in a conversation.",
                            nearest(str(turn["from"]), SHAREGPT))
        turns.append({"role": SHAREGPT[turn["from"]], "content": _text(turn["value"], "value")})
    if row.get("system"):
        turns = [{"role": "system", "content": _text(row["system"], "system")}, *turns]
    return [turns]


def _from_dialogue(row: Row) -> list[Turns]:
    said = _answers(row["dialogue"], "dialogue")
    if len(said) % 2:
        raise UserError("The dialogue ends with the user: its last message has no answer.",
                        "Add the answer, or remove the last message.")
    return [[{"role": ("user", "assistant")[place % 2], "content": text} for place, text in enumerate(said)]]


def _from_instruction(row: Row) -> list[Turns]:
    """Instruction and input as one message, a blank line between them, as the format's own template joins them."""
    given = row.get("input") or ""
    if not isinstance(given, str):
        raise UserError("'instruction' and 'input' must be text.", 'Write "input": "...".')
    asked = "\n\n".join(part for part in (_text(row["instruction"], "instruction"), given) if part)
    before = [{"role": "system", "content": row["system"]}] if row.get("system") else []
    for pair in row.get("history") or []:
        if not isinstance(pair, list) or len(pair) != 2:
            raise UserError("'history' must be a list of pairs.", 'Write [["question", "answer"], ...].')
        before += _exchanges(*(_text(pair[0], "history"), [_text(pair[1], "history")]))[0]
    return [[*before, *turns] for turns in _exchanges(asked, _answers(row["output"], "output"))]


def _from_completion(row: Row) -> list[Turns]:
    prompt, completion = row["prompt"], row["completion"]
    if isinstance(completion, list) and completion and isinstance(completion[0], dict):  # lists of messages
        if len(completion) != 1 or completion[0].get("role") != "assistant":
            raise UserError("'completion' must be text or a list with one message of the assistant's.",
                            'Write [{"role": "assistant", "content": "..."}].')
        completion = completion[0].get("content")
    before = prompt if isinstance(prompt, list) else [{"role": "user", "content": _text(prompt, "prompt")}]
    return [[*before, {"role": "assistant", "content": _text(completion, "completion")}]]


def _from_qa(row: Row) -> list[Turns]:
    answers = _answers(row["answer"] if "answer" in row else row.get("answers"), "answer")
    before = [_text(row["context"], "context")] if row.get("context") else []
    asked = "\n\n".join([*before, _text(row["question"], "question")])
    return _exchanges(asked, answers)


def _from_classification(row: Row) -> list[Turns]:
    label = row["label"]
    if isinstance(label, bool) or not isinstance(label, (str, int)):
        raise UserError("'label' must be text or a whole number.", 'Write "label": "positive".')
    return _exchanges(_text(row["text"], "text"), [_text(str(label), "label")])


def _from_entity(row: Row) -> list[Turns]:
    """Facts as lines, `name: value`, or `- fact` where they have no names."""
    entity, facts = _text(row["entity"], "entity"), row["facts"]
    if isinstance(facts, dict) and facts:
        lines = [f"{_line(name)}: {_line(value)}" for name, value in facts.items()]
        if any(": " in name for name in facts):
            raise UserError("The name of a fact holds a colon.", "Write the name without it.")
    elif isinstance(facts, list) and facts:
        lines = [f"- {_line(fact)}" for fact in facts]
    else:
        raise UserError("'facts' must be an object or a list that is not empty.", 'Write {"born": "1815"}.')
    language = "zh" if any("\u4e00" <= character <= "\u9fff" for character in entity) else "en"
    return _exchanges(ABOUT[language].format(entity), ["\n".join(lines)])


def _line(value: Any) -> str:
    """A fact as a line; a number is written out, as a label's is."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    text = str(value) if number else _text(value, "facts")
    if "\n" in text:
        raise UserError("A fact has more than one line.", "Write it in one.")
    return text


# ---- writing ---------------------------------------------------------------------------------------------------------

def _single(groups: list[Turns]) -> tuple[str, list[str]]:
    """One question and its answers, or a refusal: the shape has no place for more."""
    roles = [message["role"] for message in groups[0]]
    if roles != ["user", "assistant"] or not all(isinstance(message["content"], str) for message in groups[0]):
        raise UserError("This shape holds one message of the user's and its answer, as text.",
                        "Write it as 'messages' or 'sharegpt'.")
    return groups[0][0]["content"], [turns[1]["content"] for turns in groups]


def _to_messages(groups: list[Turns]) -> Row:
    return {"messages": groups[0]}


def _to_sharegpt(groups: list[Turns]) -> Row:
    if not all(isinstance(message["content"], str) for message in groups[0]):
        raise UserError("This shape holds text only.", "Write it as 'messages'.")
    return {"conversations": [{"from": SHAREGPT_BACK[message["role"]], "value": message["content"]}
                              for message in groups[0]]}


def _to_dialogue(groups: list[Turns]) -> Row:
    if [message["role"] for message in groups[0]] != ["user", "assistant"] * (len(groups[0]) // 2):
        raise UserError("This shape holds messages of the user's and the assistant's in turn.",
                        "Write it as 'messages' or 'sharegpt'.")
    return {"dialogue": [message["content"] for message in groups[0]]}


def _to_instruction(groups: list[Turns]) -> Row:
    asked, answers = _single(groups)
    return {"instruction": asked, "output": answers[0] if len(answers) == 1 else answers}


def _to_completion(groups: list[Turns]) -> Row:
    asked, answers = _single(groups)
    return {"prompt": asked, "completion": answers[0]}


def _to_qa(groups: list[Turns]) -> Row:
    asked, answers = _single(groups)
    return {"question": asked, "answer": answers[0] if len(answers) == 1 else answers}


def _to_classification(groups: list[Turns]) -> Row:
    asked, answers = _single(groups)
    return {"text": asked, "label": answers[0]}


def _to_entity(groups: list[Turns]) -> Row:
    asked, answers = _single(groups)
    for template in ABOUT.values():
        before, after = template.split("{}")
        if asked.startswith(before) and asked.endswith(after):
            lines = answers[0].split("\n")
            entity = asked[len(before):len(asked) - len(after)]
            if all(line.startswith("- ") for line in lines):
                return {"entity": entity, "facts": [line[2:] for line in lines]}
            if all(": " in line for line in lines):
                return {"entity": entity, "facts": dict(line.split(": ", 1) for line in lines)}
    raise UserError("This is no question about an entity with lines of facts.", "Write it as 'qa' or 'messages'.")


SHAPES = {shape.name: shape for shape in (
    Shape("messages", ("messages",), ("tools",), _from_messages, _to_messages),
    Shape("sharegpt", ("conversations",), ("system",), _from_sharegpt, _to_sharegpt),
    Shape("dialogue", ("dialogue",), (), _from_dialogue, _to_dialogue),
    Shape("instruction", ("instruction", "output"), ("input", "system", "history"), _from_instruction,
          _to_instruction),
    Shape("completion", ("prompt", "completion"), (), _from_completion, _to_completion),
    Shape("qa", ("question",), ("answer", "answers", "context"), _from_qa, _to_qa),
    Shape("classification", ("text", "label"), (), _from_classification, _to_classification),
    Shape("entity", ("entity", "facts"), (), _from_entity, _to_entity),
)}
SEVERAL = ("instruction", "qa")  # shapes that hold several answers to one prompt
