"""The house: floors, file sizes, lint, and that help stays instant."""

import ast
import dataclasses
import subprocess
import sys
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "preceptor").rglob("*.py"))


def test_a_room_imports_only_from_floors_below() -> None:
    done = subprocess.run([Path(sys.executable).parent / "lint-imports"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_ruff_finds_nothing() -> None:
    done = subprocess.run([sys.executable, "-m", "ruff", "check", "."], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_stay_small(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= 500
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < 80, f"{node.name} does not fit a screen"


@pytest.mark.parametrize("arguments", [["--help"], ["recipe", "list"], ["recipe", "show", "demo"],
                                       ["run", "demo", "--set", "nonsense.x=1"]], ids=" ".join)
def test_help_and_option_errors_import_nothing_heavy(arguments: list[str]) -> None:
    code = ("import sys; from preceptor.cli.main import main\n"
            "try: main(sys.argv[1:])\nexcept SystemExit: pass\n"
            "heavy = {'torch', 'transformers', 'numpy', 'tokenizers'} & set(sys.modules)\n"
            "assert not heavy, heavy")
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def _option_classes() -> list[type]:
    found = []
    for path in sorted((ROOT / "preceptor").rglob("*options.py")):
        module = import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
        found += [kind for kind in vars(module).values()
                  if dataclasses.is_dataclass(kind) and kind.__module__ == module.__name__]
    return found


@cache
def _read() -> set[str]:
    """The names of all attributes that the sources read."""
    return {node.attr for path in SOURCES if not path.name.endswith("options.py")
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Attribute)}


@pytest.mark.parametrize("kind", _option_classes(), ids=lambda kind: kind.__name__)
def test_every_option_has_a_meaning_and_is_read(kind: type) -> None:
    from preceptor.recipe.options import describe_options
    for option, (_, meaning) in describe_options(kind).items():
        assert meaning, f"{kind.__name__}.{option} has no docstring"
        assert option in _read(), f"{kind.__name__}.{option} is read by nothing"
