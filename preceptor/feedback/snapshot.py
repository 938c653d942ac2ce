"""What training reads: the labels of a store at one moment, as the files that a `comparisons` step would have written.

A run that is killed and goes on reads the snapshot that it had begun with, whatever was labelled meanwhile.
"""

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import sqlalchemy as sql

from preceptor.data.jsonl import write_jsonl
from preceptor.data.records import Comparison
from preceptor.feedback.records import SPLITS, comparisons
from preceptor.feedback.store import Store, open_store
from preceptor.feedback.tables import items, labelers, labels
from preceptor.run.errors import UserError
from preceptor.run.files import hash_value, replacing

HELD_OUT = 10   # where no ranking is held out, every tenth prompt is
FEWEST = 20     # prompts below which none is


def fingerprint(place: str | Path) -> str:
    """A hash of the labels that count at this moment: a recipe's step is redone when it changes.

    Raises:
        UserError: there is no such store.
    """
    store = open_store(place, create=False)
    counted = (labels.c.withdrawn.is_(None), labelers.c.excluded.is_(False))
    query = sql.select(labels.c.key, labels.c.split, items.c.gold.is_(None))
    query = query.join(labelers, labelers.c.name == labels.c.labeler).join(items, items.c.key == labels.c.item)
    with store.reading() as connection:
        rows = [list(row) for row in connection.execute(query.where(*counted).order_by(labels.c.key))]
    store.close()
    return hash_value(rows)


def take_snapshot(place: str | Path, folder: Path) -> dict[str, int]:
    """Write comparisons.{train,valid,heldout}.jsonl of the labels that count; returns how many of each, and left out.

    Left out are rankings of gold questions, which test labelers, and training rankings of prompts that others hold out.
    Where nothing is held out, one prompt in ten is, by a hash of its id.

    Raises:
        UserError: there is no such store, or nothing to train on.
    """
    store = open_store(place, create=False)
    try:
        sides, left_out = _sides(store)
    finally:
        store.close()
    if not sides["train"]:
        raise UserError(f"The store '{place}' has no rankings to train on.", "Label first: preceptor label RUN.")
    with replacing(folder) as temporary:
        temporary.mkdir()
        for split, rankings in sides.items():
            if rankings:
                write_jsonl(temporary / f"comparisons.{split}.jsonl", rankings)
    return {split: len(rankings) for split, rankings in sides.items()} | {"left_out": left_out}


def _sides(store: Store) -> tuple[dict[str, list[Comparison]], int]:
    every = {split: list(comparisons(store, split=split)) for split in SPLITS}
    sides = {split: [one for one in rankings if not one.gold] for split, rankings in every.items()}
    if not sides["valid"]:
        drawn = _drawn({one.prompt.id for one in sides["train"]})
        sides["valid"] = [one for one in sides["train"] if one.prompt.id in drawn]
    held = {one.prompt.id for split in ("valid", "heldout") for one in sides[split]}
    sides["train"] = [one for one in sides["train"] if one.prompt.id not in held]
    return sides, sum(map(len, every.values())) - sum(map(len, sides.values()))


def _drawn(prompts: Sequence[str] | set[str]) -> set[str]:
    """About a tenth of the prompts; the same prompt is drawn whatever the others are."""
    if len(prompts) < FEWEST:
        return set()
    return {id for id in prompts if int.from_bytes(sha256(id.encode()).digest()[:4]) % HELD_OUT == 0}
