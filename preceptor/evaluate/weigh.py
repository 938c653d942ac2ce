"""The weigh stage: what smaller models cost and what they lost, beside the original, and which of them keeps a budget.

Each model's figures are kept under `checkpoints/` as soon as they are there, so that a killed step goes on with the
model that it was at; the runner removes that folder when the step is done.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from preceptor.data.jsonl import read_jsonl, write_jsonl
from preceptor.data.records import Document, Prompt
from preceptor.evaluate.answers import JudgedAnswer, ask, judge
from preceptor.evaluate.budget import against, breaches
from preceptor.evaluate.cost import costs
from preceptor.evaluate.likelihood import text_likelihood
from preceptor.evaluate.measures import overall, rate_of_wins, text_figures
from preceptor.evaluate.options import SuiteOptions, WeighOptions
from preceptor.evaluate.suites.description import Suite, load_suite
from preceptor.evaluate.suites.examination import Examination, examine
from preceptor.evaluate.suites.examinee import LocalExaminee
from preceptor.feedback.rewards import open_reward
from preceptor.generate.decoder import Sampling
from preceptor.generate.local import LocalDecoder
from preceptor.generate.onnx import load_for_decoding
from preceptor.models.causal import model_folder
from preceptor.models.rewards import AnyReward
from preceptor.run.errors import UserError
from preceptor.run.files import read_json, write_json
from preceptor.run.manifest import plain_name
from preceptor.run.step import Step
from preceptor.tokenizer.chat import load_tokenizer
from preceptor.village.oracle import Oracle
from preceptor.village.stage import load_oracle

ORIGINAL = "original"
Figures = dict[str, float]


@dataclass(frozen=True)
class Questions:
    """What all models are given, and who judges their answers."""

    documents: list[Document]
    prompts: list[Prompt]
    suite: Suite | None
    oracle: Oracle | None
    reward: AnyReward | None


def run(step: Step) -> None:
    """Read `model`, the `candidate_N`, `validation` and, where there are any, `prompts` with a `village` or a `reward`,
    and the file of a `suite`; write results.json."""
    budget = limits(step.options)
    _check(step, budget)
    folders = {ORIGINAL: model_folder(step.input("model")),
               **{plain_name(path): model_folder(path) for path in step.several("candidate")}}
    questions = _read(step)
    step.plan(models=len(folders), documents=len(questions.documents), prompts=len(questions.prompts))
    spent = costs(folders, step.options.tokens, step.options.rounds,
                  step.progress(step.options.rounds * len(folders), "measurements of speed"))
    figures = {name: spent[name] | _kept(step, name, folder, questions) for name, folder in folders.items()}
    _add_win_rates(step, figures, questions)
    candidates = {name: against(figures[ORIGINAL], mine) for name, mine in figures.items() if name != ORIGINAL}
    broken = {name: breaches(measured, budget) for name, measured in candidates.items()}
    kept = [name for name in candidates if not broken[name]]
    best = max(kept, key=lambda name: candidates[name][step.options.prefer], default=None)
    write_json(step.folder / "results.json", {
        "budget": budget, "figures": figures, "candidates": candidates,
        "broken": {name: [asdict(one) for one in found] for name, found in broken.items()},
        **({"best": best} if best else {})})
    step.log.write(1, **{f"{figure} {name}": value for name, some in candidates.items()
                         for figure, value in some.items()})
    for name, measured in candidates.items():
        step.say(f"{name}: " + "  ".join(f"{figure.replace('_', ' ')} {value:.4g}" for figure, value
                                         in measured.items()) + _verdict(broken[name]))


def limits(options: WeighOptions) -> dict[str, float]:
    """The figures of the budget that have a limit."""
    every = {"perplexity": options.perplexity, "repetition": options.repetition, "score": options.score,
             "win_rate": options.win_rate, "size": options.size, "speed": options.speed, "memory": options.memory}
    return {name: limit for name, limit in every.items() if limit is not None}


def _verdict(broken: list[Any]) -> str:
    return "  breaks " + ", ".join(one.figure.replace("_", " ") for one in broken) if broken else "  keeps the budget"


def _check(step: Step, budget: Mapping[str, float]) -> None:
    """Refuse a limit on what would not be measured, and names that would mix two models' figures up."""
    judged = "village" in step.inputs or "reward" in step.inputs
    needed = {"repetition": ("prompts" in step.inputs, "prompts"), "score": ("suite" in step.inputs, "suite"),
              "win_rate": ("prompts" in step.inputs and judged, "prompts and either reward or village")}
    for name, (there, inputs) in needed.items():
        if name in budget and not there:
            raise UserError(f"The budget has a limit on {name.replace('_', ' ')}, and nothing measures it.",
                            f"Give the step '{step.name}' {inputs}, or leave out the limit.")
    if not step.several("candidate"):
        raise UserError(f"Step '{step.name}' has no candidate.", "Name some as candidate_0, candidate_1, ...")
    names = [ORIGINAL, *map(plain_name, step.several("candidate"))]
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise UserError(f"Two models of step '{step.name}' would be called '{twice[0]}'.", "Rename a step or a folder.")


