"""How well a reward model orders held-out answers: against labelers, held-out labelers, and the oracle.

Every accuracy is a share of the pairs that a ranking sets apart (ties out), with a 95 % interval that draws prompts.
Its ceiling is what the training labelers' mean utility without noise reaches against the same rankings: a model can
learn no more from them than that.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

from preceptor.data.jsonl import read_jsonl
from preceptor.data.records import Comparison
from preceptor.data.reward import Reward
from preceptor.metrics.rankings import accuracy, accuracy_by_k, kendall_tau_b, labeler_agreement
from preceptor.models.reward_model import RewardModel
from preceptor.run.files import write_json
from preceptor.run.step import Step
from preceptor.village.labelers import noise_ceiling
from preceptor.village.stage import load_oracle, load_panel

FILES = {"same_labelers": "comparisons.valid.jsonl", "heldout_labelers": "comparisons.heldout.jsonl"}


def measure(step: Step) -> None:
    """Measure the model in the step's folder; write results.json, log it, and say it."""
    reward = RewardModel(step.folder / "model", rows=step.options.score_rows)
    rankings = _rankings(step)
    panel = load_panel(step.input("village")) if "village" in step.inputs else None
    accuracies, details = {}, {}
    for name, comparisons in rankings.items():
        if all(len(one.ranking) == 1 for one in comparisons):
            step.say(f"no accuracy {name.replace('_', ' ')}: all answers are tied in each of "
                     f"{len(comparisons)} rankings")
            continue
        scores = score_comparisons(reward, comparisons)
        accuracies[name] = accuracy(comparisons, scores, seed=step.seed).to_dict()
        if panel:
            accuracies[name]["noise_ceiling"] = noise_ceiling(comparisons, panel)
        details[name] = ranking_details(comparisons, scores, step.seed)
        step.say(_sentence(name, accuracies[name]))
    labelers = [one for name in FILES for one in rankings.get(name, [])]
    agreement = labeler_agreement(labelers, seed=step.seed)
    results = {"reward_accuracy": accuracies, "details": details}
    if agreement:
        results["labeler_agreement"] = agreement.to_dict()
    if reward.truncated:
        step.say(f"{reward.truncated} times a held-out prompt lost its beginning to fit the context")
    step.log.write(0, **results)
    write_json(step.folder / "results.json", results)


def _rankings(step: Step) -> dict[str, list[Comparison]]:
    """The held-out rankings that there are; with a village also the oracle's of the same answers."""
    folder = step.input("comparisons")
    rankings = {name: read_jsonl(folder / file, Comparison) for name, file in FILES.items() if (folder / file).exists()}
    if not rankings:
        step.say(f"no accuracy is measured: there is no {' or '.join(FILES.values())} in the comparisons")
    if "village" in step.inputs and rankings:
        oracle = load_oracle(step.input("village"))
        rankings["oracle"] = [ranked_by(oracle, one) for one in next(iter(rankings.values()))]
    return rankings


def ranked_by(judge: Reward, comparison: Comparison) -> Comparison:
    """The same answers in the order of a judge's scores, equal scores tied."""
    scores = judge.score([comparison.prompt] * len(comparison.responses), comparison.responses)
    groups: dict[float, list[int]] = {}
    for index, score in enumerate(scores):
        groups.setdefault(round(score, 6), []).append(index)
    ranking = [groups[score] for score in sorted(groups, reverse=True)]
    return replace(comparison, ranking=ranking, labeler="oracle", kind="program")


def score_comparisons(reward: Reward, comparisons: Sequence[Comparison]) -> list[list[float]]:
    """The reward of each answer of each comparison."""
    prompts = [one.prompt for one in comparisons for _ in one.responses]
    scores = iter(reward.score(prompts, [response for one in comparisons for response in one.responses]))
    return [[next(scores) for _ in one.responses] for one in comparisons]


def ranking_details(comparisons: Sequence[Comparison], scores: Sequence[Sequence[float]], seed: int) -> dict[str, Any]:
    """Accuracy by K, mean Kendall tau-b over prompts, and the bias to length."""
    taus = [kendall_tau_b(row, [-rank for rank in one.ranks()]) for one, row in zip(comparisons, scores, strict=True)]
    defined = [tau for tau in taus if tau is not None]
    by_k = {str(k): interval.to_dict() for k, interval in accuracy_by_k(comparisons, scores, seed=seed).items()}
    mean_tau = {"kendall_tau_b": sum(defined) / len(defined)} if defined else {}
    return {**mean_tau, "by_k": by_k, **length_bias(comparisons, scores)}


def length_bias(comparisons: Sequence[Comparison], scores: Sequence[Sequence[float]]) -> dict[str, float]:
    """Of the pairs that a ranking sets apart and that differ in length: how often the longer answer (in characters)
    is preferred, and how often it has the higher score. A score far above the preference has learned length.
    """
    pairs = preferred = higher = 0
    for one, row in zip(comparisons, scores, strict=True):
        answers = zip((len(response.text) for response in one.responses), one.ranks(), row, strict=True)
        for shorter, longer in combinations(sorted(answers), 2):
            if shorter[0] != longer[0] and shorter[1] != longer[1]:
                pairs += 1
                preferred += longer[1] < shorter[1]
                higher += longer[2] > shorter[2]
    return {"longer_preferred": preferred / pairs, "longer_scored_higher": higher / pairs} if pairs else {}


def _sentence(name: str, measured: dict[str, float]) -> str:
    text = f"accuracy {name.replace('_', ' ')} {measured['mean']:.1%} ({measured['low']:.1%} to {measured['high']:.1%}"
    ceiling = f", ceiling {measured['noise_ceiling']:.1%}" if "noise_ceiling" in measured else ""
    return f"{text}, {measured['n']} prompts){ceiling}"
