"""Records into the store and out of it: what goes in as a `Comparison` comes out as the same `Comparison`.

An item is a prompt with a set of answers, in the order of their keys, whatever their order in the records: rankings of
the same answers by several labelers, as pairs (chosen, rejected) are, so meet in one item. A label remembers the order
of its record.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sql

from preceptor.data.records import Comparison, Prompt, Response
from preceptor.feedback.audit import note
from preceptor.feedback.store import Store, insert_new, key_of
from preceptor.feedback.tables import answers, assignments, items, labelers, labels, prompts
from preceptor.run.errors import UserError

JUDGED = ("scores", "flags", "comment")  # what a labeler adds to a response
SPLITS = ("train", "valid", "heldout")
MANY = 100  # items added at once that change how a database should look for them
SENSITIVE = {"inappropriate", "sexual", "violent", "encourages_harm", "denigrates", "harmful_advice"}  # flags

CONTENT = sql.select(items.c.answers, prompts.c.record).join(prompts, prompts.c.key == items.c.prompt).where(
    items.c.key == sql.bindparam("which"))
ROW = sql.select(items.c.key, items.c.split, items.c.gold, items.c.round).where(items.c.key == sql.bindparam("which"))


def add_items(store: Store, asked: Sequence[tuple[Prompt, Sequence[Response]]], *, overlap: int = 1,
              split: str = "train", round: int | None = None, who: str = "preceptor") -> list[str]:
    """Add prompts with their answers, each to be ranked by `overlap` labelers; returns the keys of the items.

    An item that is there already stays as it is, but gets more places where `overlap` asks for more.

    Raises:
        UserError: a prompt has fewer than two answers, or the split is unknown.
    """
    _check_split(split)
    bare = [(prompt, [_bare(response) for response in responses]) for prompt, responses in asked]
    with store.writing() as connection:
        keys = _insert_items(connection, bare, split, round)
        places = [{"item": key, "number": number, "finished": False} for key in keys for number in range(overlap)]
        insert_new(connection, assignments, places)
        wanted = items.update().where(items.c.key == sql.bindparam("item"), items.c.overlap < overlap)
        connection.execute(wanted.values(overlap=overlap), [{"item": key} for key in keys])
        note(store, connection, who, "items added", items=len(keys), overlap=overlap, split=split)
        if len(keys) >= MANY and connection.dialect.name == "postgresql":
            connection.exec_driver_sql("ANALYZE items, assignments")  # or it plans for the tables as they were: slowly
    return keys


def add_comparisons(store: Store, comparisons: Sequence[Comparison], *, split: str = "train",
                    who: str = "preceptor") -> int:
    """Add rankings with their prompts, answers and labelers; returns how many were not there yet.

    Raises:
        UserError: the split is unknown, or a record has the id of another one that says something else.
    """
    with store.writing() as connection:
        return insert_comparisons(store, connection, comparisons, split, who)


def insert_comparisons(store: Store, connection: sql.Connection, comparisons: Sequence[Comparison], split: str,
                       who: str) -> int:
    """`add_comparisons` as a part of a transaction."""
    _check_split(split)
    asked = [(one.prompt, [_bare(response) for response in one.responses]) for one in comparisons]
    keys = _insert_items(connection, asked, split, None)
    people = {one.labeler: {"name": one.labeler, "kind": one.kind, "role": "labeler", "created": store.moment(),
                            "excluded": False} for one in comparisons}
    insert_new(connection, labelers, list(people.values()))
    rows = [label_row(one, key, split) for one, key in zip(comparisons, keys)]
    _refuse_clashes(connection, rows)
    added = insert_new(connection, labels, rows)
    note(store, connection, who, "comparisons added", comparisons=added, known=len(rows) - added)
    return added


def label_row(comparison: Comparison, item: str, split: str) -> dict[str, Any]:
    """A comparison as a row of `labels`: all that its item does not hold."""
    record = comparison.to_dict()
    judged = [{name: response[name] for name in JUDGED if name in response} for response in record.pop("responses")]
    content = {name: value for name, value in record.items() if name not in ("id", "prompt", "labeler", "kind")}
    content |= {"judged": judged, "answers": _answer_keys(comparison.prompt, comparison.responses)}
    return {"key": comparison.id, "item": item, "labeler": comparison.labeler, "kind": comparison.kind,
            "content": content, "split": split}


def comparisons(store: Store, *, split: str | None = None, kinds: Sequence[str] = (), item: str | None = None,
                labeler: str | None = None, excluded: bool = False) -> Iterator[Comparison]:
    """The rankings that count, in the order in which they came; withdrawn ones are left out.

    Args:
        split: only of this split.
        kinds: only of labelers of these kinds; empty takes all.
        item, labeler: only of this one.
        excluded: also those of labelers who are excluded at present.
    """
    query = sql.select(labels.c.key, labels.c.labeler, labels.c.kind, labels.c.content, items.c.prompt)
    query = query.join(items, items.c.key == labels.c.item).join(labelers, labelers.c.name == labels.c.labeler)
    query = query.where(labels.c.withdrawn.is_(None)).order_by(labels.c.place)
    if split is not None:
        query = query.where(labels.c.split == split)
    if kinds:
        query = query.where(labels.c.kind.in_(kinds))
    if item is not None:
        query = query.where(labels.c.item == item)
    if labeler is not None:
        query = query.where(labels.c.labeler == labeler)
    if not excluded:
        query = query.where(labelers.c.excluded.is_(False))
    with store.reading() as connection:
        rows = connection.execute(query).all()
        asked = _prompts(connection, {row.prompt for row in rows})
        said = _answers(connection, {key for row in rows for key in row.content["answers"]})
    for row in rows:
        yield _comparison(row, asked[row.prompt], said)


def item_content(store: Store, key: str) -> tuple[Prompt, list[Response]]:
    """The prompt and answers of an item, which never change.

    Raises:
        KeyError: there is no such item.
    """
    def read() -> tuple[Prompt, list[Response]]:
        with store.reading() as connection:
            row = connection.execute(CONTENT, {"which": key}).one_or_none()
            if row is None:
                raise KeyError(key)
            said = _answers(connection, set(row.answers))
            return Prompt.from_dict(row.record), [said[answer] for answer in row.answers]

    prompt, responses = store.known(key, read)
    return prompt, list(responses)


def item_row(connection: sql.Connection, key: str) -> dict[str, Any]:
    """What an item is besides its content: `{key, split, gold, round}`.

    Raises:
        KeyError: there is no such item.
    """
    row = connection.execute(ROW, {"which": key}).mappings().one_or_none()
    if row is None:
        raise KeyError(key)
    return dict(row)


def is_gold(store: Store, key: str) -> bool | None:
    """Whether an item is a gold question; None where there is no such item."""
    with store.reading() as connection:
        return connection.scalar(sql.select(items.c.gold.is_not(None)).where(items.c.key == key))


def set_gold(store: Store, known: Sequence[Comparison], who: str = "preceptor") -> int:
    """Make the items of these comparisons gold questions: the rankings are held to be right, and which answers have a
    flag of sensitive content. Returns how many.

    Raises:
        UserError: the store lacks the items of some of them.
    """
    found = 0
    with store.writing() as connection:
        for one in known:
            keys = _answer_keys(one.prompt, one.responses)
            order = sorted(range(len(keys)), key=keys.__getitem__)
            place = {index: number for number, index in enumerate(order)}
            ranking = [sorted(place[index] for index in group) for group in one.ranking]
            key = _item_key(key_of(one.prompt.to_dict()), sorted(keys))
            sensitive = sorted(place[index] for index, response in enumerate(one.responses)
                               if SENSITIVE & set(response.flags or ()))
            gold = {"ranking": ranking, "sensitive": sensitive}
            found += connection.execute(items.update().where(items.c.key == key).values(gold=gold)).rowcount
        if found < len(known):
            raise UserError(f"{len(known) - found} of {len(known)} gold rankings are of no item in the store.",
                            "Add their prompts and answers first.")
        note(store, connection, who, "gold set", items=found)
    return found


def _check_split(split: str) -> None:
    if split not in SPLITS:
        raise UserError(f"Unknown split '{split}' of the labels.", f"Choose one of: {', '.join(SPLITS)}.")


def _bare(response: Response) -> Response:
    return replace(response, **dict.fromkeys(JUDGED))


def _answer_keys(prompt: Prompt, responses: Sequence[Response]) -> list[str]:
    asked = key_of(prompt.to_dict())
    return [key_of([asked, _bare(response).to_dict()]) for response in responses]


def _item_key(prompt: str, keys: Sequence[str]) -> str:
    return key_of([prompt, *sorted(keys)])


def _insert_items(connection: sql.Connection, asked: Sequence[tuple[Prompt, Sequence[Response]]], split: str,
                  round: int | None) -> list[str]:
    """Add prompts, answers and items that are not there yet; returns the key of each item."""
    new_prompts, new_answers, new_items, keys = {}, {}, {}, []
    for prompt, responses in asked:
        if len(responses) < 2:
            raise UserError(f"The prompt '{prompt.id}' has {len(responses)} answers: there is nothing to compare.",
                            "Give at least two answers to each prompt.")
        prompt_key, answer_keys = key_of(prompt.to_dict()), _answer_keys(prompt, responses)
        new_prompts[prompt_key] = {"key": prompt_key, "record": prompt.to_dict()}
        for key, response in zip(answer_keys, responses):
            new_answers[key] = {"key": key, "prompt": prompt_key, "record": response.to_dict()}
        keys.append(_item_key(prompt_key, answer_keys))
        new_items[keys[-1]] = {"key": keys[-1], "prompt": prompt_key, "answers": sorted(answer_keys), "split": split,
                               "overlap": 0, "gold": None, "round": round}
    for table, rows in ((prompts, new_prompts), (answers, new_answers), (items, new_items)):
        insert_new(connection, table, list(rows.values()))
    return keys


def _refuse_clashes(connection: sql.Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Two records may share an id only where they are the same: one of them would be lost."""
    mine: dict[str, dict[str, Any]] = {}
    for row in rows:
        if mine.setdefault(row["key"], row) != row:
            raise UserError(f"Two different comparisons have the id '{row['key']}'.", "Give each an id of its own.")
    columns = [labels.c[name] for name in ("key", "item", "labeler", "kind", "content", "split")]
    for chunk in _chunks(list(mine)):
        for row in connection.execute(sql.select(*columns).where(labels.c.key.in_(chunk))).mappings():
            if dict(row) != mine[row["key"]]:
                raise UserError(f"The store has another comparison with the id '{row['key']}'.",
                                "Give each an id of its own.")


def _comparison(row: Any, prompt: Prompt, said: dict[str, Response]) -> Comparison:
    content = dict(row.content)
    judged, keys = content.pop("judged"), content.pop("answers")
    responses = [replace(said[key], **judgement) for key, judgement in zip(keys, judged)]
    return Comparison(id=row.key, prompt=prompt, responses=responses, labeler=row.labeler, kind=row.kind, **content)


def _prompts(connection: sql.Connection, keys: set[str]) -> dict[str, Prompt]:
    return {row.key: Prompt.from_dict(row.record) for chunk in _chunks(sorted(keys))
            for row in connection.execute(sql.select(prompts).where(prompts.c.key.in_(chunk)))}


def _answers(connection: sql.Connection, keys: set[str]) -> dict[str, Response]:
    return {row.key: Response.from_dict(row.record) for chunk in _chunks(sorted(keys))
            for row in connection.execute(sql.select(answers).where(answers.c.key.in_(chunk)))}


def _chunks(keys: list[str], size: int = 5000) -> Iterator[list[str]]:
    """Keys by the five thousand: databases limit the values of one statement."""
    return (keys[start:start + size] for start in range(0, len(keys), size))
