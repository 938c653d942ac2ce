"""Preferences and thumbs, given in the chat, land in the run's labels."""

import io
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from preceptor.cli.chat import chat
from preceptor.cli.main import main
from preceptor.feedback.labelers import exclude
from preceptor.feedback.preferences import all_thumbs
from preceptor.feedback.records import comparisons
from preceptor.feedback.store import open_store
from preceptor.models.causal import build_llama, save_model
from preceptor.run.files import write_json
from preceptor.tokenizer.train import train_bpe


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Two policies of an iterated run, and the model that they began as."""
    tokenizer: Any = train_bpe(["ado emi iru ona"] * 20, 300, 10_000)
    for number, step in enumerate(("sft", "policy_1", "policy_2")):
        torch.manual_seed(number)
        save_model(build_llama(vocabulary=len(tokenizer), width=16, layers=1, heads=2, feed_forward=16, context=64,
                               end=tokenizer.eos_token_id, pad=tokenizer.pad_token_id), tokenizer,
                   tmp_path / f"0{number}-{step}" / "model")
    steps = {"sft": {"stage": "sft"}, "policy_1": {"stage": "rlhf"}, "policy_2": {"stage": "rlhf"}}
    write_json(tmp_path / "run.json", {"steps": steps})
    return tmp_path


def spoken(run: Path, lines: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> str:
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join(lines)))
    chat(run)
    return capsys.readouterr().out


def test_the_better_of_two_answers_is_kept_and_the_talk_goes_on_with_it(
        run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    said = spoken(run, ["/a", "/prefer", "Who?", "/good", "/b", "/b", "And?", "/same"], monkeypatch, capsys)
    assert said.startswith("policy_2 of ")
    assert "no two answers" in said and "Say which one is better" in said and said.count("Kept.") == 2
    store = open_store(run / "feedback.sqlite")
    first, second = comparisons(store)
    assert {one.model for one in first.responses} == {"policy_1", "policy_2"}  # the newest and the one before it
    assert first.ranking == [[1], [0]] and second.ranking == [[0, 1]] and first.kind == "person"
    assert [message["content"] for message in second.prompt.messages] == ["Who?", first.responses[1].text, "And?"]
    store.close()


def test_a_thumb_is_kept_changed_and_exported(run: Path, monkeypatch: pytest.MonkeyPatch,
                                              capsys: pytest.CaptureFixture) -> None:
    spoken(run, ["/good", "Who?", "/good", "/bad"], monkeypatch, capsys)
    store = open_store(run / "feedback.sqlite")
    [one] = all_thumbs(store)
    assert not one.up and one.response.model == "policy_2" and one.prompt.messages[0]["content"] == "Who?"
    out = run / "thumbs.jsonl"
    assert main(["label", str(run), "--export", str(out), "--format", "thumbs"]) == 0
    assert json.loads(out.read_text()) == one.row() and one.row()["label"] is False
    exclude(store, one.labeler, True, "test")
    assert not list(all_thumbs(store))
    store.close()


def test_two_answers_that_say_the_same_are_nothing_to_choose_from(
        run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr("preceptor.cli.chat.LIVELY", 0.0)
    shutil.rmtree(run / "01-policy_1")
    shutil.rmtree(run / "00-sft")  # so that both answers are the greedy one of the last policy
    said = spoken(run, ["/prefer", "Who?", "/a", "/good"], monkeypatch, capsys)
    assert "Both say the same." in said and "no two answers" in said and said.count("Kept.") == 1
