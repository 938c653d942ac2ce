"""Rankings by a rule that one line computes, in the world of tests/rlhf/tiny.py, and a step that learns from them."""

import random
from pathlib import Path
from typing import Any

from preceptor.data.jsonl import write_jsonl
from preceptor.data.records import Comparison, Prompt, Response
from preceptor.recipe.options import build_options
from preceptor.recipe.stages import STAGES
from preceptor.run.log import Log
from preceptor.run.step import Step
from tests.rlhf.tiny import WORDS

ALGORITHMS = ("dpo", "ipo", "kto", "orpo", "simpo", "ilql")


def quality(text: str) -> int:
    return text.split().count("good") - text.split().count("bad")


def comparison(seed: int) -> Comparison:
    """Two to five answers, ranked with ties by how many more `good` than `bad` they hold; one may be cut."""
    draw = random.Random(seed)
    prompt = Prompt(f"p{seed}", [{"role": "user", "content": " ".join(draw.choices(WORDS[2:], k=draw.randint(1, 4)))}])
    texts = {"good", "bad"} | {" ".join(draw.choices(WORDS, k=draw.randint(1, 4))) for _ in range(draw.randint(0, 3))}
    responses = [Response(text, finish=draw.choice(["eos", "eos", "length"])) for text in sorted(texts)]
    grades = [quality(response.text) for response in responses]
    ranking = [[n for n, grade in enumerate(grades) if grade == best] for best in sorted(set(grades), reverse=True)]
    return Comparison(f"c{seed}", prompt, responses, ranking, "judge", "program")


def write_rankings(folder: Path, train: int, held_out: int = 40) -> None:
    write_jsonl(folder / "comparisons.train.jsonl", [comparison(n) for n in range(train)])
    if held_out:
        write_jsonl(folder / "comparisons.valid.jsonl", [comparison(10_000 + n) for n in range(held_out)])


def offline_step(folder: Path, inputs: dict[str, Path], algorithm: str, **options: Any) -> Step:
    """A step as the runner makes it, with the options and the inputs of the algorithm."""
    stage = STAGES["rlhf"].stages[algorithm]
    assert set(stage.inputs) <= set(inputs)
    folder.mkdir(parents=True, exist_ok=True)
    built = build_options(stage.options_class(), {"algorithm": algorithm, "learning_rate": 1e-2, **options}, "step")
    return Step("step", folder, inputs, built, seed=3, log=Log(folder / "log.jsonl", "step", 1))


def run(step: Step) -> None:
    STAGES["rlhf"].stages[step.options.algorithm].function()(step)
