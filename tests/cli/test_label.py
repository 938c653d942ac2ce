"""`preceptor label` without a browser: rankings in and out, and what it refuses."""

from pathlib import Path

import pytest

from preceptor.cli.main import main
from preceptor.data.jsonl import read_jsonl
from preceptor.data.records import Comparison

GOLDEN = Path(__file__).parent.parent / "data" / "golden" / "Comparison.jsonl"


def test_rankings_go_in_and_come_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    assert main(["label", str(run), "--add", str(GOLDEN)]) == 0
    assert "2 of 2 rankings are new" in capsys.readouterr().err
    assert main(["label", str(run), "--add", str(GOLDEN)]) == 0
    assert "0 of 2 rankings are new" in capsys.readouterr().err
    assert main(["label", str(run), "--export", str(tmp_path / "out.jsonl")]) == 0
    assert (tmp_path / "out.jsonl").read_bytes() == GOLDEN.read_bytes()
    assert main(["label", str(run), "--export", str(tmp_path / "pairs.jsonl"), "--format", "pairs"]) == 0
    assert "2 rows" in capsys.readouterr().err and len((tmp_path / "pairs.jsonl").read_text().splitlines()) == 2
    assert read_jsonl(tmp_path / "out.jsonl", Comparison) == read_jsonl(GOLDEN, Comparison)


@pytest.mark.parametrize(("arguments", "said"), [
    (["no/such/run"], "There is no run 'no/such/run'"),
    (["{run}"], "There is nothing to label"),
    (["{run}", "--export", "{run}/x", "--format", "csv"], "There is no format 'csv'"),
    (["{run}", "--database", "mysql://a/b"], "cannot be a database of 'mysql'"),
    (["{run}", "--answers", "{run}/none.jsonl"], "There is no file"),
])
def test_what_cannot_be_done_is_said(
        tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    assert main(["label", *(word.replace("{run}", str(tmp_path)) for word in arguments)]) == 2
    assert said in capsys.readouterr().err