def _read(step: Step) -> Questions:
    def there(name: str) -> Path | None:
        return step.input(name) if name in step.inputs else None

    prompts, village, reward, suite = (there(name) for name in ("prompts", "village", "reward", "suite"))
    return Questions(
        documents=read_jsonl(step.input("validation"), Document),
        prompts=read_jsonl(prompts, Prompt)[:step.options.prompts or None] if prompts else [],
        suite=load_suite(str(suite), None) if suite else None, oracle=load_oracle(village) if village else None,
        reward=open_reward(reward, say=step.say) if reward else None)


def _kept(step: Step, name: str, folder: Path, questions: Questions) -> Figures:
    """A model's figures but its costs and win rate, from before a kill where they are there."""
    path = step.folder / "checkpoints" / f"figures-{name}.json"
    if not path.exists():
        write_json(path, _quality(step, name, folder, questions))
    return read_json(path)


def _quality(step: Step, name: str, folder: Path, questions: Questions) -> Figures:
    model, tokenizer = load_for_decoding(folder), load_tokenizer(folder)
    found = {"perplexity": text_likelihood(model, tokenizer, questions.documents)["perplexity"]}
    if questions.prompts:
        decoder = LocalDecoder(model, tokenizer, rows=step.options.rows, name=name)
        sampling = Sampling(temperature=step.options.temperature, max_tokens=step.options.max_tokens)
        answers = ask(decoder, questions.prompts, sampling, step.seed,
                      step.progress(len(questions.prompts), f"answers of {name}"))
        if decoder.truncated:
            step.say(f"{decoder.truncated} prompts were longer than the context of {name}: their beginning was cut")
        rows = judge(name, questions.prompts, [answer.response for answer in answers], questions.oracle,
                     questions.reward)
        write_jsonl(_answers(step, name), rows)
        found["repetition"] = text_figures({name: rows})["repetition"][name].get("seq_rep_4", 0.0)
    return found | ({"score": _score(step, name, folder, questions.suite)} if questions.suite else {})


def _answers(step: Step, name: str) -> Path:
    return step.folder / f"answers.{name}.jsonl"


def _score(step: Step, name: str, folder: Path, suite: Suite) -> float:
    """The mean over tasks of the first metric, of those in which more is better."""
    examination = Examination(suite, step.folder / "checkpoints" / "suite",
                              SuiteOptions(limit=step.options.limit, seed=step.seed))
    results = examine(examination, {name: lambda: LocalExaminee(folder, name, "chat")}, step.say)
    counted = [task.name for task in suite.tasks if task.scorer in ("choice", "answer")]
    means = [next(iter(next(iter(results["tasks"][task].values())).values()))[name]["mean"] for task in counted
             if task in results["tasks"]]
    if not means:
        raise UserError(f"The suite '{suite.name}' has no task of the kinds choice and answer.",
                        "Give another suite, or leave it out.")
    return sum(means) / len(means)


def _add_win_rates(step: Step, figures: dict[str, Figures], questions: Questions) -> None:
    """The share of prompts on which a candidate's answer is preferred to the original's, by the oracle if there is one.
    """
    if not questions.prompts or not (questions.oracle or questions.reward):
        return
    rows = {name: read_jsonl(_answers(step, name), JudgedAnswer) for name in figures}
    score = overall if questions.oracle else (lambda answer: answer.reward)
    for name in figures:
        if name != ORIGINAL:
            figures[name]["win_rate"] = rate_of_wins(rows[name], rows[ORIGINAL], score).mean
