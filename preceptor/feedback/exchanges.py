"""The log of a server's requests, and the preferences that lie in it.

What people do with answers says what they think of them. Each of these becomes a `Comparison`, from which the next
reward model learns as from any other:

    regenerated   the same conversation was answered several times (or with several choices), and goes on with one of
                  them: that one is better than the others
    edited        it goes on with an answer that nobody gave: the edited one is better than those that were given
    ranked        somebody says which answers to one conversation are better than which
    thumbs        somebody likes some answers to one conversation and not others

The last word counts: what a labeler did with a conversation is withdrawn when he does otherwise in the same way.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import sqlalchemy as sql

from preceptor.data.records import Comparison, Prompt, Response
from preceptor.feedback.audit import note
from preceptor.feedback.labelers import add_labeler, hold
from preceptor.feedback.preferences import conversation, thumb
from preceptor.feedback.records import insert_comparisons
from preceptor.feedback.store import Store, insert_new, key_of
from preceptor.feedback.tables import answers, exchanges, labels, prompts, thumbs
from preceptor.run.errors import UserError


@dataclass(frozen=True, slots=True)
class Exchange:
    """A prompt and one answer to it, as they were served; `key` and `choice` are what the client knows it by."""

    key: str
    choice: int
    labeler: str
    created: str
    prompt: Prompt
    response: Response

    def row(self) -> dict[str, Any]:
        """The exchange as a JSON object."""
        return {"id": self.key, "choice": self.choice, "labeler": self.labeler, "created": self.created,
                "prompt": self.prompt.to_dict(), "response": self.response.to_dict()}


def keep(store: Store, caller: str, labeler: str, key: str, messages: Sequence[dict[str, Any]],
         responses: Sequence[Response]) -> None:
    """Keep what was asked and every choice of the answer; and learn what the conversation says of earlier answers.

    Raises:
        UserError: the labeler's name cannot be read.
    """
    add_labeler(store, labeler)
    prompt = conversation(messages)
    asked = key_of(prompt.to_dict())
    said = {key_of([asked, response.to_dict()]): response for response in responses}
    with store.writing() as connection:
        insert_new(connection, prompts, [{"key": asked, "record": prompt.to_dict()}])
        insert_new(connection, answers, [{"key": one, "prompt": asked, "record": response.to_dict()}
                                         for one, response in said.items()])
        moment = store.moment()
        connection.execute(exchanges.insert(), [
            {"key": key, "choice": choice, "caller": caller, "labeler": labeler, "prompt": asked,
             "answer": key_of([asked, response.to_dict()]), "created": moment}
            for choice, response in enumerate(responses)])
    _goes_on(store, labeler, messages)


def _goes_on(store: Store, labeler: str, messages: Sequence[dict[str, Any]]) -> None:
    """Learn from the answer with which a conversation goes on, where the same labeler was given answers there."""
    place = max((number for number, message in enumerate(messages) if message["role"] == "assistant"), default=0)
    if not place:
        return
    chosen = str(messages[place]["content"]).strip()
    prompt = conversation(messages[:place])
    given = _distinct(found.response for found in _find(
        store, exchanges.c.labeler == labeler, exchanges.c.prompt == key_of(prompt.to_dict())))
    if not given or not chosen:
        return
    better = [response for text, response in given.items() if text == chosen]
    others = [response for text, response in given.items() if text != chosen]
    if others:
        _learn(store, labeler, prompt, [better or [Response(chosen)], others], "goes on" if better else "edited")


def edit(store: Store, caller: str, labeler: str, key: str, choice: int, text: str) -> str:
    """Keep an answer as somebody would have it, as better than the one that was given; returns the comparison's id.

    Raises:
        KeyError: this caller has no such exchange.
        UserError: the text is empty, or says the same.
    """
    found = exchange(store, caller, key, choice)
    if not text.strip() or text.strip() == found.response.text.strip():
        raise UserError("The edited answer is empty, or what the answer was already.", "Send what it should have been.")
    return _learn(store, labeler, found.prompt, [[Response(text)], [found.response]], "edited")


def rank(store: Store, caller: str, labeler: str, ranking: Sequence[Sequence[tuple[str, int]]]) -> str:
    """Keep which exchanges have better answers, in groups of (key, choice), the best first; returns the id.

    Raises:
        KeyError: this caller has no such exchange.
        UserError: their conversations differ, or there are not two answers that differ.
    """
    groups = [[exchange(store, caller, key, choice) for key, choice in group] for group in ranking]
    asked = {found.prompt.id: found.prompt for group in groups for found in group}
    if len(asked) != 1:
        raise UserError(f"The ranking is of answers to {len(asked)} conversations.", "Rank answers to one.")
    texts = [found.response.text.strip() for group in groups for found in group]
    if len(set(texts)) < len(texts) or len(texts) < 2 or [] in groups:
        raise UserError("The ranking needs at least two answers, no two of which say the same, and no empty group.",
                        "Rank answers that differ.")
    return _learn(store, labeler, next(iter(asked.values())),
                  [[found.response for found in group] for group in groups], "ranked")


def give_thumb(store: Store, caller: str, labeler: str, key: str, choice: int, up: bool) -> str | None:
    """Keep that a labeler likes an answer or not; returns the id of the comparison that his thumbs for answers to this
    conversation make together, where they do. Where they do no longer, the one that they made counts no longer either.

    Raises:
        KeyError: this caller has no such exchange.
    """
    found = exchange(store, caller, key, choice)
    thumb(store, labeler, found.prompt, found.response, up)
    query = sql.select(thumbs.c.up, answers.c.record).join(answers, answers.c.key == thumbs.c.answer)
    mine = (thumbs.c.labeler == labeler, answers.c.prompt == key_of(found.prompt.to_dict()))
    with store.writing() as connection:
        hold(connection, labeler)
        rows = connection.execute(query.where(*mine).order_by(thumbs.c.place)).all()
        liked = _distinct(Response.from_dict(row.record) for row in rows if row.up)
        others = _distinct(Response.from_dict(row.record) for row in rows if not row.up)
        both = liked.keys() & others.keys()  # the same text by two models, which says nothing
        groups = [[response for text, response in side.items() if text not in both] for side in (liked, others)]
        if all(groups):
            return _replace(store, connection, labeler, found.prompt, groups, "thumbs")
        _withdraw(store, connection, labeler, found.prompt, "thumbs")
    return None


def exchange(store: Store, caller: str, key: str, choice: int) -> Exchange:
    """What a caller was answered.

    Raises:
        KeyError: this caller has no such exchange.
    """
    mine = (exchanges.c.key == key, exchanges.c.choice == choice, exchanges.c.caller == caller)
    for found in _find(store, *mine):
        return found
    raise KeyError(key)


def all_exchanges(store: Store) -> Iterator[Exchange]:
    """Everything in the log, the oldest first."""
    return _find(store)


def _find(store: Store, *conditions: Any) -> Iterator[Exchange]:
    query = sql.select(exchanges, prompts.c.record.label("asked_record"), answers.c.record.label("said"))
    query = query.join(prompts, prompts.c.key == exchanges.c.prompt).join(answers, answers.c.key == exchanges.c.answer)
    with store.reading() as connection:
        rows = connection.execute(query.where(*conditions).order_by(exchanges.c.place)).all()
    for row in rows:
        yield Exchange(row.key, row.choice, row.labeler, row.created, Prompt.from_dict(row.asked_record),
                       Response.from_dict(row.said))


def _distinct(responses: Iterator[Response]) -> dict[str, Response]:
    """The first response of each text."""
    found: dict[str, Response] = {}
    for response in responses:
        found.setdefault(response.text.strip(), response)
    return found


def _learn(store: Store, labeler: str, prompt: Prompt, groups: Sequence[Sequence[Response]], way: str) -> str:
    """Keep a ranking, in place of what this labeler said of this conversation in the same way before; returns its id.
    """
    add_labeler(store, labeler)
    with store.writing() as connection:
        hold(connection, labeler)
        return _replace(store, connection, labeler, prompt, groups, way)


def _replace(store: Store, connection: sql.Connection, labeler: str, prompt: Prompt,
             groups: Sequence[Sequence[Response]], way: str) -> str:
    """`_learn` by a transaction that holds the labeler. A ranking that says the same is kept once.

    Answers were not shown side by side here, so that `shown` is absent.
    """
    said = _place(labeler, prompt, way) + key_of([[response.text for response in group] for group in groups]) + "/"
    if same := connection.scalar(sql.select(labels.c.key).where(_counting(said))):
        return same
    _withdraw(store, connection, labeler, prompt, way)
    numbers = iter(range(sum(map(len, groups))))
    one = Comparison(said + uuid4().hex[:8],  # what was withdrawn and is said again is another label
                     prompt, [response for group in groups for response in group],
                     [[next(numbers) for _ in group] for group in groups], labeler, "person", created=store.moment())
    insert_comparisons(store, connection, [one], "train", labeler)
    return one.id


def _withdraw(store: Store, connection: sql.Connection, labeler: str, prompt: Prompt, way: str) -> None:
    """Let what a labeler said of a conversation in one way count no longer."""
    before = connection.scalars(sql.select(labels.c.key).where(_counting(_place(labeler, prompt, way)))).all()
    if before:
        connection.execute(labels.update().where(labels.c.key.in_(before)).values(withdrawn=store.moment()))
        note(store, connection, labeler, "withdrawn", labels=list(before))


def _place(labeler: str, prompt: Prompt, way: str) -> str:
    """With what the keys begin of all that a labeler says of a conversation in one way."""
    return f"served/{key_of([labeler, prompt.id, way])}/"


def _counting(place: str) -> sql.ColumnElement[bool]:
    return sql.and_(labels.c.withdrawn.is_(None), labels.c.key.startswith(place))
