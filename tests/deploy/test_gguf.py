"""GGUF files: what is refused beforehand, and with a checkout of llama.cpp, that the file is the model."""

import os
import re
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, pre_tokenizers

from preceptor.cli.main import main
from preceptor.deploy.gguf import cuts_as_gpt2
from preceptor.models.causal import build_llama, load_causal, save_model
from preceptor.tokenizer.train import train_bpe


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    tokenizer = train_bpe(["ado emi iru ona bado kemi"] * 20, 300, 10_000)
    model = build_llama(vocabulary=len(tokenizer), width=64, layers=2, heads=2, feed_forward=96, context=64,
                        end=tokenizer.eos_token_id, pad=tokenizer.pad_token_id)
    path = tmp_path_factory.mktemp("gguf") / "model"
    save_model(model, tokenizer, path)
    return path


def test_what_is_no_checkout_is_refused(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    here = ["--llama-cpp", str(tmp_path)]
    for more, cause in (([], "llama.cpp's own converter"), (here, "no checkout of llama.cpp")):
        assert main(["export", str(folder), "--to", str(tmp_path / "out.gguf"), *more]) == 2
        assert cause in capsys.readouterr().err
    assert not (tmp_path / "out.gguf").exists()


def test_a_converter_that_fails_is_reported_with_its_last_line(folder: Path, tmp_path: Path,
                                                               capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "conversion").mkdir()
    (tmp_path / "conversion" / "base.py").write_text("class TextModel:\n    get_vocab_base_pre = None\n")
    (tmp_path / "convert_hf_to_gguf.py").write_text("import sys\nopen(sys.argv[3], 'w').write('half')\n"
                                                    "raise KeyError('sentencepiece')\n")
    assert main(["export", str(folder), "--to", str(tmp_path / "out.gguf"), "--llama-cpp", str(tmp_path)]) == 2
    assert re.search(r"could not convert .*KeyError: 'sentencepiece'", capsys.readouterr().err)
    assert not (tmp_path / "out.gguf").exists()


def test_only_a_tokenizer_that_cuts_as_gpt2_is_called_so(folder: Path, tmp_path: Path) -> None:
    assert cuts_as_gpt2(folder)
    other = Tokenizer.from_file(str(folder / "tokenizer.json"))
    other.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(), pre_tokenizers.ByteLevel(False)])
    other.save(str(tmp_path / "tokenizer.json"))
    assert not cuts_as_gpt2(tmp_path) and not cuts_as_gpt2(tmp_path / "nothing")


@pytest.mark.skipif("PRECEPTOR_LLAMA_CPP" not in os.environ, reason="PRECEPTOR_LLAMA_CPP names no llama.cpp")
@torch.no_grad()
def test_the_file_is_the_model(folder: Path, tmp_path: Path) -> None:
    """Read back by transformers, which needs the package gguf."""
    pytest.importorskip("gguf")
    from transformers import AutoModelForCausalLM, AutoTokenizer
    assert main(["export", str(folder), "--to", str(tmp_path / "out.gguf"), "--numbers", "f32", "--llama-cpp",
                 os.environ["PRECEPTOR_LLAMA_CPP"]]) == 0
    tokens = torch.arange(3, 40)[None]
    back = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="out.gguf", dtype=torch.float32)
    torch.testing.assert_close(back(tokens).logits, load_causal(folder)(tokens).logits, atol=1e-4, rtol=0)
    theirs = AutoTokenizer.from_pretrained(tmp_path, gguf_file="out.gguf")
    ours = AutoTokenizer.from_pretrained(folder)
    text = "ado emi iruona  bado."
    assert theirs(text)["input_ids"] == ours(text)["input_ids"]
