"""A suite on several models: what each task gives on each model, kept as soon as it is there, and the whole as figures.

    OUT/answers/MODEL/TASK.json   {"identity", "arms": [{name, shots, metrics, by, whole, notes, answers}]}
    OUT/results.json              {"suite", "models", "tasks": {TASK: {ARM: {METRIC: {MODEL: interval}}}}, "judges",
                                   "left_out", "notes"}

An arm that was measured with the same task, file, model and options is not measured again.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from preceptor.data.records import Comparison
from preceptor.evaluate.options import SuiteOptions
from preceptor.evaluate.suites.description import Suite, Task
from preceptor.evaluate.suites.examinee import Examinee
from preceptor.evaluate.suites.items import Arm, arms, references
from preceptor.evaluate.suites.judges import TrainedJudge
from preceptor.evaluate.suites.preference import Preference, by_people, win_rates
from preceptor.evaluate.suites.scorers import SCORERS, Scored, groups, write
from preceptor.metrics.intervals import mean_over_prompts
from preceptor.run.errors import UserError
from preceptor.run.files import hash_path, hash_value, read_json, write_json

Load = Callable[[], Examinee]


@dataclass(slots=True)
class Examination:
    """What is known so far."""

    suite: Suite
    out: Path
    options: SuiteOptions
    prefer: Preference | None = None
    people: Sequence[Comparison] = ()
    judges: dict[str, TrainedJudge] = field(default_factory=dict)
    results: dict[str, Any] = field(default_factory=dict)


def examine(examination: Examination, models: dict[str, Load], say: Callable[[str], None]) -> dict[str, Any]:
    """Measure every model on every task; returns what `results.json` holds.

    Raises:
        UserError: no task of the suite can be measured, or a file or model cannot be read.
    """
    suite, options = examination.suite, examination.options
    examination.results = {"suite": suite.name, "models": list(models), "limit": options.limit, "tasks": {},
                           "judges": {}, "left_out": {}, "notes": []}
    tasks = [task for task in _chosen(suite, options) if _is_there(examination, task)]
    if not tasks:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in examination.results["left_out"].items())
        raise UserError(f"Nothing of the suite '{suite.name}' can be measured ({reasons}).",
                        "Give the folder of its data with --data, or another suite.")
    asked = {task.name: arms(task, suite.folder, options.limit, options.seed) for task in tasks}
    needed = {name for task in tasks for name in task.judges}
    for judge in suite.judges:
        if judge.name in needed:
            say(f"training the judge '{judge.name}'")
            examination.judges[judge.name] = TrainedJudge(judge, suite.folder, options.seed)
            examination.results["judges"][judge.name] = examination.judges[judge.name].measured
    for name, load in models.items():
        model = load()
        for number, task in enumerate(tasks, start=1):
            _enter(examination.results, task, name, _kept(examination, task, model, asked[task.name]))
            say(f"{name}: {task.name} done, {number} of {len(tasks)}")
        del model  # before the next one is loaded
    for task in tasks:
        if task.scorer == "preference":
            _compare(examination, task, asked[task.name][0], list(models))
    write_json(examination.out / "results.json", examination.results)
    return examination.results


def _chosen(suite: Suite, options: SuiteOptions) -> list[Task]:
    known = {task.name for task in suite.tasks}
    for name in options.tasks:
        if name not in known:
            raise UserError(f"The suite '{suite.name}' has no task '{name}'.", f"It has: {', '.join(sorted(known))}.")
    return [task for task in suite.tasks if not options.tasks or task.name in options.tasks]


def _is_there(examination: Examination, task: Task) -> bool:
    """Whether a task's files exist; a shipped suite goes without those that are not, and says so."""
    suite = examination.suite
    files = [task.file, *([task.shots_file] if task.shots_file else [])]
    files += [file for judge in suite.judges if judge.name in task.judges
              for file in (*judge.files, judge.references, judge.test) if file]
    absent = [file for file in files if not (suite.folder / file).is_file()]
    if absent and suite.own:
        raise UserError(f"The task '{task.name}' reads '{absent[0]}', and there is no such file in '{suite.folder}'.",
                        "Check the path; it is relative to the suite's own file.")
    if absent:
        examination.results["left_out"][task.name] = f"there is no file '{absent[0]}'"
    return not absent


