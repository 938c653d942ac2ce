"""`preceptor tune recipe RECIPE`: search over a recipe's options, resumable, with hopeless trials cut short (Optuna).

Each trial is a run of the recipe in a process and a folder of its own. Its measure is read from its log while it runs,
and a trial that is behind the median of the others at the same position ends there (Golovin et al. 2017, §3.2.2). A
search that was stopped goes on with the same command: a trial that was under way is resumed in its folder.
"""

import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from preceptor.run.errors import UserError
from preceptor.run.files import hash_value, write_json
from preceptor.run.log import read_log
from preceptor.run.manifest import read_manifest
from preceptor.run.progress import Progress

LOOK_EVERY = 0.5  # seconds between two looks into the log of a trial
STARTUP = 4       # trials that none is compared with yet


@dataclass(frozen=True, slots=True)
class Search:
    """What is searched: the recipe, its fixed changes, the options and their ranges, and what decides."""

    recipe: str
    sets: Sequence[str]
    over: dict[str, Any]
    """Option to a list of choices, or to a (low, high) range: logarithmic from a factor of 10 on."""
    step: str
    metric: str
    maximise: bool
    out: Path

    def words(self, values: dict[str, Any]) -> list[str]:
        """The command line of one trial."""
        changes = [*self.sets, *(f"{option}={value}" for option, value in sorted(values.items()))]
        return ["run", self.recipe, "--out", str(self.folder(values)), *(part for one in changes
                                                                         for part in ("--set", one))]

    def folder(self, values: dict[str, Any]) -> Path:
        return self.out / hash_value(values)[:12]


def parsed(texts: Sequence[str]) -> dict[str, Any]:
    """`NAME.option=1e-4..1e-2` is a range, `NAME.option=adamw,muon` are choices.

    Raises:
        UserError: it is neither.
    """
    found: dict[str, Any] = {}
    for text in texts:
        option, _, values = text.partition("=")
        low, dots, high = values.partition("..")
        try:
            ends = (_number(low), _number(high)) if dots else None
        except ValueError:
            ends = None
        choices = [yaml.safe_load(value) for value in values.split(",")] if not dots and values else []
        if "." not in option or not (ends and ends[0] < ends[1] or len(choices) > 1):
            raise UserError(f"'--over {text}' says no range and no choices.",
                            "Write --over base.learning_rate=1e-4..1e-2 or --over base.optimiser=adamw,muon.")
        found[option] = ends or choices
    if not found:
        raise UserError("There is nothing to search over.", "Give at least one --over NAME.option=LOW..HIGH.")
    return found


