"""The fingerprint stays with a vocabulary wherever it goes, and with no other."""

from pathlib import Path

import pytest

from preceptor.run.errors import UserError
from preceptor.tokenizer.chat import load_tokenizer
from preceptor.tokenizer.fingerprint import fingerprint
from preceptor.tokenizer.train import train_bpe


def test_a_vocabulary_keeps_its_fingerprint_when_saved_loaded_and_used(tmp_path: Path) -> None:
    tokenizer = train_bpe(["ado emi iru"] * 9, 280, 1000)
    before = fingerprint(tokenizer)
    assert len(before) == 16 and int(before, 16) >= 0
    for folder in (tmp_path / "one", tmp_path / "two"):  # a base model's folder, and a fine-tuned one's made from it
        tokenizer.save_pretrained(folder)
        tokenizer = load_tokenizer(folder)
        assert fingerprint(tokenizer) == before
    tokenizer(["ado", "ado emi"], padding=True, truncation=True, max_length=3)
    assert fingerprint(tokenizer) == before


def test_another_vocabulary_has_another_fingerprint() -> None:
    one, other = (train_bpe([text] * 9, 280, 1000) for text in ("ado emi iru", "iru ona bek"))
    assert fingerprint(one) != fingerprint(other)


def test_a_tokenizer_without_a_fast_form_is_refused() -> None:
    class Slow:
        name_or_path = "slow"

    with pytest.raises(UserError, match="no fast form"):
        fingerprint(Slow())
