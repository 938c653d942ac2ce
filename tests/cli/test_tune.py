"""`preceptor tune decoding`: equal budgets, a recommendation by rule, a picture, and bad input."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch

from preceptor.cli.main import main
from preceptor.data.jsonl import write_jsonl
from preceptor.evaluate import tuning
from preceptor.evaluate.tuning import FAMILIES, Trial, recommended
from preceptor.metrics.intervals import Interval
from preceptor.models.causal import build_llama, save_model
from preceptor.tokenizer.train import train_bpe


def trial(diversity: float, quality: float, width: float = 0.1) -> Trial:
    return Trial("f", {"top_k": 1}, Interval(diversity, diversity, diversity, 9),
                 Interval(quality, quality - width, quality + width, 9), 0.0)


def test_the_best_of_those_diverse_enough_is_recommended() -> None:
    looping, good, near, worse = trial(0.2, -0.5), trial(0.95, -2.0), trial(0.92, -2.15), trial(1.0, -4.0)
    assert recommended([looping, good, near, worse]) == (good, [near])


def test_every_family_has_the_same_number_of_settings() -> None:
    assert {len(settings) for settings in FAMILIES.values()} == {4}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    tokenizer = train_bpe(["the cat sat on a mat and looked at the dog"] * 20, 300, 1000)
    torch.manual_seed(0)
    save_model(build_llama(vocabulary=len(tokenizer), width=16, layers=1, heads=2, feed_forward=32, context=64,
                           end=tokenizer.eos_token_id, pad=tokenizer.pad_token_id), tokenizer, folder / "model")
    write_jsonl(folder / "prompts.jsonl",
                [{"id": f"p{n}", "messages": [{"role": "user", "content": f"cat {n}"}]} for n in range(5)])
    return folder


def test_a_model_is_tuned(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture,
                          monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "FAMILIES", {name: FAMILIES[name][:1] for name in ("temperature", "beam search",
                                                                                  "contrastive search")})
    assert main(["tune", "decoding", str(model), "--prompts", str(model / "prompts.jsonl"), "--max-tokens", "20",
                 "--reference", str(model), "--out", str(tmp_path / "found")]) == 0
    said = capsys.readouterr().out
    found = json.loads((tmp_path / "found.json").read_text())
    assert len(found["trials"]) == 3 and found["quality"] == "coherence under the reference"
    assert found["recommended"] in [one["options"] for one in found["trials"]] and "Recommended: " in said
    assert all(one["quality"]["low"] <= one["quality"]["mean"] <= one["quality"]["high"] <= 0
               for one in found["trials"])
    ElementTree.parse(tmp_path / "found.svg")


def test_bad_input_is_told(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    one = tmp_path / "one.jsonl"
    write_jsonl(one, [{"id": "p", "messages": [{"role": "user", "content": "?"}]}])
    for arguments, said in (([str(tmp_path / "none"), "--prompts", str(one)], "no model folder"),
                            ([str(model), "--prompts", str(tmp_path / "none")], "There is no file"),
                            ([str(model), "--prompts", str(one)], "has one prompt")):
        assert main(["tune", "decoding", *arguments]) == 2
        assert said in capsys.readouterr().err
