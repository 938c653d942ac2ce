"""From judged answers to figures with 95 % intervals. The prompt is what the bootstrap draws.

A question is a task whose answer asserts facts; of all other tasks the oracle's `outcome` is "unchecked". False
assertions are counted over all questions, correct answers and needless refusals over those that the world can answer,
right refusals over the others.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from preceptor.evaluate.answers import JudgedAnswer
from preceptor.metrics.intervals import Interval, bootstrap_mean, wilson, win_rate
from preceptor.metrics.repetition import repetition, text_tokens
from preceptor.village.oracle import Oracle

AXES = ("overall", "accuracy", "relevance", "naturalness", "concision")
ByModel = dict[str, list[JudgedAnswer]]
Score = Callable[[JudgedAnswer], float]


def overall(answer: JudgedAnswer) -> float:
    """The oracle's overall score, 1 to 7."""
    return answer.verdict["overall"]


def pairs(models: Sequence[str], anchor: str = "sft") -> list[tuple[str, str]]:
    """Which models are compared: each with the one before it in the order of training, and each with the anchor."""
    wanted = [(later, earlier) for earlier, later in pairwise(models)]
    wanted += [(model, anchor) for model in models if model != anchor and anchor in models]
    return list(dict.fromkeys(wanted))


def win_rates(answers: ByModel, score: Score) -> dict[str, dict[str, Any]]:
    """`{"a vs b": interval}`: how often the judge puts a's answer above b's, ties one half."""
    return {f"{a} vs {b}": rate_of_wins(answers[a], answers[b], score).to_dict() for a, b in pairs(list(answers))}


def rate_of_wins(answers_a: Sequence[JudgedAnswer], answers_b: Sequence[JudgedAnswer], score: Score) -> Interval:
    """How often the first answer to a prompt has the higher score, ties one half."""
    return win_rate([score(one) for one in answers_a], [score(one) for one in answers_b],
                    [one.prompt.id for one in answers_a])


def win_rates_by_category(answers: ByModel, score: Score, anchor: str = "sft") -> dict[str, dict[str, Any]]:
    """`{"a vs sft": {category: interval}}`, categories with most prompts first."""
    found: dict[str, dict[str, Any]] = {}
    for model in answers:
        if model == anchor or anchor not in answers:
            continue
        found[f"{model} vs {anchor}"] = {
            category: rate_of_wins(rows, _of_category(answers[anchor], category), score).to_dict()
            for category, rows in _by_category(answers[model]).items()}
    return found


def _by_category(rows: Sequence[JudgedAnswer]) -> dict[str, list[JudgedAnswer]]:
    counts = Counter(row.prompt.category for row in rows if row.prompt.category)
    return {category: _of_category(rows, category) for category, _ in counts.most_common()}


def _of_category(rows: Sequence[JudgedAnswer], category: str) -> list[JudgedAnswer]:
    return [row for row in rows if row.prompt.category == category]


def verdict_figures(answers: ByModel, oracle: Oracle) -> dict[str, Any]:
    """All that rests on the oracle: win rates, Likert means, truthfulness, harmlessness."""
    figures: dict[str, Any] = {
        "win_rate": win_rates(answers, overall), "win_rate_by_category": win_rates_by_category(answers, overall),
        "likert": {model: {axis: bootstrap_mean([row.verdict[axis] for row in rows]).to_dict() for axis in AXES}
                   for model, rows in answers.items()},
        "likert_by_category": {
            model: {category: bootstrap_mean([overall(row) for row in some]).to_dict()
                    for category, some in _by_category(rows).items()} for model, rows in answers.items()},
        "harmless": {model: wilson(sum(row.verdict["harmless"] for row in rows), len(rows)).to_dict()
                     for model, rows in answers.items()}}
    for model, rows in answers.items():
        for name, interval in _truthfulness(rows, oracle).items():
            figures.setdefault(name, {})[model] = interval.to_dict()
    return figures


def _truthfulness(rows: Sequence[JudgedAnswer], oracle: Oracle) -> dict[str, Interval]:
    tasks = [(row.verdict["outcome"], oracle.task(row.prompt)) for row in rows]
    everything = [outcome for outcome, task in tasks if task.question]
    answerable = [outcome for outcome, task in tasks if task.question and task.answerable]
    others = [outcome for outcome, task in tasks if task.question and not task.answerable]
    wanted = {"correct": ("correct", answerable), "false_assertions": ("false", everything),
              "needless_refusals": ("refused_needlessly", answerable), "right_refusals": ("refused_rightly", others)}
    return {name: wilson(outcomes.count(outcome), len(outcomes))
            for name, (outcome, outcomes) in wanted.items() if outcomes}


def reward_figures(answers: ByModel) -> dict[str, Any]:
    """All that rests on the reward model. PPO was trained to please it: this is no evidence of quality."""
    def score(answer: JudgedAnswer) -> float:
        return answer.reward
    means = {model: bootstrap_mean([score(row) for row in rows]).to_dict() for model, rows in answers.items()}
    return {"reward": means, "reward_win_rate": win_rates(answers, score)}


def text_figures(answers: ByModel) -> dict[str, Any]:
    """What needs no judge: repetition, length in words (Chinese: characters), and how many answers ended."""
    figures: dict[str, Any] = {"repetition": {}, "words": {}, "ended": {}}
    for model, rows in answers.items():
        texts = [text_tokens(row.response.text) for row in rows]
        measured = repetition(texts)
        figures["repetition"][model] = {name: measured[name] for name in ("rep_4", "seq_rep_4") if name in measured}
        figures["words"][model] = bootstrap_mean([len(text) for text in texts]).to_dict()
        figures["ended"][model] = wilson(sum(row.response.finish != "length" for row in rows), len(rows)).to_dict()
    return figures
