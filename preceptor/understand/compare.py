"""The compare stage: two models on the same test texts, what each costs, which one to take, and a router over both.

Quality, latency, memory and cost are those of `scores.py` and `costs.py`. The first model need not be an encoder nor
the second a language model: any two that read the task can be compared.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from preceptor.data.jsonl import read_jsonl, write_jsonl
from preceptor.data.records import Annotated
from preceptor.metrics.calibration import Sureness, expected_calibration_error, fit_sureness, reliability
from preceptor.models.causal import parameter_count
from preceptor.run.errors import UserError
from preceptor.run.files import write_json
from preceptor.run.step import Step
from preceptor.understand.answerers import Answerer, load_answerer
from preceptor.understand.costs import Speed, memory, speeds
from preceptor.understand.options import CompareOptions
from preceptor.understand.router import ALWAYS, NEVER, choose_threshold, mixed, save_router
from preceptor.understand.scores import Halves, details, difference, halves, quality, ratio
from preceptor.understand.task import Reading, Task, read_task

POINTS = 20  # of the router's curve


def run(step: Step) -> None:
    """Read `records` (annotations), `encoder` and `language`; write results.json, answers.jsonl and router.json."""
    results = compare({"encoder": step.input("encoder"), "language_model": step.input("language")},
                      step.input("records"), step.folder, step.options, step.seed, step.say)
    step.log.write(0, **{key: results[key] for key in ("models", "recommended")})


@dataclass(frozen=True, slots=True)
class Measured:
    """One model's readings of the validation and of the test records, what they count, and its speed."""

    validation: list[Reading]
    test: list[Reading]
    validation_halves: Halves
    test_halves: Halves
    speed: Speed


def compare(folders: Mapping[str, Path], records: Path, out: Path, options: CompareOptions, seed: int,
            say: Callable[[str], None]) -> dict[str, Any]:
    """Measure the two models named in `folders`, write the three files into `out`, and return results.json.

    Raises:
        UserError: a folder holds no model, or no annotations; or the options leave nothing to measure.
    """
    check_options(options)
    task = read_task(records)
    validation, test = (read_jsonl(records / f"{side}.jsonl", Annotated) for side in ("validation", "test"))
    answerers = {name: load_answerer(folder, task, options.rows, options.max_tokens)
                 for name, folder in folders.items()}
    timed = [record.text for record in random.Random(seed).sample(test, min(options.timed, len(test)))]
    speed = speeds(answerers, timed, options.rows, options.repeats)
    found = {name: _measured(task, answerer, validation, test, speed[name]) for name, answerer in answerers.items()}
    models = {}
    for name, answerer in answerers.items():
        peak = memory(folders[name], records, timed, options.rows, options.max_tokens, options.repeats)
        models[name] = _figures(task, answerer, test, found[name], options) | {"memory_mb": peak.to_dict()}
        if answerer.cut:
            say(f"{name}: {answerer.cut} times a text or an answer was cut, being too long")
    cheap, dear = sorted(found, key=lambda name: found[name].speed.seconds.mean)
    sureness = fit_sureness([one.log_probability for one in found[cheap].validation],
                            [task.right(*pair) for pair in zip(validation, found[cheap].validation)])
    routed = _route(task, test, found[cheap], found[dear], sureness, options)
    results = {"task": task.name, "labels": len(task.labels), "validation": len(validation), "test": len(test),
               "price": options.price, "models": models, "cheaper": cheap,
               "faster": found[dear].speed.seconds.mean / found[cheap].speed.seconds.mean,
               "recommended": _recommended(found, cheap, dear, options), "router": routed}
    write_json(out / "results.json", results)
    write_jsonl(out / "answers.jsonl", _answers(task, test, found))
    save_router(out, task, {name: folders[name] for name in (cheap, dear)}, sureness, routed["threshold"],
                options.max_tokens)
    return results


