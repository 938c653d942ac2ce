"""The records: golden files that every later version must read and write to the same bytes, and what is refused.
"""

import json
from pathlib import Path

import pytest

from preceptor.data.jsonl import read_jsonl, write_jsonl
from preceptor.data.records import Annotated, Comparison, Conversation, Document, Prompt, Record, Response
from preceptor.run.errors import UserError

GOLDEN = Path(__file__).parent / "golden"
KINDS = [Annotated, Document, Conversation, Prompt, Response, Comparison]
TURN = {"role": "user", "content": "?"}


@pytest.mark.parametrize("kind", KINDS)
def test_golden_records_come_back_to_the_same_bytes(kind: type[Record], tmp_path: Path) -> None:
    golden = GOLDEN / f"{kind.__name__}.jsonl"
    records = read_jsonl(golden, kind)
    assert write_jsonl(tmp_path / "again.jsonl", records) == 2
    assert (tmp_path / "again.jsonl").read_bytes() == golden.read_bytes()


@pytest.mark.parametrize("kind", KINDS)
def test_a_golden_record_fills_every_field(kind: type[Record]) -> None:
    full = json.loads((GOLDEN / f"{kind.__name__}.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert set(full) == set(kind.__dataclass_fields__), "a new field needs a place in the golden file"


@pytest.mark.parametrize(("kind", "row", "said"), [
    (Document, {"txt": "a", "id": "1"}, "Did you mean 'text'?"),
    (Document, {"text": "a"}, "lacks the field 'id'"),
    (Document, {"text": 3, "id": "1"}, "must be text, not int"),
    (Document, ["a"], "must be a JSON object, not list"),
    (Conversation, {"id": "1", "messages": []}, "at least one message"),
    (Conversation, {"id": "1", "messages": [{"role": "user"}]}, "exactly 'role' and 'content'"),
    (Prompt, {"id": "1", "messages": [{"role": "usr", "content": "?"}]}, "Did you mean 'user'?"),
    (Prompt, {"id": "1", "messages": [{"role": "user", "content": None}]}, "text or a list of parts"),
    (Response, {"text": "a", "finish": "end"}, "Unknown finish 'end'"),
    (Annotated, {"text": "ab", "id": "1"}, "neither a label nor spans"),
    (Annotated, {"text": "ab", "id": "1", "spans": [["X", 1, 3]]}, "inside the text"),
    (Annotated, {"text": "abc", "id": "1", "spans": [["X", 0, 2], ["X", 1, 3]]}, "must not overlap"),
])
def test_a_malformed_record_is_refused_with_its_cure(kind: type[Record], row: object, said: str) -> None:
    with pytest.raises(UserError) as caught:
        kind.from_dict(row)
    assert said in f"{caught.value.cause} {caught.value.cure}"


def _comparison(**changes: object) -> dict[str, object]:
    return {"id": "k", "prompt": {"id": "p", "messages": [TURN]}, "responses": [{"text": t} for t in "abc"],
            "ranking": [[2], [0, 1]], "labeler": "l", "kind": "person"} | changes


@pytest.mark.parametrize("changes", [
    {"ranking": [[2], [0]]}, {"ranking": [[2], [0, 1, 1]]}, {"ranking": [[2], [0, 1], [3]]},
    {"ranking": [[2, 0, 1], []]},
    {"shown": [0, 1]}, {"kind": "robot"}, {"prompt": None}, {"responses": [{"text": "a"}, {"txt": "b"}, {"text": "c"}]},
])
def test_a_ranking_must_place_every_answer_once(changes: dict[str, object]) -> None:
    assert Comparison.from_dict(_comparison()).ranks() == [1, 1, 0]
    with pytest.raises(UserError):
        Comparison.from_dict(_comparison(**changes))


def test_what_is_absent_is_never_written_as_null() -> None:
    assert Prompt("p", [TURN]).to_dict() == {"id": "p", "messages": [TURN]}
