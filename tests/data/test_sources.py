"""A user's files and folders: JSONL, gzip and plain text, and what is counted on the way."""

import gzip
import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preceptor.data.foreign import conversations_of
from preceptor.data.sources import passages, read_documents, read_records
from preceptor.run.errors import UserError


def _lines(*rows: dict) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def test_a_folder_is_read_file_by_file_in_the_order_of_names(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "b.jsonl").write_text(_lines({"text": "春\u2028秋", "lang": "zh"}, {"text": "two", "title": "t"}),
                                      encoding="utf-8")
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(_lines({"text": "one", "id": "x", "source": "s"}).encode()))
    (tmp_path / "sub/c.md").write_text("\ufeff# 标题\r\n\r\nText.", encoding="utf-8")
    (tmp_path / "table.csv").write_text("a,b", encoding="utf-8")
    (tmp_path / ".hidden.txt").write_text("no", encoding="utf-8")
    noted: Counter[str] = Counter()
    documents = read_documents(tmp_path, 1000, noted)
    assert [(d.id, d.text, d.source, d.language) for d in documents] == [
        ("x", "one", "s", None), ("b:1", "春\u2028秋", "b", "zh"), ("b:2", "two", "b", None),
        ("c.md:1", "# 标题\n\nText.", "c", None)]
    assert noted == {"fields 'title' ignored": 1, "files ignored that are not .jsonl, .jsonl.gz, .txt, .md": 1}


def test_ids_that_files_share_are_made_unique_and_counted(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.jsonl").write_text(_lines(*({"id": n, "prompt": name, "completion": "c"} for n in (0, 1))),
                                                encoding="utf-8")
    noted: Counter[str] = Counter()
    records = read_records(tmp_path, conversations_of, noted)
    assert len({record.id for record in records}) == 4 and [record.id for record in records[:2]] == ["0", "1"]
    assert noted == {"repeated ids made unique": 2}


@pytest.mark.parametrize(("content", "said"), [
    ('{"prompt": "a", "completion": "b"}\n\n{"prompt": "a"}\n', "Line 3 of .*cannot be made of the fields prompt"),
    ('{"prompt": "a", "completion": "b"}\n{"prompt": "a", \n', "Line 2 of .*not valid JSON"),
    ('{"prompt": "\\ud83d", "completion": "b"}\n', "Line 1 of .*half of a surrogate pair"),
    ("", "holds no records"),
])
def test_a_bad_line_is_named_by_file_number_and_reason(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "d.jsonl"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=said) as caught:
        read_records(path, conversations_of, Counter())
    assert str(path) in caught.value.cause


def test_folders_and_texts_of_no_use_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b", encoding="utf-8")
    with pytest.raises(UserError, match="has no file that ends in .jsonl, .jsonl.gz"):
        read_records(tmp_path, conversations_of, Counter())
    (tmp_path / "latin.txt").write_bytes("h\xf4tel".encode("latin-1"))
    with pytest.raises(UserError, match="is not UTF-8 text: .* at byte 1"):
        read_documents(tmp_path, 100, Counter())
    (tmp_path / "latin.txt").write_text(" \n\n ", encoding="utf-8")
    with pytest.raises(UserError, match="holds no records"):
        read_documents(tmp_path, 100, Counter())


@settings(deadline=None)
@given(st.lists(st.text("ab蜂 \u2028", max_size=30), max_size=40).map("\n".join), st.integers(1, 60))
def test_passages_are_the_text_again_but_for_blank_ones(text: str, length: int) -> None:
    pieces = list(passages(text, length))
    assert "\n".join(pieces).split() == text.split()
    assert all(piece.strip() for piece in pieces)
    for piece in pieces:  # no piece goes on after the first blank line past `length`
        size = 0
        for line in piece.split("\n")[:-1]:
            size += len(line.encode()) + 1
            assert size < length or (line.strip() and size < 2 * length)


def test_passages_end_at_blank_lines() -> None:
    assert list(passages("one\ntwo\n\nthree\n\nfour", 6)) == ["one\ntwo\n", "three\n", "four"]
