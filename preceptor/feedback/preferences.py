"""What people say of answers while they talk with a model: which of two is better, and thumbs up or down.

A preference is a ranking like any other: the next reward model learns from it. A thumb is of one answer alone, so that
nothing can be ranked by it; thumbs leave the store as rows {prompt, completion, label}, from which methods for unpaired
feedback learn (KTO, arXiv 2402.01306).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import sqlalchemy as sql

from preceptor.data.records import Comparison, Prompt, Response
from preceptor.feedback.audit import note
from preceptor.feedback.labelers import add_labeler, hold
from preceptor.feedback.records import add_comparisons
from preceptor.feedback.store import Store, insert_new, key_of
from preceptor.feedback.tables import answers, labelers, prompts, thumbs
from preceptor.run.errors import UserError


@dataclass(frozen=True, slots=True)
class Thumb:
    """One answer that a labeler liked (`up`) or did not."""

    labeler: str
    prompt: Prompt
    response: Response
    up: bool
    created: str

    def row(self) -> dict[str, Any]:
        """The thumb as unpaired preference data: messages and whether the completion is wanted."""
        return {"prompt": self.prompt.messages, "completion": [{"role": "assistant", "content": self.response.text}],
                "label": self.up, "labeler": self.labeler}


def conversation(messages: Sequence[dict[str, Any]]) -> Prompt:
    """A conversation as a prompt, under a name that it has whenever it is held again."""
    return Prompt(f"chat/{key_of(list(messages))}", list(messages), source="chat")


def prefer(store: Store, labeler: str, prompt: Prompt, responses: Sequence[Response],
           ranking: list[list[int]]) -> Comparison:
    """Keep which of some answers is better, by somebody who was shown them in this order.

    Raises:
        UserError: the answers say the same, or the ranking does not name each of them once.
    """
    if len({response.text for response in responses}) < 2:
        raise UserError("The answers say the same: there is nothing to prefer.", "Ask something else.")
    add_labeler(store, labeler)
    one = Comparison(uuid4().hex, prompt, list(responses), ranking, labeler, "person",
                     shown=list(range(len(responses))), created=store.moment())
    add_comparisons(store, [one], who=labeler)
    return one


def thumb(store: Store, labeler: str, prompt: Prompt, response: Response, up: bool | None) -> None:
    """Keep that a labeler likes an answer or not; what he said of it before is replaced, by None with nothing."""
    add_labeler(store, labeler)
    asked = key_of(prompt.to_dict())
    answer = key_of([asked, response.to_dict()])
    with store.writing() as connection:
        hold(connection, labeler)
        insert_new(connection, prompts, [{"key": asked, "record": prompt.to_dict()}])
        insert_new(connection, answers, [{"key": answer, "prompt": asked, "record": response.to_dict()}])
        connection.execute(thumbs.delete().where(thumbs.c.answer == answer, thumbs.c.labeler == labeler))
        if up is not None:
            connection.execute(thumbs.insert().values(answer=answer, labeler=labeler, up=up, created=store.moment()))
        note(store, connection, labeler, "thumb given" if up is not None else "thumb taken back", answer,
             **({"up": up} if up is not None else {}))


def all_thumbs(store: Store) -> Iterator[Thumb]:
    """The thumbs of labelers who are not excluded, the oldest first."""
    query = sql.select(thumbs.c.labeler, prompts.c.record.label("asked"), answers.c.record.label("said"), thumbs.c.up,
                       thumbs.c.created)
    query = query.join(answers, answers.c.key == thumbs.c.answer).join(prompts, prompts.c.key == answers.c.prompt)
    query = query.join(labelers, labelers.c.name == thumbs.c.labeler).where(labelers.c.excluded.is_(False))
    with store.reading() as connection:
        rows = connection.execute(query.order_by(thumbs.c.place)).all()
    for row in rows:
        yield Thumb(row.labeler, Prompt.from_dict(row.asked), Response.from_dict(row.said), row.up, row.created)
