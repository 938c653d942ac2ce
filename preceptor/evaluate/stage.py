"""The evaluation stage: every model answers the same held-out prompts, judges score the answers, figures are drawn.

Each model's answers and figures are kept under `checkpoints/` as soon as they are there, so that a killed evaluation
goes on with the model that it was at; the runner removes that folder when the step is done.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from preceptor.data.jsonl import read_jsonl, write_jsonl
from preceptor.data.records import Conversation, Document, Prompt
from preceptor.evaluate.answers import JudgedAnswer, as_text, ask, judge
from preceptor.evaluate.few_shot import STOP, choose_shots, few_shot_prompt, plain_prompt, verbatim
from preceptor.evaluate.likelihood import divergence, text_likelihood
from preceptor.evaluate.measures import reward_figures, text_figures, verdict_figures
from preceptor.evaluate.options import EvaluateOptions
from preceptor.feedback.rewards import open_reward
from preceptor.generate.decoder import Answer, Sampling
from preceptor.generate.local import LocalDecoder
from preceptor.models.causal import context_length, load_causal, model_folder
from preceptor.models.rewards import AnyReward
from preceptor.run.files import read_json, write_json
from preceptor.run.step import Step
from preceptor.tokenizer.chat import load_tokenizer
from preceptor.tokenizer.fingerprint import fingerprint
from preceptor.village.oracle import Oracle
from preceptor.village.stage import load_oracle

CHAT_MODELS = ("sft", "ppo", "ppo_ptx")  # in the order of training
TEXT_MODELS = ("base", "base_prompted")


@dataclass(frozen=True)
class Examination:
    """What all models are asked, and who judges."""

    prompts: list[Prompt]
    documents: list[Document]
    shots: dict[str, list[Conversation]]
    oracle: Oracle | None
    reward: AnyReward | None


def run(step: Step) -> None:
    """Read `prompts` and the models, with the judges that there are; write `answers.jsonl` and `results.json`."""
    examination = _read_examination(step)
    models = _models(step)
    step.plan(models=len(models), prompts=len(examination.prompts), answers=len(models) * len(examination.prompts),
              temperature=step.options.temperature)
    answers: dict[str, list[JudgedAnswer]] = {}
    results: dict[str, Any] = {"models": models, "prompts": len(examination.prompts),
                               "sampling": _sampling(step.options).to_dict()}
    for model in models:
        answers[model], figures = _examined(step, model, examination)
        for name, figure in figures.items():
            results.setdefault(name, {})[model] = figure
    results |= text_figures(answers)
    if examination.oracle:
        results |= verdict_figures(answers, examination.oracle)
    if examination.reward:
        results |= reward_figures(answers)
        if examination.reward.truncated:
            step.say(f"{examination.reward.truncated} answers were scored without the beginning of their prompt, to "
                     "fit the reward model's context")
    write_jsonl(step.folder / "answers.jsonl", [row for rows in answers.values() for row in rows])
    write_json(step.folder / "results.json", results)
    step.log.write(0, **_headline(results))
    for pair, rate in results.get("win_rate", {}).items():
        bounds = f"[{rate['low']:.1%}, {rate['high']:.1%}]"
        step.say(f"{pair}: preferred on {rate['mean']:.1%} {bounds} of {rate['n']} prompts")


def _read_examination(step: Step) -> Examination:
    def records(name: str, kind: type) -> list[Any]:
        return read_jsonl(step.input(name), kind) if name in step.inputs else []

    oracle = load_oracle(step.input("village")) if "village" in step.inputs else None
    demonstrations = records("demonstrations", Conversation)
    if oracle:  # who writes a few-shot prompt picks good examples
        demonstrations = [one for one in demonstrations if _is_good(oracle, one)]
    return Examination(
        prompts=read_jsonl(step.input("prompts"), Prompt)[:step.options.prompts or None],
        documents=records("validation", Document),
        shots=choose_shots(demonstrations, step.options.shots, step.seed), oracle=oracle,
        reward=open_reward(step.input("reward"), say=step.say) if "reward" in step.inputs else None)


def _is_good(oracle: Oracle, demonstration: Conversation) -> bool:
    """Whether the oracle finds nothing to better in a demonstration's answer."""
    question = Prompt(demonstration.id, demonstration.messages[:-1])
    return oracle.judge(question, demonstration.messages[-1]["content"]).overall >= 6.5


