"""`preceptor evaluate MODEL... --suite NAME`: the figures of a suite on models, as a table or as one JSON object."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from preceptor.run.errors import UserError

STEPS = ("base", "sft", "select", "ppo", "ppo_ptx")  # of a run, in the order of training


def evaluate(options: argparse.Namespace) -> None:
    """Examine the models; prints the table and where the figures are.

    Raises:
        UserError: a suite, a model, a file or a judge cannot be read, and what to do.
    """
    if options.robustness:
        from preceptor.cli.robustness import robustness
        return robustness(options)
    if options.limit < 0:
        raise UserError(f"--limit {options.limit} is no number of items.", "Give 1 or more, or 0 for all.")
    from preceptor.evaluate.suites.description import load_suite
    named = models(options.models, options.form)
    data = options.data or (Path(os.environ["PRECEPTOR_DATA"]) if os.environ.get("PRECEPTOR_DATA") else None)
    suite = load_suite(options.suite, data)
    from transformers.utils.logging import disable_progress_bar

    from preceptor.evaluate.options import SuiteOptions
    from preceptor.evaluate.suites.examination import Examination, examine
    from preceptor.evaluate.suites.table import table
    disable_progress_bar()
    out = options.out or Path("evaluations") / suite.name
    examination = Examination(suite, out, SuiteOptions(limit=options.limit, seed=options.seed,
                                                       tasks=tuple(options.task)),
                              prefer=_preference(options), people=_people(options.labels))
    results = examine(examination, {name: _loader(name, address, form) for name, address, form in named}, say)
    print(json.dumps(results, ensure_ascii=False) if options.json else table(results))
    say(f"written: {out / 'results.json'}")


def models(words: Sequence[str], form: str | None) -> list[tuple[str, str, str]]:
    """(name, address, form) of every model that the words of the command line name.

    A run's folder stands for its policies; its base model is asked in plain text, what was fine-tuned in chat.
    `form` overrules that; without it other folders are asked in chat where their tokenizer has a template.

    Raises:
        UserError: a word names neither a folder nor an address, or a run has no model yet.
    """
    found: list[tuple[str, str, str]] = []
    for word in words:
        path = Path(word)
        if (path / "run.json").is_file():
            steps = [step for name in STEPS for step in path.glob(f"[0-9][0-9]-{name}") if (step / "model").is_dir()]
            if not steps:
                raise UserError(f"The run '{word}' has no model yet.", f"Finish one of its steps {', '.join(STEPS)}.")
            found += [(step.name[3:], str(step), form or ("plain" if step.name[3:] == "base" else "chat"))
                      for step in steps]
        elif "://" not in word and not path.is_dir():
            raise UserError(f"There is no model folder '{word}'.",
                            "Give the folder of a run, a step or a model, or URL#MODEL of a server.")
        else:
            name = word.rpartition("#")[2] if "://" in word else path.resolve().name
            found.append((name, word, form or ("chat" if _has_template(path) else "plain")))
    names = [name for name, _, _ in found]
    return [(name if names.count(name) == 1 else f"{name} {number}", *rest)
            for number, (name, *rest) in enumerate(found, start=1)]


def _has_template(path: Path) -> bool:
    folders = [folder for folder in (path / "model", path) if folder.is_dir()]
    return bool(folders) and ((folders[0] / "chat_template.jinja").is_file()
                              or "chat_template" in _text(folders[0] / "tokenizer_config.json"))


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _loader(name: str, address: str, form: str) -> Any:
    from preceptor.evaluate.suites.examinee import examinee
    return lambda: examinee(address, name, form)


def _preference(options: argparse.Namespace) -> Any:
    from preceptor.evaluate.suites.preference import by_judge, by_reward
    if options.reward and options.judge:
        raise UserError("--reward and --judge name two judges of one preference.", "Give one of them.")
    if options.reward:
        from preceptor.models.rewards import load_reward
        return by_reward(load_reward(options.reward))
    if options.judge:
        [(name, address, form)] = models([options.judge], None)
        return by_judge(_loader(name, address, form)())
    return None


def _people(labels: Path | None) -> Sequence[Any]:
    from preceptor.data.jsonl import read_jsonl
    from preceptor.data.records import Comparison
    return [one for one in read_jsonl(labels, Comparison) if one.kind == "person"] if labels else ()


def say(line: str) -> None:
    """Progress goes to the standard error, so that the figures can be piped."""
    print(line, file=sys.stderr, flush=True)