def check_options(options: CompareOptions) -> None:
    """Raises:
        UserError: an option leaves nothing to measure; memory has an interval over its repeats.
    """
    for name, least in {"rows": 1, "timed": 1, "repeats": 2, "max_tokens": 1}.items():
        if getattr(options, name) < least:
            raise UserError(f"Models cannot be compared with {name} {getattr(options, name)}.",
                            f"Give {least} or more.")
    if not 0 < options.price < float("inf"):
        raise UserError(f"A price of {options.price} an hour is none.", "Give a number above 0.")
    if not 0 <= options.tolerance < 1:
        raise UserError(f"A tolerance of {options.tolerance} is no share below 1.", "Give one such as 0.01.")


def _measured(task: Task, answerer: Answerer, validation: Sequence[Annotated], test: Sequence[Annotated],
              speed: Speed) -> Measured:
    sides = [answerer.read([record.text for record in records]) for records in (validation, test)]
    return Measured(*sides, halves(task, validation, sides[0]), halves(task, test, sides[1]), speed)


def _figures(task: Task, answerer: Answerer, test: Sequence[Annotated], found: Measured,
             options: CompareOptions) -> dict[str, Any]:
    return {"kind": answerer.kind, "parameters": parameter_count(answerer.model),
            "quality": quality(task, test, found.test).to_dict(), "details": details(task, test, found.test),
            **found.speed.to_dict(options.price)}


def _recommended(found: Mapping[str, Measured], cheap: str, dear: str, options: CompareOptions) -> dict[str, Any]:
    """The cheaper model, unless the other is better beyond doubt (its interval is above 0) and by more than the
    tolerance."""
    gain = difference(found[dear].test_halves, found[cheap].test_halves)
    best = max(ratio(one.test_halves) for one in found.values())
    worth = gain.low > 0 and gain.mean > options.tolerance * best
    because = "better" if worth else "better and cheaper" if gain.high < 0 else "cheaper"
    return {"model": dear if worth else cheap, "because": because,
            "dearer_less_cheaper": gain.to_dict()}


def _route(task: Task, test: Sequence[Annotated], cheap: Measured, dear: Measured, sureness: Sureness,
           options: CompareOptions) -> dict[str, Any]:
    """The router whose threshold the validation records choose, on the test records; beside it the whole curve.

    What counts as the better model is decided on the validation records too: before the test nobody knows it.
    """
    validation_sure, test_sure = ([sureness.of(one.log_probability) for one in side]
                                  for side in (cheap.validation, cheap.test))
    threshold = choose_threshold(validation_sure, cheap.validation_halves, dear.validation_halves, options.tolerance)
    best = dear if ratio(dear.validation_halves) > ratio(cheap.validation_halves) else cheap
    one, other = cheap.speed.seconds.mean, dear.speed.seconds.mean

    def figures(at: float) -> dict[str, Any]:
        counts, asked = mixed(test_sure, at, cheap.test_halves, dear.test_halves)
        above = difference(counts, best.test_halves)
        # Who is never asked need not be served, and who is always asked need not be preceded by the other.
        seconds = other if at == ALWAYS else one + asked * other
        return {"threshold": at, "asked": asked, "quality": ratio(counts), "against_best": above.to_dict(),
                "cost_per_thousand": 1000 * options.price / 3600 * seconds,
                "cost_share": seconds / best.speed.seconds.mean}

    shares = np.quantile(validation_sure, np.linspace(0, 1, POINTS + 1)[1:-1])
    right = [float(task.right(*pair)) for pair in zip(test, cheap.test)]
    table = reliability(test_sure, right, lowest=0.0)
    curve = [figures(at) for at in (NEVER, *sorted({float(value) for value in shares}), ALWAYS)]
    return {**figures(threshold), "best_is_cheaper": best is cheap, "sureness": sureness.to_dict(),
            "calibration_error": expected_calibration_error(table), "reliability": [bin.to_dict() for bin in table],
            "curve": curve}


def _answers(task: Task, test: Sequence[Annotated], found: Mapping[str, Measured]) -> list[dict[str, Any]]:
    """Each test text with what was to be read and what each model read, so that people see where they differ."""
    return [{"id": record.id, "text": record.text,
             "gold": task.shown(record.text, Reading(0.0, record.label, [tuple(span) for span in record.spans or []])),
             **{name: {**task.shown(record.text, one.test[place]), "log_probability": one.test[place].log_probability}
                for name, one in found.items()}} for place, record in enumerate(test)]
