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
from preceptor.data.ranked import HELD_OUT
from preceptor.data.records import Comparison
from preceptor.data.reward import Reward
from preceptor.metrics.calibration import expected_calibration_error, pair_confidences, reliability
from preceptor.metrics.rankings import accuracy, accuracy_by_k, accuracy_gap, kendall_tau_b, labeler_agreement
from preceptor.models.encoder import EncoderReward
from preceptor.models.reward_model import RewardModel
from preceptor.models.rewards import Ensemble
from preceptor.reward.targets import in_order, ranked_by_votes
from preceptor.run.files import write_json
from preceptor.run.step import Step
from preceptor.village.labelers import noise_ceiling
from preceptor.village.stage import load_oracle, load_panel


def measure(step: Step, reward: RewardModel | EncoderReward | Ensemble, *, log_odds: bool = True,
            by_votes: bool = False, beside: dict[str, Any] | None = None) -> None:
    """Measure a reward on the step's comparisons; write results.json, log it, and say it.

    `log_odds` says that a difference of scores is meant as the log odds of a preference, which can be calibrated;
    `by_votes` that the answers are ranked by their votes, as in training. `beside` is written with the results.
    """
    rankings = _rankings(step, by_votes)
    panel = load_panel(step.input("village")) if "village" in step.inputs else None
    accuracies, details, scored = {}, {}, {}
    for name, comparisons in rankings.items():
        if all(len(one.ranking) == 1 for one in comparisons):
            step.say(f"no accuracy {name.replace('_', ' ')}: all answers are tied in each of "
                     f"{len(comparisons)} rankings")
            continue
        scores = scored[name] = score_comparisons(reward, comparisons)
        accuracies[name] = accuracy(comparisons, scores, seed=step.seed).to_dict()
        if panel:
            accuracies[name]["noise_ceiling"] = noise_ceiling(comparisons, panel)
        details[name] = ranking_details(comparisons, scores, step.seed)
        if log_odds:
            details[name] |= calibration(comparisons, scores)
        step.say(_sentence(name, accuracies[name], details[name]))
    labelers = [one for name in HELD_OUT for one in rankings.get(name, [])]
    agreement = labeler_agreement(labelers, seed=step.seed)
    results = {"reward_accuracy": accuracies, "details": details, **(beside or {})}
    if agreement:
        results["labeler_agreement"] = agreement.to_dict()
    if set(HELD_OUT) <= set(scored):
        results |= _labeler_gap(step, rankings, scored)
    if reward.truncated:
        step.say(f"{reward.truncated} times a held-out prompt lost its beginning to fit the context")
    step.log.write(0, **results)
    write_json(step.folder / "results.json", results)


def _labeler_gap(step: Step, rankings: dict[str, list[Comparison]],
                 scored: dict[str, list[list[float]]]) -> dict[str, dict[str, float]]:
    """How much better the training labelers are predicted than the held-out ones, on the prompts that both ranked."""
    same, other = HELD_OUT
    gap = accuracy_gap(rankings[same], scored[same], rankings[other], scored[other], step.seed)
    if gap is None:
        step.say("the two kinds of labelers ranked no prompt in common, so that their gap is not measured")
        return {}
    step.say(f"training labelers are predicted better than held-out ones by {gap.mean:.1%} ({gap.low:.1%} to "
             f"{gap.high:.1%})")
    return {"labeler_gap": gap.to_dict()}


def calibration(comparisons: Sequence[Comparison], scores: Sequence[Sequence[float]]) -> dict[str, Any]:
    """Whether sigmoid(score difference) is how often labelers agree: the error, and the table that it comes from."""
    table = reliability(*pair_confidences(comparisons, scores))
    return {"calibration_error": expected_calibration_error(table), "reliability": [one.to_dict() for one in table]}


def _rankings(step: Step, by_votes: bool) -> dict[str, list[Comparison]]:
    """The held-out rankings that there are; with a village also the oracle's of the same answers."""
    folder = step.input("comparisons")
    rankings = {name: read_jsonl(folder / file, Comparison) for name, file in HELD_OUT.items()
                if (folder / file).exists()}
    if by_votes:
        rankings = {name: [ranked_by_votes(one) for one in comparisons] for name, comparisons in rankings.items()}
    if not rankings:
        step.say(f"no accuracy is measured: there is no {' or '.join(HELD_OUT.values())} in the comparisons")
    if "village" in step.inputs and rankings:
        oracle = load_oracle(step.input("village"))
        rankings["oracle"] = [ranked_by(oracle, one) for one in next(iter(rankings.values()))]
    return rankings


def ranked_by(judge: Reward, comparison: Comparison) -> Comparison:
    """The same answers in the order of a judge's scores, equal scores tied."""
    scores = judge.score([comparison.prompt] * len(comparison.responses), comparison.responses)
    return replace(comparison, ranking=in_order(scores), labeler="oracle", kind="program")


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


def _sentence(name: str, measured: dict[str, float], details: dict[str, Any]) -> str:
    text = f"accuracy {name.replace('_', ' ')} {measured['mean']:.1%} ({measured['low']:.1%} to {measured['high']:.1%}"
    ceiling = f", ceiling {measured['noise_ceiling']:.1%}" if "noise_ceiling" in measured else ""
    error = f", calibration error {details['calibration_error']:.1%}" if "calibration_error" in details else ""
    return f"{text}, {measured['n']} prompts){ceiling}{error}"
