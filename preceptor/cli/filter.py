"""`preceptor filter repetition FILE OUT`: texts without what says the same again."""

from pathlib import Path
from typing import Any

from preceptor.run.errors import UserError


def filter_repetition(source: Path, target: Path, threshold: float) -> None:
    """Copy a JSON Lines file without near-duplicate texts and without repeated sentences in those that stay.

    Raises:
        UserError: the file cannot be read, a row has no `text`, or nothing was to be compared with.
    """
    from preceptor.data.jsonl import read_rows, write_jsonl
    from preceptor.metrics.filtering import distinct, without_repeated_sentences
    if not 0 < threshold <= 1:
        raise UserError(f"A similarity of {threshold} is no threshold.", "Give --threshold above 0 and at most 1.")
    rows: list[dict[str, Any]] = []
    for number, row in read_rows(source):
        if not isinstance(row.get("text"), str):
            raise UserError(f"Line {number} of '{source}' has no 'text'.", "Give documents, or answers with a text.")
        rows.append(row)
    if not rows:
        raise UserError(f"'{source}' holds no records.", "Give a file with texts in it.")
    kept, sentences = [], 0
    for index in distinct([row["text"] for row in rows], threshold):
        text, removed = without_repeated_sentences(rows[index]["text"], threshold)
        sentences += removed
        kept.append({**rows[index], "text": text})
    write_jsonl(target, kept)
    print(f"{len(rows)} texts: {len(rows) - len(kept)} were near-duplicates and are left out, {sentences} sentences "
          f"said again are taken out of the {len(kept)} that stay.")