def _number(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        return float(text)


def search(plan: Search, trials: int) -> None:
    """Bring the search to `trials` finished or pruned trials; write OUT/search.json and print the best options.

    Raises:
        UserError: Optuna is not installed, a step or option is unknown, or no trial came to an end.
    """
    try:
        import optuna
    except ImportError:
        raise UserError("The search needs the package 'optuna', which is not installed.",
                        "Run: pip install 'preceptor[tune]'.") from None
    _check(plan)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    plan.out.mkdir(parents=True, exist_ok=True)
    study = optuna.create_study(
        storage=f"sqlite:///{plan.out / 'study.sqlite3'}",
        study_name=hash_value([plan.recipe, plan.step, plan.metric, *plan.sets, plan.over])[:12],
        direction="maximize" if plan.maximise else "minimize", load_if_exists=True,
        pruner=optuna.pruners.MedianPruner(n_startup_trials=STARTUP))
    states = optuna.trial.TrialState
    for trial in study.get_trials(states=(states.RUNNING,)):  # under way when the search was stopped
        study.tell(trial.number, state=states.FAIL)
        study.enqueue_trial(trial.params)
    progress = Progress("search", trials, "trials")
    while (done := sum("ended" in trial.user_attrs for trial in study.get_trials(deepcopy=False))) < trials:
        study.sampler = optuna.samplers.TPESampler(seed=done)  # one seed for all would suggest the same after a stop
        trial = study.ask()
        try:
            state, value = states.COMPLETE, run_trial(trial, plan, suggested(trial, plan.over))
        except optuna.TrialPruned:
            state, value = states.PRUNED, None
        except TrialFailed as failed:
            state, value = states.FAIL, None
            print(f"search: trial {trial.number} failed: {failed}", file=sys.stderr)
        trial.set_user_attr("ended", True)
        study.tell(trial, value, state)
        progress.update(done + 1, _said(study))
    _report(study, plan)


def _check(plan: Search) -> None:
    """Read the recipe once with a value of every option, so that a mistyped one costs no trial."""
    from preceptor.recipe.load import load_recipe
    values = [f"{option}={values[0]}" for option, values in plan.over.items()]
    recipe = load_recipe(plan.recipe, sets=[*plan.sets, *values])
    if plan.step not in [step.name for step in recipe.steps]:
        raise UserError(f"The measure '{plan.step}.{plan.metric}' names no step of the recipe.",
                        "Write --measure STEP.METRIC, such as base.validation_bits_per_byte.")


def suggested(trial: Any, over: dict[str, Any]) -> dict[str, Any]:
    """The options of one trial."""
    values = {}
    for option, space in over.items():
        if isinstance(space, list):
            values[option] = trial.suggest_categorical(option, space)
        else:
            low, high = space
            suggest = trial.suggest_int if isinstance(low, int) and isinstance(high, int) else trial.suggest_float
            values[option] = suggest(option, low, high, log=low > 0 and high / low >= 10)
    return values


class TrialFailed(Exception):
    """A run that ended with an error: it counts as a trial, and has no value."""


def run_trial(trial: Any, plan: Search, values: dict[str, Any]) -> float:
    """Run the recipe with these options until its measure is complete or the pruner gives it up."""
    import optuna
    with (plan.out / "output.txt").open("a", encoding="utf-8") as output:
        process = subprocess.Popen([sys.executable, "-m", "preceptor.cli.main", *plan.words(values)], stdout=output,
                                   stderr=output)
        try:
            while process.poll() is None and not _is_done(plan, values):
                time.sleep(LOOK_EVERY)
                for at, value in _points(plan, values).items():
                    trial.report(value, at)
                if trial.should_prune():
                    raise optuna.TrialPruned
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
    points = _points(plan, values)
    if not _is_done(plan, values) or not points:
        raise TrialFailed(f"exit code {process.returncode}, see {plan.out / 'output.txt'}")
    return points[max(points)]


def _points(plan: Search, values: dict[str, Any]) -> dict[int, float]:
    lines = read_log(plan.folder(values) / "log.jsonl").get(plan.step, {})
    return {at: line[plan.metric] for at, line in lines.items() if plan.metric in line}


def _is_done(plan: Search, values: dict[str, Any]) -> bool:
    return read_manifest(plan.folder(values))["steps"].get(plan.step, {}).get("status") == "done"


def _said(study: Any) -> str:
    import optuna
    complete = study.get_trials(states=(optuna.trial.TrialState.COMPLETE,))
    return f"best {study.best_value:.4g}" if complete else ""


def _report(study: Any, plan: Search) -> None:
    rows = [{"options": trial.params, "state": trial.state.name.lower(), "value": trial.value,
             "folder": plan.folder(trial.params).name} for trial in study.trials]
    write_json(plan.out / "search.json", {"measure": f"{plan.step}.{plan.metric}", "trials": rows})
    if not _said(study):
        raise UserError("No trial came to its end.", f"Read '{plan.out / 'output.txt'}'.")
    for row in sorted((row for row in rows if row["state"] == "complete"), key=lambda row: row["value"],
                      reverse=plan.maximise):
        print(f"{row['value']:<12.5g} {'  '.join(f'{name}={value}' for name, value in row['options'].items())}")
    print("\nBest: " + " ".join(f"--set {name}={value}" for name, value in study.best_params.items()))
    print(f"Written: {plan.out / 'search.json'}")
