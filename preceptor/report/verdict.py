"""What a learning curve says, in words, with its evidence: under-fit, over-fit, or healthy."""

import math
from collections.abc import Mapping
from statistics import fmean

from preceptor.report.artefacts import Series
from preceptor.report.text import Text, number, percent, text

RISE = 0.01
"""Share by which the validation loss must end above its lowest value to be called over-fit."""
FALL = 0.01
"""Share by which it must have fallen in the last third of the steps to be called under-fit."""


def verdict(series: Mapping[str, Series]) -> Text | None:
    """The verdict on a step with a training loss and at least three measurements on held-out data, else None.

    Over-fit: the validation loss ends more than `RISE` above its lowest, while the training loss did not rise. Else
    under-fit: it fell by more than `FALL` in the last third of the steps. Else healthy.
    """
    validation = _validation(series)
    if len(validation) < 3 or "loss" not in series:
        return None
    lowest_at, lowest = min(validation, key=lambda point: point[1])
    last_at, last = validation[-1]
    before, after = _training(series["loss"], lowest_at, last_at), _training(series["loss"], last_at, last_at)
    if last > lowest * (1 + RISE) and after <= before:
        return text("curves.over_fit", lowest=number(lowest), at=lowest_at, rise=percent(last / lowest - 1),
                    before=number(before), after=number(after))
    earlier = min(validation, key=lambda point: (abs(point[0] - last_at * 2 / 3), point[0]))[1]
    fall = 1 - last / earlier
    if fall > FALL:
        return text("curves.under_fit", fall=percent(fall), last=number(last))
    return text("curves.healthy", last=number(last), after=number(after), at=lowest_at)


def _validation(series: Mapping[str, Series]) -> Series:
    """The validation loss in nats; of a step that logs its exponent, the logarithm of that."""
    if "validation_loss" in series:
        return series["validation_loss"]
    return [(at, math.log(value)) for at, value in series.get("validation_perplexity", []) if value > 0]


def _training(losses: Series, at: int, last: int) -> float:
    """The mean training loss over the tenth of the run that ends at step `at`, or of what is nearest before it."""
    near = [value for place, value in losses if at - last / 10 < place <= at]
    return fmean(near) if near else min(losses, key=lambda point: abs(point[0] - at))[1]
