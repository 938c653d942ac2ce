"""`preceptor data ...` as people call it."""

import json
import random
from pathlib import Path

import pytest

from preceptor.cli.main import main
from preceptor.data.jsonl import write_jsonl
from preceptor.data.tables import read_table
from preceptor.data.token_shards import Mapped
from preceptor.tokenizer.train import train_bpe

NOUNS = ("garden river keeper lantern window market harbour letter teacher morning shadow mountain bottle carpenter "
         "kitchen orchard station sailor blanket village").split()
VERBS = "carried followed painted remembered borrowed watched repaired noticed forgot answered gathered crossed".split()
KINDS = "quiet yellow broken distant gentle narrow ancient clever hollow patient silver wooden".split()


def _page(name: str) -> str:
    """English sentences that say nothing twice; a function of the name."""
    draw = random.Random(name)
    return " ".join(f"The {draw.choice(KINDS)} {draw.choice(NOUNS)} {draw.choice(VERBS)} a {draw.choice(KINDS)} "
                    f"{draw.choice(NOUNS)} and {draw.choice(VERBS)} {draw.choice(NOUNS)} to {draw.choice(NOUNS)}."
                    for _ in range(9))


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    folder = tmp_path / "raw"
    folder.mkdir()
    names = ("spring", "summer", "autumn", "winter", "rain", "snow", "dusk", "dawn")
    rows = [{"id": name, "text": _page(name), "source": ("web", "books")[place % 2]}
            for place, name in enumerate(names)]
    rows += [{"id": "twice", "text": rows[0]["text"], "source": "books"},
             {"id": "short", "text": "Too short. <script>alert(1)</script>"},
             {"id": "mail", "text": _page("mist") + " Write to nora@example.org today."}]
    write_jsonl(folder / "a.jsonl", rows)
    page = f"<html><body><nav>Home</nav><article><p>{_page('fog')}</p></article></body></html>"
    (folder / "b.html").write_text(page, encoding="utf-8")
    (folder / "c.bin").write_bytes(b"\0\1")
    return folder


def test_a_result_inside_its_source_is_not_read_again(raw: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`data clean . --out out`, twice: the second time there is nothing to do."""
    command = ["data", "clean", str(raw), "--out", str(raw / "out"), "--set", "reading.extractor=fast"]
    assert main(command) == 0 and main(command) == 0
    assert capsys.readouterr().out.count("12 documents read, 10 kept") == 2


def test_clean_report_split_and_tokenize(raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "clean"
    assert main(["data", "clean", str(raw), "--out", str(out), "--set", "reading.extractor=fast"]) == 0
    printed = capsys.readouterr().out
    assert "12 documents read, 10 kept" in printed and "duplicate: exact" in printed and "format is unknown" in printed
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "<script>alert" not in page and "&lt;script&gt;alert(1)" in page
    assert "nora@example.org" not in page and "&lt;email&gt;" in page and "语言" in page and "twice" in page
    assert main(["data", "report", str(out), "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["dropped"].pop("duplicate: exact") == {"books": 1}
    assert list(figures["dropped"].values()) == [{"a": 1}]

    assert main(["data", "split", str(out), "--out", str(tmp_path / "sides"), "--held-out", "0.3"]) == 0
    sides = [read_table(tmp_path / f"sides/{name}.jsonl") for name in ("train", "valid")]
    assert sum(map(len, sides)) == 10 and len(sides[1]) in (2, 3, 4)

    train_bpe([_page('x')], 300, 10_000).save_pretrained(tmp_path / "tokenizer")
    assert main(["data", "tokenize", str(out), "--tokenizer", str(tmp_path / "tokenizer"), "--out",
                 str(tmp_path / "tokens"), "--weight", "web=1", "--weight", "books=1", "--weight", "a=0", "--weight",
                 "b=0"]) == 0
    assert "epochs" in capsys.readouterr().out
    ids = [example.id for example in Mapped(tmp_path / "tokens", check=True)]
    assert {"spring", "summer"} <= set(ids) and "mail" not in ids


def test_rules_are_tried_before_they_run(raw: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "try", str(raw), "--set", "gopher.least_words=5000", "--sample", "20"]) == 0
    printed = capsys.readouterr().out
    assert "with your settings 0" in printed and "kept -> gopher: too few words (" in printed


@pytest.mark.parametrize(("setting", "said"), [
    ("gopher.least_word=3", "Did you mean 'least_words'"), ("gofer.x=1", "Did you mean 'gopher'"), ("gopher", "form"),
    ("gopher.least_words=many", "must be a whole number"),
])
def test_settings_that_mean_nothing_are_refused(raw: Path, tmp_path: Path, setting: str, said: str,
                                                capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "clean", str(raw), "--out", str(tmp_path / "o"), "--set", setting]) == 2
    assert said in capsys.readouterr().err


def test_show_says_when_there_is_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty.jsonl").touch()
    assert main(["data", "show", str(tmp_path / "empty.jsonl")]) == 0
    assert "holds no rows" in capsys.readouterr().out


def test_show_and_convert(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"question": "谁养蜂？", "answer": "Nora.", "level": 3}, {"instruction": "Go.", "output": ["a", "b"]},
            {"messages": [{"role": "user", "content": "x"}]}, {"other": 1}]
    write_jsonl(tmp_path / "r.jsonl", rows)
    assert main(["data", "show", str(tmp_path / "r.jsonl")]) == 0
    printed = capsys.readouterr().out
    for said in ("1 rows of shape 'qa'", "assistant: Nora.", "1 rows of shape 'unknown'", "'level' has no place",
                 "does not end with an answer"):
        assert said in printed
    write_jsonl(tmp_path / "r.jsonl", rows[:2])
    assert main(["data", "convert", str(tmp_path / "r.jsonl"), str(tmp_path / "s.parquet"), "--to", "sharegpt"]) == 0
    assert "'level' was left out" in capsys.readouterr().out
    assert [row["conversations"][1]["value"] for row in read_table(tmp_path / "s.parquet")] == ["Nora.", "a", "b"]
    assert main(["data", "convert", str(tmp_path / "s.parquet"), str(tmp_path / "t.h5")]) == 0
    assert read_table(tmp_path / "t.h5") == read_table(tmp_path / "s.parquet")
