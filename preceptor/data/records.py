"""The records that stages exchange, one JSON object a line. What was not judged or not known is absent, never null.

    Document      a text to pretrain on
    Conversation  a demonstration: messages that end with the assistant's answer
    Prompt        messages that wait for an answer
    Response      one answer, with how it was sampled
    Comparison    K answers to a prompt, ranked (with ties) by one labeler
    Annotated     a text with its label, or with the spans in it that are entities or values of fields

Every record is a frozen dataclass; `to_dict` leaves out what is absent, `from_dict` refuses unknown and missing
fields, so that a misspelled column is an error and not a silent loss.
"""

from dataclasses import MISSING, dataclass, fields
from typing import Any, Self

from preceptor.run.errors import UserError, nearest

ROLES = ("system", "user", "assistant")
FINISHES = ("eos", "length", "stop")
LABELER_KINDS = ("person", "model", "program")
IMAGE = "<|image|>"  # what stands for a picture where a message is written as plain text


class Record:
    """Conversion shared by all records: dataclass fields to JSON objects and back, strictly."""

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of this record; absent fields are left out."""
        return {f.name: _plain(value) for f in fields(self) if (value := getattr(self, f.name)) is not None}

    @classmethod
    def from_dict(cls, row: dict[str, Any]) -> Self:
        """Read a JSON object.

        Raises:
            UserError: a field is unknown, missing, or not of its form.
        """
        if not isinstance(row, dict):
            raise UserError(f"A {cls.__name__} must be a JSON object, not {type(row).__name__}.",
                            "Write one object a line, in braces.")
        known = {f.name: f for f in fields(cls)}
        for name in row:
            if name not in known:
                raise UserError(f"Unknown field '{name}' in a {cls.__name__}.", nearest(name, known))
        needed = (name for name, f in known.items() if f.default is MISSING and f.default_factory is MISSING)
        for name in needed:
            if name not in row:
                raise UserError(f"A {cls.__name__} lacks the field '{name}'.", f"Add '{name}' to the record.")
        return cls(**row)


def _plain(value: Any) -> Any:
    if isinstance(value, Record):
        return value.to_dict()
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value


def _check_messages(kind: str, messages: Any) -> None:
    """Messages are `{role, content}`; content is text, or a list of parts in the OpenAI message form."""
    if not isinstance(messages, list) or not messages:
        raise UserError(f"The messages of a {kind} must be a list with at least one message.",
                        'Write "messages": [{"role": "user", "content": "..."}].')
    for message in messages:
        if not isinstance(message, dict) or set(message) != {"role", "content"}:
            raise UserError(f"A message of a {kind} must have exactly 'role' and 'content'.",
                            'Write {"role": "user", "content": "..."}.')
        if message["role"] not in ROLES:
            raise UserError(f"Unknown role '{message['role']}' in a {kind}.", nearest(str(message["role"]), ROLES))
        if not isinstance(message["content"], (str, list)):
            raise UserError(f"The content of a message of a {kind} must be text or a list of parts.",
                            'Write "content": "...".')


def content_text(content: str | list[dict[str, Any]]) -> str:
    """The content of a message as text: of parts in the OpenAI message form the texts, and `IMAGE` for each picture."""
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") if part.get("type") == "text" else IMAGE for part in content)


def image_urls(messages: list[dict[str, Any]]) -> list[str]:
    """Where the pictures of some messages are, in the order in which they stand."""
    return [part["image_url"]["url"] for message in messages if not isinstance(message["content"], str)
            for part in message["content"] if part.get("type") == "image_url"]


def _check_text(kind: str, name: str, value: Any) -> None:
    if not isinstance(value, str):
        raise UserError(f"The field '{name}' of a {kind} must be text, not {type(value).__name__}.",
                        f'Write "{name}": "...".')


@dataclass(frozen=True, slots=True)
class Document(Record):
    """A text to pretrain on."""

    text: str
    id: str
    source: str = "unknown"
    language: str | None = None
    license: str | None = None

    def __post_init__(self) -> None:
        _check_text("Document", "text", self.text)


@dataclass(frozen=True, slots=True)
class Annotated(Record):
    """A text and what is to be read from it: `label`, or `spans`, or both.

    A span is [type, start, end] in characters, the end behind its last; in the order of the text, none overlapping.
    """

    text: str
    id: str
    label: str | None = None
    spans: list[list[Any]] | None = None
    source: str = "unknown"
    language: str | None = None

    def __post_init__(self) -> None:
        _check_text("Annotated", "text", self.text)
        if self.label is None and self.spans is None:
            raise UserError(f"The text '{self.id}' has neither a label nor spans.", "Give it one of them.")
        if self.label is not None:
            _check_text("Annotated", "label", self.label)
        before = 0
        for span in self.spans or []:
            if (not isinstance(span, list) or [type(part) for part in span] != [str, int, int]
                    or not before <= span[1] < span[2] <= len(self.text)):
                raise UserError(f"The spans of the text '{self.id}' must be [type, start, end] in characters, in "
                                "order, inside the text, and must not overlap.", 'Write "spans": [["PER", 0, 5]].')
            before = span[2]


@dataclass(frozen=True, slots=True)
class Conversation(Record):
    """A demonstration. The losses of supervised fine-tuning count the assistant's messages only.

    `concept` names what its picture shows: all pictures and texts of one concept belong together in a matching loss.
    """

    id: str
    messages: list[dict[str, Any]]
    category: str | None = None
    user: str | None = None
    source: str | None = None
    concept: str | None = None

    def __post_init__(self) -> None:
        _check_messages("Conversation", self.messages)


@dataclass(frozen=True, slots=True)
class Prompt(Record):
    """Messages that wait for the assistant. `user` is who sent it: splits are by user."""

    id: str
    messages: list[dict[str, Any]]
    category: str | None = None
    user: str | None = None
    source: str | None = None

    def __post_init__(self) -> None:
        _check_messages("Prompt", self.messages)

    def text(self) -> str:
        """The messages as plain text, for readers without a chat template: one alone as it is, several with roles."""
        if len(self.messages) == 1:
            return content_text(self.messages[0]["content"])
        return "\n\n".join(f"{message['role'].capitalize()}: {content_text(message['content'])}"
                           for message in self.messages)


@dataclass(frozen=True, slots=True)
class Response(Record):
    """One answer. `token_ids` (end-of-text token included) belong to `tokenizer`, the fingerprint of a vocabulary.

    `scores` may hold `overall` (1 to 7) and `accuracy`, `relevance`, `naturalness`, `concision` (1 to 5).
    """

    text: str
    finish: str = "eos"
    model: str | None = None
    sampling: dict[str, Any] | None = None
    token_ids: list[int] | None = None
    tokenizer: str | None = None
    scores: dict[str, float] | None = None
    flags: list[str] | None = None
    comment: str | None = None

    def __post_init__(self) -> None:
        _check_text("Response", "text", self.text)
        if self.finish not in FINISHES:
            raise UserError(f"Unknown finish '{self.finish}' of a Response.", nearest(str(self.finish), FINISHES))


@dataclass(frozen=True, slots=True)
class Comparison(Record):
    """K answers to one prompt, judged by one labeler.

    `ranking` lists groups of indices into `responses`, the best group first; answers of one group are tied.
    `shown` lists the indices in the order in which the labeler saw them.
    """

    id: str
    prompt: Prompt
    responses: list[Response]
    ranking: list[list[int]]
    labeler: str
    kind: str
    shown: list[int] | None = None
    prompt_flags: list[str] | None = None
    gold: bool | None = None
    round: int | None = None
    seconds: float | None = None
    created: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in LABELER_KINDS:
            raise UserError(f"Unknown kind of labeler '{self.kind}'.", nearest(str(self.kind), LABELER_KINDS))
        everyone = list(range(len(self.responses)))
        if sorted(index for group in self.ranking for index in group) != everyone or [] in self.ranking:
            raise UserError(f"The ranking of comparison '{self.id}' must name each of its {len(everyone)} "
                            "responses exactly once.", "Write groups of indices, the best first: [[2], [0, 1]].")
        if self.shown is not None and sorted(self.shown) != everyone:
            raise UserError(f"'shown' of comparison '{self.id}' must be an order of its responses.",
                            "List each index once, in the order displayed.")

    @classmethod
    def from_dict(cls, row: dict[str, Any]) -> Self:
        if isinstance(row, dict) and isinstance(row.get("responses"), list):
            row = {**row, "responses": [Response.from_dict(response) for response in row["responses"]]}
            row["prompt"] = Prompt.from_dict(row.get("prompt"))
        return super(Comparison, cls).from_dict(row)

    def ranks(self) -> list[int]:
        """Rank of each response, 0 for the best group; tied answers share a rank."""
        rank_of = {index: rank for rank, group in enumerate(self.ranking) for index in group}
        return [rank_of[index] for index in range(len(self.responses))]
