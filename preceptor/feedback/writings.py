"""What labelers write: prompts of the three kinds of InstructGPT (§3.4), demonstrations, and corrected answers."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import sqlalchemy as sql

from preceptor.data.records import Conversation, Prompt
from preceptor.feedback.audit import note
from preceptor.feedback.store import Store
from preceptor.feedback.tables import labelers, writings
from preceptor.run.errors import UserError, nearest

PROMPT_KINDS = ("plain", "few_shot", "user_based")
KINDS = ("prompt", "demonstration", "correction")
LONGEST = 20_000


@dataclass(frozen=True, slots=True)
class Writing:
    """One text of a labeler's: `kind`, the record, who wrote it and when."""

    key: str
    kind: str
    labeler: str
    created: str
    record: dict[str, Any]


def write_prompt(store: Store, labeler: str, text: str, kind: str, examples: list[tuple[str, str]],
                 answer: str = "", category: str | None = None) -> str:
    """Keep a prompt, with its demonstration where there is one; returns its key.

    Args:
        text: the instruction, or for a user-based prompt the use case as a user would put it.
        kind: one of `PROMPT_KINDS`.
        examples: of a few-shot prompt, the query and answer pairs that come before.
        answer: what a good assistant would say; empty keeps the prompt alone.

    Raises:
        UserError: a text is empty or too long, the kind is unknown, or a few-shot prompt has no example.
    """
    if kind not in PROMPT_KINDS:
        raise UserError(f"There is no kind of prompt '{kind}'.", nearest(kind, PROMPT_KINDS))
    given = [part for pair in examples for part in pair] if kind == "few_shot" else []
    if kind == "few_shot" and not examples:
        raise UserError("A few-shot prompt needs at least one example.", "Write a query and its answer.")
    for part in (text, *given):
        check_text(part)
    messages = [{"role": role, "content": part.strip()} for part, role in
                zip([*given, text], ["user", "assistant"] * (len(given) // 2) + ["user"])]
    source = f"written/{kind}"
    if not answer.strip():
        return _keep(store, labeler, "prompt", Prompt("", messages, category, labeler, source))
    check_text(answer)
    messages.append({"role": "assistant", "content": answer.strip()})
    return _keep(store, labeler, "demonstration", Conversation("", messages, category, labeler, source))


def add_corrections(store: Store, connection: sql.Connection, labeler: str, label: str, prompt: Prompt,
                    texts: Mapping[int, str]) -> None:
    """Keep answers as they should have been ("control" data) as demonstrations, in the transaction that keeps the
    ranking `label` in which they were written.

    Args:
        texts: by the number of the answer in the item.

    Raises:
        UserError: a text is empty or too long.
    """
    for number, text in texts.items():
        check_text(text)
        messages = [*prompt.messages, {"role": "assistant", "content": text.strip()}]
        record = Conversation("", messages, prompt.category, labeler, "corrected")
        _add(store, connection, f"{label}/{number}", labeler, "correction", record)


def drop_corrections(store: Store, connection: sql.Connection, label: str) -> None:
    """Mark what was corrected in a ranking as withdrawn, with the ranking."""
    made = sql.and_(writings.c.key.startswith(f"{label}/", autoescape=True), writings.c.withdrawn.is_(None))
    connection.execute(writings.update().where(made).values(withdrawn=store.moment()))


def corrections_of(store: Store, label: str) -> dict[str, str]:
    """What was corrected in a ranking, by the answer's number as text."""
    query = sql.select(writings.c.key, writings.c.record)
    with store.reading() as connection:
        rows = connection.execute(query.where(writings.c.key.startswith(f"{label}/", autoescape=True))).all()
    return {row.key.rsplit("/", 1)[1]: row.record["messages"][-1]["content"] for row in rows}


def check_text(text: str) -> None:
    """Whether a text may be kept.

    Raises:
        UserError: it is empty or too long.
    """
    if not text.strip() or len(text) > LONGEST:
        raise UserError(f"Each text must have 1 to {LONGEST:,} characters.", "Write or shorten it.")


def _keep(store: Store, labeler: str, kind: str, record: Prompt | Conversation) -> str:
    key = uuid4().hex
    with store.writing() as connection:
        _add(store, connection, key, labeler, kind, record)
    return key


def _add(store: Store, connection: sql.Connection, key: str, labeler: str, kind: str,
         record: Prompt | Conversation) -> None:
    row = {"key": key, "labeler": labeler, "kind": kind, "record": {**record.to_dict(), "id": key},
           "created": store.moment()}
    connection.execute(writings.insert().values(row))
    note(store, connection, labeler, "wrote", key, kind=kind)


def take_back(store: Store, labeler: str, key: str) -> bool:
    """Mark a text as withdrawn; false where this labeler has no such text."""
    mine = sql.and_(writings.c.key == key, writings.c.labeler == labeler, writings.c.withdrawn.is_(None))
    with store.writing() as connection:
        done = connection.execute(writings.update().where(mine).values(withdrawn=store.moment())).rowcount
        if done:
            note(store, connection, labeler, "took back", key)
    return bool(done)


def all_writings(store: Store, labeler: str | None = None, *, excluded: bool = False) -> list[Writing]:
    """What was written and not taken back, the oldest first.

    Args:
        labeler: only of this one.
        excluded: also by labelers who are excluded at present.
    """
    query = sql.select(writings).where(writings.c.withdrawn.is_(None)).order_by(writings.c.place)
    if labeler is not None:
        query = query.where(writings.c.labeler == labeler)
    if not excluded:
        query = query.join(labelers, labelers.c.name == writings.c.labeler).where(labelers.c.excluded.is_(False))
    with store.reading() as connection:
        return [Writing(row["key"], row["kind"], row["labeler"], row["created"], row["record"])
                for row in connection.execute(query).mappings()]


def demonstrations(store: Store) -> Iterator[Conversation]:
    """Demonstrations and corrections as records for fine-tuning."""
    return (Conversation.from_dict(one.record) for one in all_writings(store) if one.kind != "prompt")


def prompts(store: Store) -> Iterator[Prompt]:
    """Prompts that wait for an answer."""
    return (Prompt.from_dict(one.record) for one in all_writings(store) if one.kind == "prompt")
