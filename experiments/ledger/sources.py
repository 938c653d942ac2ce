"""What the experiments read: committed results of longer runs, and the public data packs."""

import os
from pathlib import Path

from preceptor.data.jsonl import read_rows
from preceptor.run.errors import UserError
from preceptor.run.files import read_json

RESULTS = Path(__file__).parent.parent / "results"


def demo(key: str) -> list[float]:
    """The values over seeds of a figure of the demo."""
    return read_json(RESULTS / "demo_seeds.json")[key]["values"]


def data(path: str) -> list[dict]:
    """The rows of a pack.

    Raises:
        UserError: PRECEPTOR_DATA is not set.
    """
    if not os.environ.get("PRECEPTOR_DATA"):
        raise UserError("PRECEPTOR_DATA names no folder of data packs.", "Set it to the folder that holds pref/.")
    return [row for _, row in read_rows(Path(os.environ["PRECEPTOR_DATA"]) / path)]
