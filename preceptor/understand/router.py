"""A router: each text goes to the cheaper model, and on to the other where the cheaper one is not sure enough.

The cheaper model's log-probability of its own reading is made a probability that all of it is right (Platt's scaling),
and compared with a threshold. Both are fitted on validation records, never on test records: the threshold is the least,
which asks the other model least often, at which the router's quality there stays within a tolerance of the better
model's. Where the cheaper model is itself the better one, that is to ask the other never. Such cascades are as old as
Viola and Jones 2001; Chen et al. 2023 (FrugalGPT, arXiv 2305.05176) have them for language models.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from preceptor.metrics.calibration import Sureness
from preceptor.run.errors import UserError
from preceptor.run.files import read_json, write_json
from preceptor.understand.answerers import Answerer, load_answerer
from preceptor.understand.scores import Halves, ratio
from preceptor.understand.task import Reading, Task

FILE = "router.json"
NEVER, ALWAYS = 0.0, 2.0  # thresholds below and above every probability


@dataclass(frozen=True, slots=True)
class Routed:
    """A reading, how sure the model that gave it was, and which one that is."""

    reading: Reading
    sure: float | None
    """The cheaper model's probability of being right, of readings of its own."""
    model: str


class Router:
    """Two models as one. `names` are those of the cheaper and the other model; `asked` counts what the other was asked.
    """

    def __init__(self, cheap: Answerer, dear: Answerer, names: tuple[str, str], sureness: Sureness,
                 threshold: float) -> None:
        self.cheap, self.dear, self.names = cheap, dear, names
        self.sureness, self.threshold = sureness, threshold
        self.asked = 0

    def read(self, texts: Sequence[str]) -> list[Routed]:
        """A reading of each text."""
        if self.threshold == ALWAYS:  # nobody need be sure
            self.asked += len(texts)
            return [Routed(one, None, self.names[1]) for one in self.dear.read(texts)]
        found = [Routed(one, self.sureness.of(one.log_probability), self.names[0]) for one in self.cheap.read(texts)]
        unsure = [place for place, one in enumerate(found) if one.sure < self.threshold]
        self.asked += len(unsure)
        for place, reading in zip(unsure, self.dear.read([texts[place] for place in unsure])):
            found[place] = Routed(reading, None, self.names[1])
        return found


def mixed(sure: Sequence[float], threshold: float, cheap: Halves, dear: Halves) -> tuple[Halves, float]:
    """What the router's readings count at a threshold, and the share of texts for which it asks the other model."""
    ask = np.asarray(sure) < threshold
    top, bottom = (np.where(ask, there, here).tolist() for here, there in zip(cheap, dear, strict=True))
    return (top, bottom), float(ask.mean())


def choose_threshold(sure: Sequence[float], cheap: Halves, dear: Halves, tolerance: float) -> float:
    """The least threshold whose quality is at least (1 - tolerance) of the better model's, on validation records.

    `ALWAYS` reaches it where the other model is the better one, `NEVER` where it is not.
    """
    wanted = (1 - tolerance) * max(ratio(cheap), ratio(dear))
    # A threshold just above a probability asks for that text too.
    candidates = [NEVER, *(float(np.nextafter(value, 2)) for value in sorted(set(sure))), ALWAYS]
    return next(one for one in candidates if ratio(mixed(sure, one, cheap, dear)[0]) >= wanted)


def save_router(folder: Path, task: Task, folders: dict[str, Path], sureness: Sureness, threshold: float,
                max_tokens: int) -> None:
    """Write router.json: the task, the cheaper model and then the other, how sure is sure, and where to draw the line.

    Models are named by their paths from here, so that a run may be moved as a whole.
    """
    models = [{"name": name, "folder": os.path.relpath(path, folder)} for name, path in folders.items()]
    write_json(folder / FILE, {"task": task.name, "labels": list(task.labels), "models": models,
                               "sureness": sureness.to_dict(), "threshold": threshold, "max_tokens": max_tokens})


def load_router(folder: Path, rows: int = 32) -> tuple[Router, Task]:
    """The router of a `compare` step, with both models loaded, and its task.

    Raises:
        UserError: there is none in the folder, or a model is gone.
    """
    if not (folder / FILE).is_file():
        raise UserError(f"'{folder}' holds no router: there is no {FILE} in it.",
                        "Give the folder of a step of stage compare, or of `preceptor compare --out`.")
    said: dict[str, Any] = read_json(folder / FILE)
    task = Task(said["task"], tuple(said["labels"]))
    cheap, dear = (load_answerer(folder / one["folder"], task, rows, said["max_tokens"]) for one in said["models"])
    names = tuple(one["name"] for one in said["models"])
    return Router(cheap, dear, names, Sureness(**said["sureness"]), said["threshold"]), task
