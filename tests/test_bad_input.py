"""Bad input, through the command line: one sentence of cause, one of cure, exit code 2, no traceback, nothing lost."""

import errno
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from preceptor.cli.main import main
from preceptor.run import files, machine
from preceptor.run.files import hash_path
from preceptor.run.log import Log
from preceptor.run.manifest import locked

Refuse = Callable[..., str]
SHORT = {"instruction": "Who keeps bees?", "output": "Nora."}
LONG = {"instruction": "Say it again: " + "bees " * 40, "output": "bees " * 40}


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Models this small lose time to a second thread."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(machine, "cores", lambda: 1)
        yield


@pytest.fixture
def refuse(capsys: pytest.CaptureFixture[str]) -> Refuse:
    """Run a command that must be refused; returns cause and cure as one text."""
    def refused(*arguments: str | Path) -> str:
        capsys.readouterr()
        assert main([str(argument) for argument in arguments]) == 2
        printed = capsys.readouterr().err
        assert "Traceback" not in printed
        cause, cure = printed[printed.index("preceptor: "):].splitlines()
        for sentence in (cause, cure):
            assert re.fullmatch(r"[^\n]+[.?]", sentence) and not re.search(r"[.?!] [A-Z]", sentence), sentence
        return f"{cause} {cure}"
    return refused


def _recipe(folder: Path, *steps: str) -> Path:
    path = folder / "recipe.yaml"
    path.write_text("steps:\n" + "".join(f"  - {step}\n" for step in steps), encoding="utf-8")
    return path


def _lines(path: Path, *rows: dict) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def _tiny_model(corpus: Path, context: int = 32) -> tuple[str, str]:
    """The steps of a base model that takes a second."""
    return (f"{{name: tokenizer, stage: tokenizer, needs: {{corpus: {corpus}}}, options: {{vocabulary: 300}}}}",
            f"{{name: base, stage: pretrain, needs: {{corpus: {corpus}, tokenizer: tokenizer}}, options: {{width: 16, "
            f"layers: 1, heads: 2, feed_forward: 32, context: {context}, rows: 4, steps: 6, checkpoint_every: 2}}}}")


@pytest.mark.parametrize(("arguments", "said"), [
    (["run", "demmo"], "There is no recipe and no file 'demmo'. Did you mean 'demo'?"),
    (["run", "no/such.yaml"], "There is no recipe and no file 'no/such.yaml'."),
    (["run", "demo", "--set", "base.needs.corpus=no/such.txt"], "'no/such.txt', which is neither an earlier step nor"),
    (["run", "own"], "not told where its input 'text' is. Give it with --set data.needs.text=PATH."),
    (["run", "own", "--set", "data.needs.txt=a"], "Unknown key 'txt'"),
    (["run", "demo", "--set", "base.stepz=3"], "Step 'base' has no option 'stepz'. Did you mean 'steps'?"),
    (["run", "demo", "--set", "bas.steps=3"], "There is no step 'bas' in recipe 'demo'. Did you mean 'base'?"),
    (["run", "demo", "--set", "base.steps"], "is not of the form NAME.option=value"),
    (["run", "demo", "--setting", "sparkle"], "has no setting 'sparkle'"),
    (["run", "demo", "--from", "bass"], "There is no step 'bass' in recipe 'demo'. Did you mean 'base'?"),
    (["run", "demo", "--set", "base.steps=many"], "'base.steps' must be a whole number, not 'many'."),
    (["run", "demo", "--set", "base.steps=1.5"], "'base.steps' must be a whole number, not '1.5'."),
    (["run", "demo", "--set", "base.learning_rate=fast"], "'base.learning_rate' must be a number, not 'fast'."),
    (["run", "demo", "--set", "base.schedule=cosin"], "'base.schedule' cannot be 'cosin'. Did you mean 'cosine'?"),
    (["run", "demo", "--set", "seed=x"], "'seed' must be a whole number, not 'x'."),
], ids=lambda value: value if isinstance(value, str) else " ".join(value))
def test_a_mistyped_command_is_refused_before_anything_is_made(
        refuse: Refuse, tmp_path: Path, arguments: list[str], said: str) -> None:
    arguments = [*arguments, *(["--out", str(tmp_path / "run")] if "--out" not in arguments else [])]
    assert said in refuse(*arguments)
    made = [path.name for path in (tmp_path / "run").rglob("*")] if (tmp_path / "run").exists() else []
    assert made in ([], [".lock"])


