"""A row killed with no chance to clean up goes on to the same weights, by the command that people type."""

import signal
from pathlib import Path

import pytest

from preceptor.run.files import hash_path
from tests.processes import Kill, preceptor
from tests.vision.conftest import Book
from tests.vision.rows import TINY


@pytest.mark.parametrize("kill", [Kill("preceptor.learn.fit", "take_gradients", 3),
                                  Kill("preceptor.vision.stage", "save_system", 1)])
def test_a_killed_row_goes_on_to_the_same_bits(kill: Kill, book: Book, tmp_path: Path) -> None:
    options = ", ".join(f"{name}: {value}" for name, value in TINY.items())
    (tmp_path / "row.yaml").write_text(f"""
steps:
  - {{name: row, stage: vision, needs: {{pictures: {book.pictures}, tokenizer: {book.tokenizer}}},
     options: {{system: siglip, {options}}}}}
""")
    command = ["run", str(tmp_path / "row.yaml"), "--out"]
    whole = preceptor([*command, str(tmp_path / "whole")], tmp_path)
    assert whole.code == 0, whole.output
    killed = preceptor([*command, str(tmp_path / "killed")], tmp_path, kill)
    assert killed.code == -signal.SIGKILL, killed.output
    resumed = preceptor([*command, str(tmp_path / "killed")], tmp_path)
    assert resumed.code == 0 and "goes on" in resumed.output, resumed.output
    models = [tmp_path / name / "00-row/model" for name in ("whole", "killed")]
    assert hash_path(models[0]) == hash_path(models[1])