def _kept(examination: Examination, task: Task, model: Examinee, asked: Sequence[Arm]) -> list[dict[str, Any]]:
    """The arms of a task on a model, from before where nothing has changed."""
    path = examination.out / "answers" / model.name / f"{task.name}.json"
    identity = hash_value([asdict(task), hash_path(examination.suite.folder / task.file), model.identity,
                           asdict(examination.options) | {"tasks": ()},
                           [judge.measured for judge in examination.judges.values()]])
    if path.exists() and (kept := read_json(path))["identity"] == identity:
        return kept["arms"]
    found = []
    for arm in asked:
        before = model.cut
        if task.scorer == "preference":
            scored = Scored({}, said=write(task, arm, model, examination.options.seed))
        elif task.scorer in ("pair", "text") and not model.reads:
            scored = Scored({}, notes=["a chat server gives no likelihoods"])
        else:
            scored = SCORERS[task.scorer](task, arm, model, examination.judges, examination.options.seed)
        if model.cut > before:
            scored.notes.append(f"{model.cut - before} texts were longer than the context and lost their beginning")
        if scored.said is not None and model.longest(task.max_tokens) < task.max_tokens:
            scored.notes.append(f"answers end after {model.longest(task.max_tokens)} tokens in place of "
                                f"{task.max_tokens}: the context has no room for more")
        found.append(_arm_figures(task, arm, scored))
    write_json(path, {"identity": identity, "arms": found})
    return found


def _arm_figures(task: Task, arm: Arm, scored: Scored) -> dict[str, Any]:
    """An arm's figures with intervals over prompts; of those a task does not name, only what its scorer has first."""
    clusters = [item.cluster for item in arm.items]
    metrics = {name: _mean(values, clusters) for name, values in scored.values.items()}
    wanted = task.metrics or tuple(metrics)
    metrics = {name: figure for name, figure in metrics.items() if figure and (name in wanted or task.judges)}
    by = {group: {name: _mean([scored.values[name][place] for place in places], [clusters[place] for place in places])
                  for name in metrics} for group, places in groups(task, arm).items()}
    whole = {name: figure for name, figure in scored.whole.items()
             if not task.metrics or name.endswith(("_signature", "unread")) or name in wanted}
    answers = [{"id": item.id, "prompt": item.asked(), "answer": said} for item, said
               in zip(arm.items, scored.said, strict=True)] if scored.said is not None else []
    return {"name": arm.name, "metrics": metrics, "by": by, "whole": whole, "notes": scored.notes,
            "examples_short": sum(len(item.shots) < arm.shots for item in arm.items), "answers": answers}


def _mean(values: Sequence[float | None], clusters: Sequence[str]) -> dict[str, float] | None:
    known = [(value, cluster) for value, cluster in zip(values, clusters, strict=True)
             if value is not None and not math.isnan(value)]
    return mean_over_prompts(*map(list, zip(*known, strict=True))).to_dict() if known else None


def _enter(results: dict[str, Any], task: Task, model: str, found: Sequence[dict[str, Any]]) -> None:
    """Put the arms of one model into the results, metric by metric."""
    for arm in found:
        place = results["tasks"].setdefault(task.name, {}).setdefault(arm["name"], {})
        for name, figure in (arm["metrics"] | arm["whole"]).items():
            place.setdefault(name, {})[model] = figure
        for group, metrics in arm["by"].items():
            for name, figure in metrics.items():
                place.setdefault(f"{name} / {group}", {})[model] = figure
        where = f"{model}, {task.name}" + (f", {arm['name']}" if arm["name"] else "")
        results["notes"] += [f"{where}: {note}" for note in arm["notes"]]
        if arm["examples_short"]:
            results["notes"].append(f"{model}, {task.name}: {arm['examples_short']} items have fewer examples than "
                                    f"{arm['name']} says")
    if task.research_only and (note := f"{task.name}: data for research only") not in results["notes"]:
        results["notes"].append(note)


def _compare(examination: Examination, task: Task, arm: Arm, models: Sequence[str]) -> None:
    """Win rates of each model over the first one, and over reference answers where the task names some."""
    def said(model: str) -> list[str]:
        kept = read_json(examination.out / "answers" / model / f"{task.name}.json")
        return [row["answer"] for row in kept["arms"][0]["answers"]]

    place = examination.results["tasks"].setdefault(task.name, {}).setdefault(arm.name, {})
    ids, prompts = [item.id for item in arm.items], [item.prompt for item in arm.items]
    against = [(model, models[0], said(model), said(models[0]), range(len(ids))) for model in models[1:]]
    if task.gold:
        wanted = [(references(item) or [""])[0] for item in arm.items]
        known = [number for number, one in enumerate(wanted) if one]
        against += [(model, "the reference", said(model), wanted, known) for model in models]
    for model, other, ours, theirs, places in against:
        if examination.prefer is not None and places:
            found = win_rates(*([some[number] for number in places] for some in (prompts, ids, ours, theirs)),
                              examination.prefer)
            for name, figure in found.items():
                place.setdefault(f"{name} against {other}", {})[model] = figure
        people = by_people(examination.people, model, other)
        for name, figure in (people or {}).items():
            place.setdefault(f"{name} against {other}, by people", {})[model] = figure
    if examination.prefer is None and not examination.people:
        examination.results["notes"].append(f"{task.name}: answers were written and nobody judged them; name a "
                                            "--reward, a --judge or --labels")
