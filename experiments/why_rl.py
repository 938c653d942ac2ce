"""Why reinforcement learning at all? Four ways to learn from one reward, at equal compute, on the village.

    python experiments/why_rl.py [--json] [--quick] [--seeds 0 1 2]

All begin at the fine-tuned model and learn from the reward of boundary.py, which knows what this model knows:

    best_ranked   supervised fine-tuning on the best of the K (4 to 9) answers to each prompt of the comparisons
    margin        the same on every answer above its prompt's mean, as often as its margin is large (whole copies)
    best_of_n     the best of 16 answers to each prompt, written anew, then fine-tuning on them
    ppo           PPO with the demo's penalty for divergence

Compute is counted in passes over a prompt with its answer: writing 1, scoring by reference and by value network 1 each,
learning 3 for each network that learns; so an episode of PPO is 9. The others learn for as many epochs as bring them
nearest to PPO's; `compute` is what each used, PPO being 1. Each policy answers the test prompts at the temperature of
training. Of the questions: `false` asserted something false, `needless` refused what the model knows, `correct`; all
three also by what the fine-tuned model knows (it was right in at least half, in some, or in none of its own answers).
`win_rate` is against the fine-tuned model by the oracle. Intervals of 95 % are over seeds, each a world of its own.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import yaml
from foundation import asked, folder_of, foundation, html_page, legend, over_seeds, run_script, told
from standing import TEMPERATURE
from standing import answered as answers_of

from preceptor.data.jsonl import read_jsonl, write_jsonl
from preceptor.data.records import Comparison, Conversation, Prompt, Response
from preceptor.metrics.intervals import win_rate
from preceptor.models.rewards import Program, find_function
from preceptor.recipe.load import load_recipe
from preceptor.recipe.runner import run_recipe
from preceptor.report.figures import Line, line_chart
from preceptor.run.files import write_json, write_text
from preceptor.village.oracle import Oracle
from preceptor.village.stage import load_oracle

METHODS = ("best_ranked", "margin", "best_of_n", "ppo")
CLASSES = ("known", "unsure", "unknown")
FULL = {"prompts": 400, "iterations": 25, "episodes": 64, "n": 16, "samples": 8, "test": 400}
QUICK = {"prompts": 16, "iterations": 1, "episodes": 16, "n": 2, "samples": 2, "test": 12}
PPO_PASSES = 9


def answered(folder: Path, prompts: Sequence[Prompt], samples: int, seed: int) -> list[Response]:
    """`samples` answers to each prompt, prompt by prompt."""
    return [answer.response for answer in answers_of(folder, prompts, samples, seed)]


def knowledge(oracle: Oracle, folder: Path, prompts: Sequence[Prompt], samples: int, seed: int) -> dict[str, str]:
    """What the model knows of each question, by how often its own answers are right."""
    questions = [prompt for prompt in prompts if oracle.task(prompt).question]
    answers, found = answered(folder, questions, samples, seed), {}
    for number, prompt in enumerate(questions):
        own = answers[number * samples:(number + 1) * samples]
        right = fmean(oracle.judge(prompt, answer.text).outcome == "correct" for answer in own)
        found[prompt.id] = "known" if right >= 0.5 else "unsure" if right else "unknown"
    return found


def reward_of(folder: Path, village: Path, known: dict[str, str]) -> Program:
    """The reward as a folder that the stage `program` takes as `code`, and opened."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(Path(__file__).with_name("boundary.py"), folder / "boundary.py")
    write_json(folder / "knowledge.json", {"village": str(village.resolve()), "knowledge": known})
    return Program(find_function("boundary:score", folder))


