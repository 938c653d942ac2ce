"""The ladder stage: all policies of a run answer the same prompts, labelers rank the answers, and a scale is fitted.

Every prompt gets one answer of each policy, in one ranking. Labelers are held-out ones, so that no reward model has
learned to please them. Intervals draw prompts. Where there is a village its oracle scores the same answers: a policy
that climbs for the labelers and falls for the oracle has learned to please, and no more.
"""

from collections.abc import Sequence
from typing import Any

from preceptor.data.jsonl import read_jsonl, write_jsonl
from preceptor.data.ranked import HELD_OUT
from preceptor.data.records import Comparison, Prompt
from preceptor.feedback.rankers import rankings
from preceptor.feedback.scores import ModelScores, ladder, model_scores
from preceptor.generate.answers import Asked, by_prompt, written
from preceptor.generate.decoder import Request, Sampling
from preceptor.metrics.intervals import bootstrap_mean
from preceptor.run.errors import UserError
from preceptor.run.files import write_json
from preceptor.run.manifest import plain_name
from preceptor.run.step import Step
from preceptor.village.oracle import Oracle
from preceptor.village.stage import load_oracle


def run(step: Step) -> None:
    """Read the policies `earlier_N` and `model`, `prompts`, who ranks, and the rounds' `comparisons`.

    Writes rankings.jsonl and results.json.
    """
    options = step.options
    policies = [*step.several("earlier"), step.input("model")]
    if len(policies) < 2:
        raise UserError(f"Step '{step.name}' has one policy: there is nothing to climb.",
                        "Name earlier policies as earlier_0, earlier_1, ... in its needs.")
    prompts = read_jsonl(step.input("prompts"), Prompt)[:options.prompts or None]
    sampling = Sampling(temperature=options.temperature, max_tokens=options.max_tokens)
    asked = [Asked(Request(prompt, sampling, step.seed + number), policy, plain_name(policy))
             for policy in policies for number, prompt in enumerate(prompts)]
    step.plan(policies=len(policies), prompts=len(prompts), answers=len(asked))
    answered = by_prompt(asked, written(step, "ladder", asked, options.rows))
    judged = rankings(step, {"heldout": answered})["heldout"]
    write_jsonl(step.folder / "rankings.jsonl", judged)
    scores = model_scores(judged, options.resamples, step.seed)
    results: dict[str, Any] = {"policies": [plain_name(policy) for policy in policies], **described(scores)}
    if earlier := _rounds(step):
        results["rounds"] = {str(number): described(found)["scores"]
                             for number, found in ladder(earlier, options.resamples, step.seed).items()}
    if "village" in step.inputs:
        results["oracle"] = _by_oracle(load_oracle(step.input("village")), judged)
    write_json(step.folder / "results.json", results)
    step.log.write(0, **{f"strength {model}": found["bradley_terry"]["mean"]
                         for model, found in results["scores"].items()})
    for model, found in results["scores"].items():
        strength = found["bradley_terry"]
        step.say(f"{model:<14} {strength['mean']:.0f} ({strength['low']:.0f} to {strength['high']:.0f}) on the Elo "
                 "scale" + (f", {results['oracle'][model]['mean']:.2f} of 7 by the oracle" if "oracle" in results
                            else ""))


def described(scores: ModelScores) -> dict[str, Any]:
    """The scores as JSON: `{"scores": {model: ...}, "wins": {model: {other: share}}, "prompts": n}`, the best first."""
    by_model = {model: {"bradley_terry": scores.bradley_terry[place].to_dict(),
                        "plackett_luce": scores.plackett_luce[place].to_dict(),
                        "elo": {"mean": scores.elo[place][0], "deviation": scores.elo[place][1]}}
                for place, model in enumerate(scores.models)}
    wins = {model: {other: share for other, share in zip(scores.models, row) if share is not None}
            for model, row in zip(scores.models, scores.wins)}
    return {"scores": by_model, "wins": wins, "prompts": scores.prompts}


def _rounds(step: Step) -> list[Comparison]:
    """The rankings of the rounds, of training and of held-out prompts."""
    if "comparisons" not in step.inputs:
        return []
    paths = [step.input("comparisons") / name for name in ("comparisons.train.jsonl", *HELD_OUT.values())]
    return [one for path in paths if path.exists() for one in read_jsonl(path, Comparison)]


def _by_oracle(oracle: Oracle, judged: Sequence[Comparison]) -> dict[str, dict[str, float]]:
    """The oracle's mean score of each policy's answers, 1 to 7."""
    found: dict[str, dict[str, float]] = {}
    for one in judged:
        for response, score in zip(one.responses, oracle.score([one.prompt] * len(one.responses), one.responses)):
            found.setdefault(response.model or "", {})[one.prompt.id] = score
    return {model: bootstrap_mean(list(scores.values())).to_dict() for model, scores in found.items()}
