"""CLIP as a row: the stage, a death, its folder."""

from pathlib import Path

from tests.vision.conftest import Book
from tests.vision.rows import check_row


def test_clip_is_a_row(book: Book, tmp_path: Path) -> None:
    check_row("clip", book, tmp_path, vector=8)


def test_what_the_pattern_does_not_name_is_frozen(book: Book, tmp_path: Path) -> None:
    check_row("clip", book, tmp_path, vector=8, train="text, scale")