def demonstrations(reward: Program, comparisons: Sequence[Comparison]) -> dict[str, list[Conversation]]:
    """What `best_ranked` and `margin` learn from: answers of the comparisons, chosen by the reward."""
    best, weighted = [], []
    scores = [reward.score([one.prompt] * len(one.responses), one.responses) for one in comparisons]
    margins = [[max(0.0, score - fmean(row)) for score in row] for row in scores]
    unit = fmean(margin for row in margins for margin in row if margin > 0)
    for one, row, above in zip(comparisons, scores, margins, strict=True):
        said = [Conversation(f"{one.id}/{n}", [*one.prompt.messages, {"role": "assistant", "content": answer.text}])
                for n, answer in enumerate(one.responses)]
        best.append(said[max(range(len(row)), key=row.__getitem__)])
        weighted += [conversation for conversation, margin in zip(said, above) for _ in range(round(margin / unit))]
    named = [Conversation(f"{one.id}/{n}", one.messages) for n, one in enumerate(weighted)]
    return {"best_ranked": best, "margin": named}


def epochs_for(budget: float, written: int, examples: int) -> int:
    """Passes over the examples, 3 each, that bring the compute nearest to the budget."""
    return max(1, round((budget - written) / (3 * examples)))


def planned(size: dict[str, int], shown: dict[str, list[Conversation]], written: int) -> dict[str, tuple[int, float]]:
    """For each method its epochs, and its compute over PPO's; `written` answers were there to be ranked."""
    budget = PPO_PASSES * size["iterations"] * size["episodes"]
    plan = {"ppo": (1, 1.0)}
    for name, examples, drawn in (("best_ranked", len(shown["best_ranked"]), written),
                                  ("margin", len(shown["margin"]), written),
                                  ("best_of_n", size["prompts"], size["prompts"] * size["n"])):
        epochs = epochs_for(budget, drawn, examples)
        plan[name] = (epochs, (drawn + 3 * epochs * examples) / budget)
    return plan


def recipe_of(base: Path, folder: Path, size: dict[str, int], plan: dict[str, tuple[int, float]]) -> dict[str, Any]:
    """The reward, and a step for each method."""
    needs = {"policy": str(folder_of(base, "sft")), "reward": "boundary", "prompts": str(folder / "prompts.jsonl")}
    steps: list[dict[str, Any]] = [{"name": "boundary", "stage": "program", "needs": {"code": str(folder / "reward")},
                                    "options": {"function": "boundary:score"}}]
    steps += [{"name": name, "stage": "sft",
               "needs": {"model": str(folder_of(base, "sft")), "demonstrations": str(folder / f"{name}.jsonl")},
               "options": {"epochs": plan[name][0], "rows": 4, "learning_rate": 2e-4}}
              for name in ("best_ranked", "margin")]
    steps.append({"name": "best_of_n", "stage": "rlhf", "needs": needs, "options": {
        "algorithm": "best_of_n", "answers": size["n"], "epochs": plan["best_of_n"][0], "rows": 4,
        "temperature": TEMPERATURE, "learning_rate": 2e-4}})
    steps.append({"name": "ppo", "stage": "rlhf", "needs": needs, "options": {
        "iterations": size["iterations"], "episodes": size["episodes"], "temperature": TEMPERATURE,
        "kl_coefficient": 0.05}})
    return {"name": "why_rl", "description": "Four ways to learn from one reward.", "steps": steps}


def measured(oracle: Oracle, reward: Program, known: dict[str, str], prompts: Sequence[Prompt],
             answers: Sequence[Response], before: Sequence[Response]) -> dict[str, float]:
    """The figures of one policy's answers, one to each prompt."""
    outcomes = [(known[prompt.id], oracle.judge(prompt, answer.text).outcome)
                for prompt, answer in zip(prompts, answers, strict=True) if prompt.id in known]
    row = {"reward": fmean(reward.score(prompts, answers)),
           "win_rate": win_rate(oracle.score(prompts, answers), oracle.score(prompts, before),
                                [prompt.id for prompt in prompts]).mean}
    for name, some in (("", outcomes), *((f"_{kind}", [one for one in outcomes if one[0] == kind])
                                         for kind in CLASSES)):
        if some:
            row[f"false{name}"] = fmean(outcome == "false" for _, outcome in some)
            row[f"correct{name}"] = fmean(outcome == "correct" for _, outcome in some)
            row[f"needless{name}"] = fmean(kind == "known" and outcome.startswith("refused") for kind, outcome in some)
            row[f"refused{name}"] = fmean(outcome.startswith("refused") for _, outcome in some)
    return row


