"""What a stage is handed: its folder, its inputs, its options, its seed, and where to say and log things."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from preceptor.run.errors import UserError, nearest
from preceptor.run.log import Log
from preceptor.run.processes import leads
from preceptor.run.progress import Progress


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a run, as its stage sees it. A stage reads `inputs`, writes `folder`, and returns nothing."""

    name: str
    folder: Path
    inputs: dict[str, Path]
    options: Any
    seed: int
    log: Log

    def input(self, name: str, *parts: str) -> Path:
        """The path of input `name`, or of a file inside it.

        Raises:
            UserError: the recipe gives this step no such input, or what it names does not exist.
        """
        if name not in self.inputs:
            raise UserError(f"Step '{self.name}' needs the input '{name}'. {nearest(name, self.inputs)}",
                            f"Add '{name}: STEP or path' to its needs in the recipe.")
        path = self.inputs[name].joinpath(*parts)
        if not path.exists():
            raise UserError(f"The input '{name}' of step '{self.name}' is not there: '{path}'.",
                            "Check the path, or run the step that makes it.")
        return path

    def several(self, name: str) -> list[Path]:
        """The paths of the inputs NAME_0, NAME_1, ..., in the order of their numbers; empty where there are none."""
        numbers = sorted(int(key.removeprefix(f"{name}_")) for key in self.inputs if key.startswith(f"{name}_"))
        return [self.input(f"{name}_{number}") for number in numbers]

    def say(self, text: str) -> None:
        """Print one line for the person who watches."""
        if leads():
            print(f"{self.name}: {text}", file=sys.stderr, flush=True)

    def plan(self, **numbers: Any) -> None:
        """Print the numbers derived from the options, before work starts, and keep them in the log."""
        self.log.write(0, plan=numbers)
        shown = "  ".join(f"{name.replace('_', ' ')} {_readable(value)}" for name, value in numbers.items())
        self.say(shown)

    def progress(self, total: int, unit: str = "steps") -> Progress:
        """A progress line for `total` pieces of work."""
        return Progress(self.name, total, unit)


def _readable(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
