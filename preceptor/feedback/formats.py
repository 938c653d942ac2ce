"""Rankings as files of other tools, and back.

    comparisons   our own records, JSONL: nothing is lost
    parquet       the same records as a table that Hugging Face `datasets` loads: nothing is lost
    ranked        {prompt, candidates, ranks}: K answers with the rank of each, 0 the best, equal ranks tied
    pairs         {prompt, chosen, rejected} with messages, as TRL reads them: a tie has no pair, and is counted

What `ranked` and `pairs` have no room for (scores, flags, the order shown) is not in them. `data/foreign.py` reads the
rows of both back.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from preceptor.data.jsonl import read_jsonl, write_jsonl
from preceptor.data.records import Comparison
from preceptor.run.errors import UserError, nearest
from preceptor.run.files import replacing

FORMATS = ("comparisons", "parquet", "ranked", "pairs")


def write_comparisons(path: Path, comparisons: Sequence[Comparison], format: str) -> dict[str, int]:
    """Write rankings in one of `FORMATS`; returns `{"rows", "ties"}`: ties are pairs that the format cannot hold.

    Raises:
        UserError: the format is unknown, or pyarrow is missing for Parquet.
    """
    if format not in FORMATS:
        raise UserError(f"There is no format '{format}' of comparisons.", nearest(format, FORMATS))
    if format == "parquet":
        return {"rows": _write_parquet(path, comparisons), "ties": 0}
    rows = {"comparisons": lambda: comparisons, "ranked": lambda: map(ranked, comparisons),
            "pairs": lambda: (pair for one in comparisons for pair in pairs(one))}[format]()
    return {"rows": write_jsonl(path, rows), "ties": sum(map(_ties, comparisons)) if format == "pairs" else 0}


def read_comparisons(path: Path) -> list[Comparison]:
    """The records of a JSONL or Parquet file that `write_comparisons` wrote.

    Raises:
        UserError: the file is missing or is not of this form.
    """
    return list(_read_parquet(path)) if path.suffix == ".parquet" else read_jsonl(path, Comparison)


def ranked(comparison: Comparison) -> dict[str, Any]:
    """The answers of a ranking as messages, with the rank of each; who ranked them, and what."""
    return {"id": comparison.id, "prompt": comparison.prompt.messages,
            "candidates": [_said(response.text) for response in comparison.responses], "ranks": comparison.ranks(),
            "labeler": comparison.labeler}


def pairs(comparison: Comparison) -> Iterator[dict[str, Any]]:
    """Each pair of answers that the ranking sets apart, the better one first."""
    for (first, rank_a), (second, rank_b) in combinations(enumerate(comparison.ranks()), 2):
        if rank_a != rank_b:
            better, worse = (first, second) if rank_a < rank_b else (second, first)
            yield {"id": f"{comparison.id}/{better}-{worse}", "prompt": comparison.prompt.messages,
                   "chosen": _said(comparison.responses[better].text),
                   "rejected": _said(comparison.responses[worse].text), "labeler": comparison.labeler}


def _said(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def _ties(comparison: Comparison) -> int:
    return sum(len(group) * (len(group) - 1) // 2 for group in comparison.ranking)


def _schema(parts: bool) -> Any:
    """The columns. What may be anything (sampling, parts of a message, scores) is a column of JSON text."""
    import pyarrow as pa
    text, whole = pa.string(), pa.int64()
    message = [("role", text), ("content", text)] + ([("parts", text)] if parts else [])
    prompt = pa.struct([("id", text), ("messages", pa.list_(pa.struct(message))), ("category", text), ("user", text),
                        ("source", text)])
    response = pa.struct([("text", text), ("finish", text), ("model", text), ("sampling", text),
                          ("token_ids", pa.list_(whole)), ("tokenizer", text), ("scores", text),
                          ("flags", pa.list_(text)), ("comment", text)])
    return pa.schema([("id", text), ("prompt", prompt), ("responses", pa.list_(response)),
                      ("ranking", pa.list_(pa.list_(whole))), ("labeler", text), ("kind", text),
                      ("shown", pa.list_(whole)), ("prompt_flags", pa.list_(text)), ("gold", pa.bool_()),
                      ("round", whole), ("seconds", pa.float64()), ("created", text)])


def _pyarrow() -> Any:
    try:
        import pyarrow.parquet
    except ImportError:
        raise UserError("Parquet files need the package pyarrow.",
                        "Install it with: pip install 'preceptor[parquet]'") from None
    return pyarrow


def _write_parquet(path: Path, comparisons: Iterable[Comparison]) -> int:
    arrow = _pyarrow()
    rows = [_packed(one.to_dict()) for one in comparisons]
    parts = any("parts" in message for row in rows for message in row["prompt"]["messages"])
    with replacing(path) as temporary:
        arrow.parquet.write_table(arrow.Table.from_pylist(rows, schema=_schema(parts)), temporary)
    return len(rows)


def _read_parquet(path: Path) -> Iterator[Comparison]:
    arrow = _pyarrow()
    try:
        rows = arrow.parquet.read_table(path).to_pylist()
    except (FileNotFoundError, arrow.ArrowInvalid) as error:
        raise UserError(f"'{path}' cannot be read as Parquet: {error}.", "Check the path.") from None
    return (Comparison.from_dict(_unpacked(row)) for row in rows)


def _packed(row: dict[str, Any]) -> dict[str, Any]:
    """A record with its free parts as JSON text."""
    messages = [message if isinstance(message["content"], str)
                else {"role": message["role"], "parts": json.dumps(message["content"], ensure_ascii=False)}
                for message in row["prompt"]["messages"]]
    responses = [{**response, **{name: json.dumps(response[name], ensure_ascii=False)
                                 for name in ("sampling", "scores") if name in response}}
                 for response in row["responses"]]
    return {**row, "prompt": {**row["prompt"], "messages": messages}, "responses": responses}


def _unpacked(row: dict[str, Any]) -> dict[str, Any]:
    """A row of the table as a record: null is absent, and the columns of JSON text are read."""
    row = _present(row)
    for message in row["prompt"]["messages"]:
        if "parts" in message:
            message["content"] = json.loads(message.pop("parts"))
    for response in row["responses"]:
        response |= {name: json.loads(response[name]) for name in ("sampling", "scores") if name in response}
    return row


def _present(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _present(part) for name, part in value.items() if part is not None}
    return [_present(part) for part in value] if isinstance(value, list) else value
