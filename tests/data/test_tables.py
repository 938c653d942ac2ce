"""Five formats, round-trip equal, and readable by other programs."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preceptor.data.records import Comparison, Conversation, Document
from preceptor.data.tables import read_table, write_table
from preceptor.run.errors import UserError

NAMES = ("t.jsonl", "t.parquet", "t.tfrecord", "t.h5", "dataset")
ROWS = [
    Document("蜜蜂\u2028嗡嗡\n", "d1", "web", "zh").to_dict(), Document("", "d2").to_dict(),
    Conversation("c", [{"role": "user", "content": [{"type": "image", "n": 1}]}], user="u").to_dict(),
    {"n": 2**63 - 1, "m": 2**70, "f": 0.1, "b": True, "list": [], "empty": {}, "null": None, "text": "nul \0 here"},
    {"n": -5, "f": 3, "b": 0, "list": [[1, "a", None]], "a/b": "slash", "text": "emoji 🐝"}, {},
]


@pytest.mark.parametrize("name", NAMES)
def test_every_format_gives_back_the_same_rows(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    assert write_table(path, ROWS) == len(ROWS)
    again = read_table(path)
    assert again == ROWS
    assert [[type(value) for value in row.values()] for row in map(_sorted, again)] == [
        [type(value) for value in row.values()] for row in map(_sorted, ROWS)]
    write_table(path, ROWS[:1])
    assert read_table(path) == ROWS[:1]
    if name == "dataset":
        with pytest.raises(UserError, match="without rows"):
            write_table(path, [])
        return
    write_table(path, [])
    assert read_table(path) == []


def _sorted(row: dict) -> dict:
    return dict(sorted(row.items()))


values = st.recursive(st.none() | st.booleans() | st.integers(-2**66, 2**66) | st.floats(allow_nan=False)
                      | st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
                      lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=2), inner,
                                                                                  max_size=2), max_leaves=4)
rows = st.lists(st.dictionaries(st.sampled_from(["a", "b", "蜂", "a b"]), values, max_size=4), max_size=5)


@settings(deadline=None, max_examples=25)
@given(rows, st.sampled_from(NAMES[1:4]))
def test_any_rows_survive(tmp_path_factory: pytest.TempPathFactory, table: list[dict], name: str) -> None:
    path = tmp_path_factory.mktemp("any") / name
    write_table(path, table)
    assert [json.dumps(_sorted(row)) for row in read_table(path)] == [json.dumps(_sorted(row)) for row in table]


def test_text_columns_are_plain_for_other_programs(tmp_path: Path) -> None:
    import h5py
    import pyarrow.parquet
    from datasets import load_from_disk
    documents = [Document("one", "1").to_dict(), Document("two", "2").to_dict()]
    for name in NAMES:
        write_table(tmp_path / name, documents)
    assert pyarrow.parquet.read_table(tmp_path / "t.parquet")["text"].to_pylist() == ["one", "two"]
    assert load_from_disk(str(tmp_path / "dataset"))["text"][:] == ["one", "two"]
    with h5py.File(tmp_path / "t.h5") as file:
        assert list(file["columns/text/values"].asstr()) == ["one", "two"]
    from tfrecord.torch.dataset import TFRecordDataset  # an independent reader
    found = list(TFRecordDataset(str(tmp_path / "t.tfrecord"), None, {"text": "byte", "id": "byte"}))
    assert [bytes(row["text"]).decode() for row in found] == ["one", "two"]


def test_records_of_every_kind_survive_parquet(tmp_path: Path) -> None:
    golden = sorted((Path(__file__).parent / "golden").glob("*.jsonl"))
    assert golden
    for path in golden:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        write_table(tmp_path / "g.parquet", lines)
        assert read_table(tmp_path / "g.parquet") == lines
        kind = {"comparison": Comparison, "conversation": Conversation, "document": Document}.get(path.stem)
        assert kind is None or [kind.from_dict(row).to_dict() for row in lines] == lines


@pytest.mark.parametrize("name", NAMES[1:])
def test_damaged_files_are_named(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    write_table(path, ROWS)
    if path.is_dir():
        (path / "dataset_info.json").unlink()
        (path / "state.json").unlink()
    else:
        content = bytearray(path.read_bytes())
        path.write_bytes(bytes(content[:len(content) // 2]))
    with pytest.raises(UserError, match="cannot be read"):
        read_table(path)


def test_a_flipped_bit_in_a_tfrecord_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "t.tfrecord"
    write_table(path, [{"text": "bees hum"}])
    content = bytearray(path.read_bytes())
    content[-6] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match="checksum"):
        read_table(path)


def test_unknown_formats_and_names_that_cannot_be_kept_are_refused(tmp_path: Path) -> None:
    for name in ("t.csv", "t.parquet.gz"):
        with pytest.raises(UserError, match="no format"):
            write_table(tmp_path / name, [])
    with pytest.raises(UserError, match="cannot be called"):
        write_table(tmp_path / "t.parquet", [{"a.json": 1}])
    with pytest.raises(UserError, match="There is no file"):
        read_table(tmp_path / "none.parquet")