def _models(step: Step) -> list[str]:
    """The ids of the models in the order of training: inputs by their names, and the base asked in two ways."""
    text = [model for model in TEXT_MODELS if "base" in step.inputs
            and (model == "base" or "demonstrations" in step.inputs)]
    return text + [model for model in CHAT_MODELS if model in step.inputs]


def _sampling(options: EvaluateOptions, stop: tuple[str, ...] = ()) -> Sampling:
    return Sampling(temperature=options.temperature, max_tokens=options.max_tokens, stop=stop)


def _examined(step: Step, model: str, examination: Examination) -> tuple[list[JudgedAnswer], dict[str, Any]]:
    """A model's judged answers and the figures that need its weights, from before a kill where they are there."""
    kept_answers = step.folder / "checkpoints" / f"answers-{model}.jsonl"
    kept_figures = step.folder / "checkpoints" / f"figures-{model}.json"
    if not kept_figures.exists():
        rows, figures = _examine(step, model, examination)
        write_jsonl(kept_answers, rows)
        write_json(kept_figures, figures)
    return read_jsonl(kept_answers, JudgedAnswer), read_json(kept_figures)


def _examine(step: Step, model: str, examination: Examination) -> tuple[list[JudgedAnswer], dict[str, Any]]:
    source = model_folder(step.input("base" if model in TEXT_MODELS else model))
    network, tokenizer = load_causal(source), load_tokenizer(source)
    answers = _answers(step, model, examination, network, tokenizer)
    rows = judge(model, examination.prompts, [answer.response for answer in answers], examination.oracle,
                 examination.reward)
    figures: dict[str, Any] = {}
    if examination.documents and model != "base_prompted":  # its weights are those of the base
        figures = text_likelihood(network, tokenizer, examination.documents)
    reference = model_folder(step.input("sft"))
    if model in CHAT_MODELS and model != "sft" and _same_tokens(tokenizer, reference):
        figures["kl"] = divergence(load_causal(reference), answers, step.options.temperature,
                                   tokenizer.pad_token_id).to_dict()
    return rows, figures


def _answers(step: Step, model: str, examination: Examination, network: nn.Module, tokenizer: Any) -> list[Answer]:
    """One answer to each prompt, in the form that the model understands; what had to be cut is said."""
    options = step.options
    stop: tuple[str, ...] = ()
    prompts = examination.prompts
    if model == "base":
        prompts = [plain_prompt(prompt) for prompt in prompts]
    elif model == "base_prompted":
        prompts = _few_shot_prompts(step, examination, tokenizer, context_length(network) - options.max_tokens)
    if model in TEXT_MODELS:
        tokenizer, stop = verbatim(tokenizer), STOP
    decoder = LocalDecoder(network, tokenizer, rows=options.rows, name=model)
    progress = step.progress(len(prompts), f"answers of {model}")
    answers = ask(decoder, prompts, _sampling(options, stop), step.seed, progress)
    if decoder.truncated:
        step.say(f"{decoder.truncated} prompts were longer than the context of {model}: their beginning was cut")
    return [as_text(answer) for answer in answers] if model in TEXT_MODELS else answers


def _few_shot_prompts(step: Step, examination: Examination, tokenizer: Any, room: int) -> list[Prompt]:
    asked = [few_shot_prompt(prompt, examination.shots, tokenizer, room) for prompt in examination.prompts]
    fewer = sum(shown < step.options.shots for _, shown in asked)
    if fewer:
        step.say(f"{fewer} of {len(asked)} few-shot prompts show fewer than {step.options.shots} examples: there are "
                 "no more in that language, or no more fit the context")
    return [prompt for prompt, _ in asked]


def _same_tokens(tokenizer: Any, other: Path) -> bool:
    return fingerprint(tokenizer) == fingerprint(load_tokenizer(other))


def _headline(results: dict[str, Any]) -> dict[str, float]:
    """The figures of `results.json` that a curve over rounds would show, by flat names for the log."""
    flat = {f"win_rate {pair}": rate["mean"] for pair, rate in results.get("win_rate", {}).items()}
    for name in ("perplexity", "correct", "false_assertions", "needless_refusals", "reward"):
        flat |= {f"{name} {model}": figure if isinstance(figure, float) else figure["mean"]
                 for model, figure in results.get(name, {}).items()}
    return flat
