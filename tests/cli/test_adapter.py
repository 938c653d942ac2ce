"""`preceptor adapter`: merged and taken off again, a model is its base; what cannot be merged is refused."""

import re
from pathlib import Path

import pytest
import torch

from preceptor.cli.main import main
from preceptor.models.causal import load_causal, save_model
from preceptor.models.soft_prompt import add_soft_prompt
from tests.models.test_adapter_folder import TOKENS, adapted
from tests.rlhf.tiny import word_tokenizer


def test_merge_and_unmerge(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = adapted(tmp_path)
    assert main(["adapter", "merge", str(tmp_path / "tuned" / "adapter"), "--to", str(tmp_path / "merged")]) == 0
    torch.testing.assert_close(load_causal(tmp_path / "merged")(TOKENS).logits, model(TOKENS).logits, atol=1e-5, rtol=0)
    assert main(["adapter", "unmerge", str(tmp_path / "merged"), "--to", str(tmp_path / "again")]) == 0
    said = float(re.search(r"at most (\S+) from", capsys.readouterr().out)[1])
    base, again = (load_causal(tmp_path / name).state_dict() for name in ("base", "again"))
    apart = max(float((again[name] - value).abs().max()) for name, value in base.items())
    assert apart < 1e-6 and said == pytest.approx(apart, rel=0.1) and not (tmp_path / "again" / "adapter").exists()


def test_what_cannot_be_merged_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    adapted(tmp_path)
    model = load_causal(tmp_path / "base")
    add_soft_prompt(model, "prompt", 2)
    save_model(model, word_tokenizer(), tmp_path / "soft")
    for command, folder, cause in (("merge", "soft", "cannot be merged"), ("merge", "base", "not the folder of an"),
                                   ("unmerge", "base", "holds no adapter")):
        assert main(["adapter", command, str(tmp_path / folder), "--to", str(tmp_path / "out")]) == 2
        assert cause in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_what_was_there_is_never_removed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    adapted(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear", encoding="utf-8")
    for command, folder in (("merge", tmp_path / "tuned" / "adapter"), ("unmerge", tmp_path / "tuned")):
        assert main(["adapter", command, str(folder), "--to", str(tmp_path / "mine")]) == 2
        assert "this command did not write" in capsys.readouterr().err
    assert (tmp_path / "mine" / "letter.txt").read_text(encoding="utf-8") == "dear"


def test_an_adapter_without_its_base_s_config_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    adapted(tmp_path)
    (tmp_path / "tuned" / "adapter" / "config.json").unlink()
    assert main(["adapter", "merge", str(tmp_path / "tuned" / "adapter"), "--to", str(tmp_path / "out")]) == 2
    assert "its base's config.json" in capsys.readouterr().err and not (tmp_path / "out").exists()