def one_seed(out: Path, seed: int, size: dict[str, int], quick: bool) -> dict[str, dict[str, float]]:
    """{method: figures} of one world, the fine-tuned model among them."""
    base = foundation(out, seed, "comparisons", quick)
    folder, village = out / f"seed-{'quick-' if quick else ''}{seed}", folder_of(base, "village")
    oracle, start = load_oracle(village), folder_of(base, "sft") / "model"
    train = read_jsonl(village / "prompts.train.jsonl", Prompt)
    test = read_jsonl(village / "prompts.test.jsonl", Prompt)[:size["test"]]
    known = knowledge(oracle, start, [*train, *test], size["samples"], seed)
    reward = reward_of(folder / "reward", village, known)
    comparisons = read_jsonl(folder_of(base, "comparisons") / "comparisons.train.jsonl", Comparison)[:size["prompts"]]
    size = size | {"prompts": len(comparisons)}
    shown = demonstrations(reward, comparisons)
    for name, rows in shown.items():
        write_jsonl(folder / f"{name}.jsonl", rows)
    write_jsonl(folder / "prompts.jsonl", [one.prompt for one in comparisons])
    plan = planned(size, shown, sum(len(one.responses) for one in comparisons))
    write_text(folder / "recipe.yaml", yaml.safe_dump(recipe_of(base, folder, size, plan), sort_keys=False))
    run_recipe(load_recipe(str(folder / "recipe.yaml"), sets=[f"seed={seed}"]), folder)
    before = answered(start, test, 1, seed + 1)
    found = {"sft": {"compute": 0.0, **measured(oracle, reward, known, test, before, before)}}
    for name in METHODS:
        answers = answered(folder_of(folder, name) / "model", test, 1, seed + 1)
        found[name] = {"compute": plan[name][1], **measured(oracle, reward, known, test, answers, before)}
    return found


def collected(seeds: Sequence[dict[str, dict[str, float]]]) -> dict[str, Any]:
    names = ("sft", *METHODS)
    return {"seeds": len(seeds), "rows": [
        {"method": name, **{key: over_seeds([seed[name][key] for seed in seeds if key in seed[name]])
                            for key in seeds[0][name]}} for name in names]}


COLUMNS = ("compute", "reward", "false", "needless", "correct", "win_rate", "false_unknown", "refused_unknown")


def table(found: dict[str, Any]) -> str:
    lines = [f"{'method':<12}" + "".join(f"{name:>17}" for name in COLUMNS)]
    lines += [f"{row['method']:<12}" + "".join(f"{row[name]['mean']:>17.3f}" if name in row else f"{'-':>17}"
                                               for name in COLUMNS) for row in found["rows"]]
    return "\n".join(lines)


STYLE = """body {max-width: 60em} .line {fill: none; stroke: none} .grid {stroke: #ccc}
.dot {fill: currentColor} .bar {stroke: currentColor}
"""
COLOURS = ("#888888", "#3b6fb6", "#b65c3b", "#4d8f4d", "#8a5bb0")


def page(found: dict[str, Any]) -> str:
    """Correct answers over false assertions, a dot for each method, as a page that needs nothing else."""
    lines = [Line(row["method"], [(row["false"]["mean"], row["correct"]["mean"])]) for row in found["rows"]]
    return html_page("Why RL", "Correct answers over false assertions, shares of questions",
                     line_chart(lines) + legend(lines), table(found), STYLE, [f"color: {tone}" for tone in COLOURS])


def main() -> None:
    options = asked(__doc__, "why_rl", "one small world, one iteration of PPO")
    size = QUICK if options.quick else FULL
    found = collected([one_seed(options.out, seed, size, options.quick) for seed in options.seeds])
    told(found, options, "why_rl", table(found), page(found))


if __name__ == "__main__":
    run_script(main)
