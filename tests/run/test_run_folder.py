"""The run folder: files appear whole or not at all, hashes see content, the log's last word counts, locks hold."""

import io
import os
import pickle
from pathlib import Path

import pytest

from preceptor.run.errors import UserError, Waiting, nearest
from preceptor.run.files import hash_path, hash_value, read_json, refuse_to_replace, replacing, write_json, write_text
from preceptor.run.log import Log, read_log
from preceptor.run.manifest import locked
from preceptor.run.progress import Progress, clock


def test_an_error_is_the_same_in_another_process() -> None:
    for error in (UserError("It broke.", "Mend it."), Waiting("People rank.", "Come back.", 7)):
        again = pickle.loads(pickle.dumps(error))
        assert type(again) is type(error) and vars(again) == vars(error)
        assert str(again) == str(error) == f"{error.cause} {error.cure}"


def test_only_an_empty_folder_or_one_of_ours_may_be_replaced(tmp_path: Path) -> None:
    refuse_to_replace(tmp_path / "new")
    refuse_to_replace(tmp_path)
    (tmp_path / "said.json").touch()
    refuse_to_replace(tmp_path, "said.json")
    for folder, mark in ((tmp_path, ""), (tmp_path, "other.json"), (tmp_path / "said.json", "")):
        with pytest.raises(UserError, match="did not write"):
            refuse_to_replace(folder, mark)


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "value.json"
    write_json(path, {"a": 1})
    with pytest.raises(InterruptedError), replacing(path) as temporary:
        temporary.write_text("half of")
        raise InterruptedError
    assert read_json(path) == {"a": 1}
    assert os.listdir(tmp_path) == ["value.json"]


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    for name in ("first", "second"):
        with replacing(tmp_path / "model") as temporary:
            temporary.mkdir()
            (temporary / name).write_text(name)
    assert os.listdir(tmp_path / "model") == ["second"]
    assert os.listdir(tmp_path) == ["model"]


def test_what_a_killed_writer_left_is_cleared_by_the_next(tmp_path: Path) -> None:
    (tmp_path / ".value.txt.writing").write_text("left behind")
    write_text(tmp_path / "value.txt", "whole")
    assert os.listdir(tmp_path) == ["value.txt"]


def test_hashes_depend_on_names_and_content_alone(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        write_text(tmp_path / folder / "x", "same")
    assert hash_path(tmp_path / "a") == hash_path(tmp_path / "b")
    os.rename(tmp_path / "b/x", tmp_path / "b/y")
    assert hash_path(tmp_path / "a") != hash_path(tmp_path / "b")
    assert hash_value({"a": 1, "b": 2}) == hash_value({"b": 2, "a": 1}) != hash_value({"a": 1, "b": 3})


def test_of_a_position_written_twice_the_last_line_counts(tmp_path: Path) -> None:
    first, second = (Log(tmp_path / "log.jsonl", "base", attempt) for attempt in (1, 2))
    first.write(1, loss=3.0)
    first.write(2, loss=2.0, lr=0.1)
    second.write(2, loss=2.5)
    assert read_log(tmp_path / "log.jsonl") == {"base": {1: {"loss": 3.0}, 2: {"loss": 2.5, "lr": 0.1}}}


def test_a_step_that_begins_anew_forgets_its_lines_and_no_others(tmp_path: Path) -> None:
    Log(tmp_path / "log.jsonl", "sft", 1).write(1, loss=1.0)
    Log(tmp_path / "log.jsonl", "base", 1).write(9, loss=1.0)
    anew = Log(tmp_path / "log.jsonl", "base", 2)
    anew.begin_anew()
    anew.write(1, loss=4.0)
    assert read_log(tmp_path / "log.jsonl") == {"sft": {1: {"loss": 1.0}}, "base": {1: {"loss": 4.0}}}


def test_a_line_that_a_kill_cut_short_harms_no_other(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    log = Log(path, "base", 1)
    log.write(1, loss=1.0)
    path.write_bytes(path.read_bytes() + b'{"step": "base", "at": 2, "me')
    log.write(3, loss=0.5)
    assert read_log(path) == {"base": {1: {"loss": 1.0}, 3: {"loss": 0.5}}}


def test_a_lock_is_let_go_of_and_held(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(UserError, match="in use"), locked(tmp_path):
        pass
    with locked(tmp_path):
        pass


def test_progress_in_a_log_is_plain_lines_with_rate_and_time_left() -> None:
    stream = io.StringIO()
    progress = Progress("base", 50, stream=stream)
    for done in range(1, 51):
        progress.update(done)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 11 and "\r" not in stream.getvalue()
    assert lines[0].startswith("base: 1/50 steps") and lines[-1].startswith("base: 50/50 steps")
    assert "left" in lines[0] and "/s" in lines[0]


@pytest.mark.parametrize("seconds, text", [(8.2, "8 s"), (185, "3 min 05 s"), (7800, "2 h 10 min")])
def test_durations_are_for_people(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_the_nearest_name_is_offered() -> None:
    assert nearest("learing_rate", ["learning_rate", "steps"]) == "Did you mean 'learning_rate'?"
    assert nearest("zzz", ["b", "a"]) == "Choose one of: a, b."
