"""The rescue from a spike: back to the last good checkpoint, the data that caused it cut out, and a ledger of it.

The rule, in order:
1. A checkpoint is good when it is whole, its loss scale is above 0, and its gradient norm was at or below its running
   level and calm (learn/watch.py). The newest good one is taken; where none is good, the oldest there is.
2. From its cursor to the spike, and on until `QUIET` batches in a row are ordinary, every batch is put to the weights
   of that checkpoint, without a step. The one that spiked is cut out, and all of which a sign lies `ALARM` deviations
   above the checkpoint's level, each with the neighbours that lie `SUSPECT` deviations above it.
3. The supply skips them for good, a checkpoint says so, and training goes on from there.

What was cut is in the ledger, `rescues.json`, with the ids of the documents.
"""

import math
import shutil
import sys
from itertools import groupby
from pathlib import Path
from typing import Any

from preceptor.learn.checkpoint import checkpoint_path, save_checkpoint, whole_checkpoints
from preceptor.learn.gradients import take_gradients
from preceptor.learn.options import FitOptions
from preceptor.learn.state import State
from preceptor.learn.watch import ALARM, SUSPECT, Signs
from preceptor.run.errors import UserError
from preceptor.run.files import write_json
from preceptor.run.processes import leads, meet

QUIET = 4  # ordinary batches in a row after which the poison is over


def rescue(state: State, options: FitOptions, limit: int, folder: Path, number: int, cause: str) -> int:
    """Go back from the spike at optimiser step `number`; returns the step to go on after.

    Raises:
        UserError: there were `limit` rescues already.
    """
    if len(state.rescues) >= limit:
        raise UserError(f"At optimiser step {number} {cause}, and {limit} rescues are used up.",
                        "Lower the learning rate, or look at the documents that rescues.json names.")
    checkpoints = folder / "checkpoints"
    spiked = cursor(state) - 1
    ledger = state.rescues
    good, saved = _good_checkpoint(checkpoints, state)
    _go_back(state, saved, ledger)
    cut = _suspects(state, options, spiked)
    _go_back(state, saved, [*ledger, {
        "step": number, "cause": cause, "back_to": good, "batches": sorted(cut),
        "documents": sorted({name for names in cut.values() for name in names})}])
    captured = state.capture()
    meet()
    if leads():
        for later in range(good + 1, number):
            shutil.rmtree(checkpoint_path(checkpoints, later), ignore_errors=True)
    save_checkpoint(checkpoints, good, captured, options.keep_last)
    write_json(folder / "rescues.json", state.rescues)
    if leads():
        print(f"Step {number}: {cause}. Back to step {good} without {len(cut)} batches of "
              f"{len(state.rescues[-1]['documents'])} documents (rescues.json).", file=sys.stderr)
    return good


def _go_back(state: State, saved: dict[str, Any], ledger: list[dict[str, Any]]) -> None:
    """Restore a checkpoint, which may be older than the last rescues, without forgetting what they cut out."""
    state.restore(saved)
    skipped, due = ({number for one in rescues for number in one["batches"]}
                    for rescues in (saved["rescues"], ledger))
    for number in sorted(due - skipped):
        state.terms[0].batches.skip(range(number, number + 1))
    state.rescues = ledger


def cursor(state: State) -> int:
    """Batches that the first supply has drawn, those skipped included: what a span of data is counted in."""
    return state.terms[0].batches.state()["drawn"]


def _good_checkpoint(checkpoints: Path, state: State) -> tuple[int, dict[str, Any]]:
    found = None
    for found in whole_checkpoints(checkpoints):
        state.watch.restore(found[1]["watch"])
        if found[1]["scale"][0] > 0 and state.watch.calm():
            break
    assert found is not None, "a run that is watched has a checkpoint from its beginning"
    return found


def _suspects(state: State, options: FitOptions, spiked: int) -> dict[int, list[str]]:
    """Batches to cut out, by the number at which they are drawn, with their documents."""
    seen: list[tuple[int, float, list[str]]] = []
    quiet = 0
    while cursor(state) <= spiked or quiet < QUIET:
        try:
            measured = take_gradients(state.model, state.terms[:1], options, state.scale)
        except StopIteration:
            break
        drawn = cursor(state) - 1
        # the levels of the checkpoint judge; the weights stand still, so nothing joins them
        deviation = math.inf if drawn == spiked else max(state.watch.deviations(Signs.of(measured)).values())
        seen.append((drawn, deviation, measured.documents))
        quiet = 0 if deviation > SUSPECT else quiet + 1
    runs = groupby(seen, key=lambda one: one[1] > SUSPECT)
    spans = [list(run) for suspect, run in runs if suspect]
    return {drawn: documents for span in spans if max(deviation for _, deviation, _ in span) > ALARM
            for drawn, _, documents in span}
