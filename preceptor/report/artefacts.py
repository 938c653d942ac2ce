"""What the report reads of a run folder: the manifest, the log, and the results of stages. Anything may be missing."""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from preceptor.data.jsonl import read_jsonl
from preceptor.evaluate.answers import JudgedAnswer
from preceptor.run.errors import UserError
from preceptor.run.files import read_json
from preceptor.run.log import read_log
from preceptor.run.manifest import read_manifest

Series = list[tuple[float, float]]


class RunFolder:
    """A run, finished or not.

    Raises:
        UserError: there is no `run.json` in the folder.
    """

    def __init__(self, path: Path) -> None:
        if not (path / "run.json").is_file():
            raise UserError(f"'{path}' is not the folder of a run: there is no run.json in it.",
                            "Give the folder that `preceptor run` wrote, such as runs/demo.")
        self.path = path
        self.manifest = read_manifest(path)
        self._log = read_log(path / "log.jsonl")

    @cached_property
    def steps(self) -> dict[str, dict[str, Any]]:
        """The manifest's steps that were started, in the order of their folders."""
        started = {name: entry for name, entry in self.manifest["steps"].items() if "folder" in entry}
        return dict(sorted(started.items(), key=lambda item: item[1]["folder"]))

    @property
    def unfinished(self) -> list[str]:
        """Names of steps that were started and are not done."""
        return [name for name, entry in self.steps.items() if entry["status"] != "done"]

    def series(self, step: str) -> dict[str, Series]:
        """Every numeric metric of a step as (position, value), positions after 0; plans and results are no series."""
        found: dict[str, Series] = {}
        for at, metrics in self._log.get(step, {}).items():
            for name, value in metrics.items():
                if at > 0 and isinstance(value, (int, float)) and not isinstance(value, bool):
                    found.setdefault(name, []).append((at, value))
        return found

    def results(self, stage: str) -> dict[str, Any]:
        """`results.json` of the last step of a stage that has one, else empty."""
        return next((read_json(path) for path in self._files(stage, "results.json")), {})

    def learned(self) -> dict[str, Any]:
        """`learned.json` of every step that went on from a model, by the step's name, in order."""
        found = {name: self.path / entry["folder"] / "learned.json" for name, entry in self.steps.items()}
        return {name: read_json(path) for name, path in found.items() if path.exists()}

    def selection(self) -> dict[str, Any]:
        """`selection.json` of the last select step, else empty."""
        return next((read_json(path) for path in self._files("select", "selection.json")), {})

    def answers(self) -> list[JudgedAnswer]:
        """The judged answers of the last evaluation, else none."""
        return next((read_jsonl(path, JudgedAnswer) for path in self._files("evaluate", "answers.jsonl")), [])

    def looked(self, name: str) -> dict[str, Path]:
        """The folders of the steps that looked at pictures and wrote a file of that name, by the step's name."""
        return {step: self.path / entry["folder"] for step, entry in self.steps.items()
                if entry["stage"] == "see" and (self.path / entry["folder"] / name).is_file()}

    def recipe(self) -> str:
        """The resolved recipe as YAML, else empty."""
        path = self.path / "recipe.yaml"
        return path.read_text(encoding="utf-8") if path.exists() else ""

    def _files(self, stage: str, name: str) -> Iterator[Path]:
        """Files of that name in steps of a stage, the last step first."""
        for entry in reversed(self.steps.values()):
            path = self.path / entry["folder"] / name
            if entry["stage"] == stage and path.exists():
                yield path