@pytest.mark.parametrize(("content", "said"), [
    ("steps: [", "is not valid YAML"),
    ("steps: []", "needs at least one step"),
    ("stepz: []", "Unknown key 'stepz' in the recipe"),
    ("- a", "must be a mapping"),
    ("steps:\n  - {name: a, stage: tokenizr}", "There is no stage 'tokenizr'. Did you mean 'tokenizer'?"),
    ("steps:\n  - {name: a, name: b, stage: tokenizer}", "the key 'name' is given twice"),
    ("steps:\n  - {name: a, stage: village}\n  - {name: a, stage: village}", "have the same name"),
])
def test_a_malformed_recipe_is_refused(refuse: Refuse, tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(content, encoding="utf-8")
    assert said in refuse("run", path, "--out", tmp_path / "run")


@pytest.mark.parametrize(("content", "said"), [
    ('{"text": "a", "id": "1"}\n{"text": "b", "id": 2\n', "Line 2 of '{path}' is not valid JSON: Expecting ',' delim"),
    ('{"text": "a", "id": "1"}\n\n{"txt": "b", "id": "2"}\n', "Line 3 of '{path}': Unknown field 'txt' in a Document."),
    ('{"text": 7, "id": "1"}\n', "Line 1 of '{path}': The field 'text' of a Document must be text, not int."),
    ("", "'{path}' holds no records."),
    ("\n \n", "'{path}' holds no records."),
])
def test_bad_records_are_named_by_line_and_reason(refuse: Refuse, tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "corpus.jsonl"
    path.write_text(content, encoding="utf-8")
    recipe = _recipe(tmp_path, f"{{name: tokenizer, stage: tokenizer, needs: {{corpus: {path}}}}}")
    assert said.replace("{path}", str(path)) in refuse("run", recipe, "--out", tmp_path / "run")


def test_a_bad_line_among_a_users_own_files_is_mended_and_the_run_goes_on(refuse: Refuse, tmp_path: Path) -> None:
    inputs = {"text": _lines(tmp_path / "t.jsonl", *({"text": f"{n} bees hum over {n * n} flowers"} for n in range(9))),
              "demonstrations": _lines(tmp_path / "d.jsonl", SHORT, {"instruction": "Name a tree."}),
              "comparisons": _lines(tmp_path / "c.jsonl", {"prompt": "Name a bird.", "chosen": "Owl.", "rejected": "?"},
                                    {"prompt": "What is seven times six?", "chosen": "42", "rejected": "7"})}
    recipe = _recipe(tmp_path, "{name: data, stage: import}")
    command = ["run", recipe, "--out", tmp_path / "run"]
    command += [f"--set=data.needs.{name}={path}" for name, path in inputs.items()]
    said = refuse(*command)
    assert f"Line 2 of '{inputs['demonstrations']}'" in said and "shapes messages" in said
    _lines(inputs["demonstrations"], SHORT, {"instruction": "Name a tree.", "output": "Oak."})
    assert main([str(argument) for argument in command]) == 0


def test_an_input_that_an_earlier_step_did_not_make_is_named(refuse: Refuse, corpus: Path, tmp_path: Path) -> None:
    recipe = _recipe(tmp_path, _tiny_model(corpus)[0],
                     "{name: again, stage: tokenizer, needs: {corpus: tokenizer/corpus.jsonl}}")
    assert "The input 'corpus' of step 'again' is not there" in refuse("run", recipe, "--out", tmp_path / "run")


def test_a_run_folder_in_use_is_refused_and_left_alone(refuse: Refuse, tiny_recipe: Path, tmp_path: Path) -> None:
    with locked(tmp_path / "run"):
        assert "in use by another process" in refuse("run", tiny_recipe, "--out", tmp_path / "run")
    assert [path.name for path in (tmp_path / "run").iterdir()] == [".lock"]


MODEL = "01-base/model/model.safetensors"


@pytest.fixture(scope="module")
def whole(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A tiny recipe, and the hash of the model that it makes when nothing goes wrong."""
    folder = tmp_path_factory.mktemp("whole")
    recipe = _recipe(folder, *_tiny_model(corpus))
    assert main(["run", str(recipe), "--out", str(folder / "run")]) == 0
    return recipe, hash_path(folder / "run" / MODEL)


@pytest.mark.parametrize(("victim", "hidden"), [
    ("recipe.yaml", None), ("run.json", None), ("step-00000004", None),
    ("step-00000004", RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534")),
    ("model", Exception("No space left on device (os error 28)"))])
def test_a_full_disk_loses_nothing(refuse: Refuse, whole: tuple[Path, str], tmp_path: Path,
                                   monkeypatch: pytest.MonkeyPatch, victim: str, hidden: Exception | None) -> None:
    recipe, model = whole
    command = ["run", recipe, "--out", tmp_path / "run"]
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    flush, write_bytes = files._flush, Path.write_bytes

    def flush_to_full_disk(path: Path, children: bool = True) -> None:
        if path.name == f".{victim}.writing":
            raise hidden or full
        flush(path, children)

    def probe_full_disk(path: Path, content: bytes) -> int:
        if path.name == f".{victim}.room":
            raise full
        return write_bytes(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(files, "_flush", flush_to_full_disk)
        patch.setattr(Path, "write_bytes", probe_full_disk)
        said = refuse(*command)
    assert "No space left on device" in said and victim in said and "run the same command again: it goes on" in said
    assert not [path for path in (tmp_path / "run").rglob(".*") if path.name != ".lock"], "half a file was left"
    assert main([str(argument) for argument in command]) == 0
    assert hash_path(tmp_path / "run" / MODEL) == model


def test_a_disk_that_fills_up_under_the_log_is_named_too(refuse: Refuse, whole: tuple[Path, str], tmp_path: Path,
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(Log, "_append", full)
        assert "preceptor: Writing failed: No space left on device. Make room" in refuse(
            "run", whole[0], "--out", tmp_path / "run")


def test_a_mistake_of_ours_is_not_blamed_on_the_disk(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), files.replacing(tmp_path / "a") as temporary:
        temporary.write_text(str(1 / 0))
    assert not list(tmp_path.iterdir())


def _sft(folder: Path, corpus: Path, *conversations: dict, context: int = 32) -> list[str]:
    messages = [{"id": f"c{n}", "messages": [{"role": "user", "content": row["instruction"]},
                                             {"role": "assistant", "content": row["output"]}]}
                for n, row in enumerate(conversations)]
    path = _lines(folder / "demonstrations.jsonl", *messages)
    sft = f"{{name: sft, stage: sft, needs: {{model: base, demonstrations: {path}}}, options: {{epochs: 1}}}}"
    return ["run", str(_recipe(folder, *_tiny_model(corpus, context), sft)), "--out", str(folder / "run")]


def test_demonstrations_longer_than_the_context_are_refused(refuse: Refuse, corpus: Path, tmp_path: Path) -> None:
    said = refuse(*_sft(tmp_path, corpus, LONG, LONG))
    assert "None of the 2 demonstrations of step 'sft' fits into 32 tokens." in said


def test_one_demonstration_longer_than_the_context_is_counted(corpus: Path, tmp_path: Path, capsys) -> None:
    assert main(_sft(tmp_path, corpus, SHORT, LONG)) == 0
    assert "sft: 1 of 2 demonstrations are longer than 32 tokens and are left out" in capsys.readouterr().err


def test_answers_longer_than_the_context_are_refused(refuse: Refuse, corpus: Path, tmp_path: Path) -> None:
    command = _sft(tmp_path, corpus, SHORT)
    prompts = _lines(tmp_path / "prompts.jsonl", {"id": "p", "messages": [{"role": "user", "content": "Who?"}]})
    with Path(command[1]).open("a", encoding="utf-8") as recipe:
        recipe.write(f"  - {{name: evaluate, stage: evaluate, needs: {{prompts: {prompts}, sft: sft}}, "
                     "options: {max_tokens: 40}}\n")
    assert "context of 32" in refuse(*command)


def test_a_prompt_longer_than_the_context_loses_its_beginning_and_is_counted(
        corpus: Path, tmp_path: Path, capsys) -> None:
    command = _sft(tmp_path, corpus, SHORT)
    prompts = _lines(tmp_path / "prompts.jsonl", *(
        {"id": f"p{n}", "messages": [{"role": "user", "content": text}]} for n, text in enumerate(["Hi", "Hi " * 60])))
    with Path(command[1]).open("a", encoding="utf-8") as recipe:
        recipe.write(f"  - {{name: evaluate, stage: evaluate, needs: {{prompts: {prompts}, sft: sft}}, "
                     "options: {max_tokens: 8}}\n")
    assert main(command) == 0
    assert "1 prompts were longer than the context of sft: their beginning was cut" in capsys.readouterr().err


def test_a_reader_that_has_seen_enough_ends_the_command_quietly() -> None:
    command = [sys.executable, "-m", "preceptor.cli.main", "recipe", "show", "own"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.close()  # as `head` does, before or after the first line
    assert process.stderr.read() == "" and process.wait() == 130
    process.stderr.close()
