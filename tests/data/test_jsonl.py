"""JSON Lines: every bad line is named by its number and the reason; what is a line end elsewhere is text here."""

import gzip
from pathlib import Path

import pytest

from preceptor.data.jsonl import read_jsonl, read_rows, write_jsonl
from preceptor.data.records import Document
from preceptor.run.errors import UserError

ODD = "one\u2028two\u2029three\x85four\x0bfive\rsix 蜜蜂 \U0001f41d"


def test_every_character_survives_a_round_trip(tmp_path: Path) -> None:
    documents = [Document(ODD, "1"), Document("\n\t\"\\", "2")]
    write_jsonl(tmp_path / "a.jsonl", documents)
    assert read_jsonl(tmp_path / "a.jsonl", Document) == documents
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress((tmp_path / "a.jsonl").read_bytes()))
    assert read_jsonl(tmp_path / "a.jsonl.gz", Document) == documents


def test_blank_lines_and_a_missing_last_newline_are_fine_and_numbers_stay_true(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('\n{"a": 1}\r\n\n  \n{"a": 2}', encoding="utf-8")
    assert list(read_rows(path)) == [(2, {"a": 1}), (5, {"a": 2})]


@pytest.mark.parametrize(("content", "said"), [
    (b'{"text": "a", "id": "1"}\n{"text": "b", "id": }\n', "Line 2 of"),
    (b'{"text": "a", "id": "1"}\n[1]\n', "Line 2 of"),
    (b'{"text": "a", "id": "1"}\n\n{"text": "b", "ID": "2"}\n', "Line 3 of"),
    (b'{"text": "\xff", "id": "1"}\n', "is not UTF-8 text"),
    (b"\n\n", "holds no records"),
])
def test_what_cannot_be_read_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(content)
    with pytest.raises(UserError, match=said) as caught:
        read_jsonl(path, Document)
    assert str(path) in caught.value.cause and caught.value.cure


def test_missing_files_folders_and_broken_gzip_are_named(tmp_path: Path) -> None:
    whole = gzip.compress(b'{"text": "a", "id": "1"}\n' * 100)
    (tmp_path / "cut.jsonl.gz").write_bytes(whole[:-20])
    (tmp_path / "plain.jsonl.gz").write_bytes(b'{"text": "a", "id": "1"}\n')
    for name, said in [("none.jsonl", "There is no file"), (".", "is a folder"), ("cut.jsonl.gz", "broken gzip"),
                       ("plain.jsonl.gz", "broken gzip")]:
        with pytest.raises(UserError, match=said):
            read_jsonl(tmp_path / name, Document)


def test_a_write_that_fails_leaves_the_old_file_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    write_jsonl(path, [Document("old", "1")])

    def interrupted():
        yield Document("new", "1")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_jsonl(path, interrupted())
    assert read_jsonl(path, Document) == [Document("old", "1")]
    assert list(tmp_path.iterdir()) == [path], "nothing half written stays behind"
