"""Chat in the terminal: who answers, comparisons, memory, and texts side by side."""

import io
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from preceptor.cli.chat import chat, printable
from preceptor.cli.columns import side_by_side, width_of, wrapped
from preceptor.cli.main import main
from preceptor.models.causal import build_llama, save_model
from preceptor.run.errors import UserError
from preceptor.tokenizer.train import train_bpe

HELLO = {"role": "user", "content": "hello"}


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return train_bpe(["ado emi iru ona"] * 20, 300, 10_000)


@pytest.fixture(scope="module")
def run(tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three models that say other things each; its last step has been started only."""
    folder = tmp_path_factory.mktemp("run")
    for number, step in enumerate(("base", "sft", "ppo_ptx")):
        torch.manual_seed(number)
        model = build_llama(vocabulary=len(tokenizer), width=16, layers=1, heads=2, feed_forward=16, context=64,
                            end=tokenizer.eos_token_id, pad=tokenizer.pad_token_id)
        save_model(model, tokenizer, folder / f"0{number}-{step}" / "model")
    (folder / "03-evaluate").mkdir()
    return folder


def spoken(run: Path, text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> list[str]:
    """What chat prints when its input is `text`, line by line."""
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))
    monkeypatch.setenv("COLUMNS", "100")
    chat(run)
    return capsys.readouterr().out.splitlines()


def test_the_newest_policy_answers_piped_questions(run: Path, monkeypatch: pytest.MonkeyPatch,
                                                   capsys: pytest.CaptureFixture) -> None:
    lines = spoken(run, "Who is Ado?\n\n", monkeypatch, capsys)
    assert lines[0].startswith("ppo_ptx of ")
    assert lines[1].startswith("ppo_ptx: ") and len(lines[1]) > len("ppo_ptx: ")
    assert spoken(run, "Who is Ado?", monkeypatch, capsys) == lines, "asked again, the same answer"


def test_what_is_not_there_yet_does_not_answer(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                               capsys: pytest.CaptureFixture) -> None:
    young = tmp_path / "young"
    young.mkdir()
    for step in ("00-base", "01-sft"):
        (young / step).symlink_to(run / step)
    (young / "02-ppo").mkdir()
    assert spoken(young, "hello", monkeypatch, capsys)[1].startswith("sft: ")
    with pytest.raises(UserError, match="no model to talk with"):
        chat(tmp_path / "nowhere")


def test_compare_shows_three_models_side_by_side(run: Path, monkeypatch: pytest.MonkeyPatch,
                                                 capsys: pytest.CaptureFixture) -> None:
    lines = spoken(run, "/compare\nado\n/compare\nado\n/quit\nnever asked", monkeypatch, capsys)
    assert lines[1] == "Each question goes to base, sft, ppo_ptx; the conversation goes on with ppo_ptx."
    assert lines[2].split() == ["base", "sft", "ppo_ptx"]
    assert "Only ppo_ptx answers." in lines
    assert not any("never asked" in line for line in lines)
    assert sum(line.startswith("ppo_ptx: ") for line in lines) == 1


def test_commands(run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    lines = spoken(run, "/help\n/nwe\nado\n/new\nado", monkeypatch, capsys)
    assert any(line.startswith("/compare") for line in lines)
    assert "There is no command /nwe. Did you mean '/new'?" in lines
    answers = [line for line in lines if line.startswith("ppo_ptx: ")]
    assert len(answers) == 2 and answers[0] == answers[1], "after /new, nothing of before is known"


def test_a_conversation_longer_than_the_context_loses_its_beginning_and_says_so(
        run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    lines = spoken(run, "ado emi\n" * 3 + "ado " * 60, monkeypatch, capsys)
    assert any("ppo_ptx no longer sees the first" in line for line in lines)
    assert any("ppo_ptx sees only the last 32 tokens of the question" in line for line in lines)


def test_an_answer_cannot_rewrite_the_terminal() -> None:
    assert printable("a\x1b[2J\tb\n日") == "a\ufffd[2J\tb\n日"


def test_the_command_line_knows_chat(run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("Who is Ado?\n"))
    assert main(["chat", str(run)]) == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines()[1].startswith("ppo_ptx: ") and printed.err == ""
    assert main(["chat", "nowhere"]) == 2


@given(st.text(st.characters(codec="utf-8", exclude_categories=("C", "M")), max_size=60), st.integers(2, 30))
@settings(max_examples=200, deadline=None)
def test_wrapped_lines_fit_and_lose_nothing_but_space(text: str, width: int) -> None:
    lines = wrapped(text, width)
    assert all(width_of(line) <= width for line in lines)
    assert "".join("".join(lines).split()) == "".join(text.split())


def test_columns_of_both_languages_are_aligned() -> None:
    shown = side_by_side({"base": "one two three four five six", "sft": "日本語" * 8}, 42)
    assert shown.splitlines() == [
        "base                  sft",
        "--------------------  --------------------",
        "one two three four    日本語日本語日本語日",
        "five six              本語日本語日本語日本",
        "                      語日本語"]
    assert side_by_side({"base": "one", "sft": "two"}, 30) == "base\n  one\nsft\n  two"
