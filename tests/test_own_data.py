"""The baselines of experiments/own_data.py: what they must find, and what they must not."""

import importlib.util
import random
from pathlib import Path
from types import ModuleType

import pytest

from preceptor.data.records import Comparison, Prompt, Response

SCRIPT = Path(__file__).parent.parent / "experiments/own_data.py"


@pytest.fixture(scope="module")
def own_data() -> ModuleType:
    spec = importlib.util.spec_from_file_location("own_data", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _comparisons(count: int, seed: int, mark: str) -> list[Comparison]:
    """Answers of random words, of one length; those with `mark` are preferred, and each of two that lack it is tied."""
    draw, made = random.Random(seed), []
    for number in range(count):
        texts = [" ".join([*draw.choices(["ba", "de", "fi", "好", "坏"], k=5), word]) for word in ("xx", mark, "yy")]
        prompt = Prompt(f"p{number}", [{"role": "user", "content": "?"}])
        made.append(Comparison(f"c{number}", prompt, [Response(text) for text in texts], [[1], [0, 2]], "l", "program"))
    return made


@pytest.mark.parametrize("mark", ["zz", "妙"])
def test_the_bag_of_words_finds_a_preferred_word_wherever_the_better_answer_stands(
        own_data: ModuleType, mark: str) -> None:
    valid = _comparisons(40, 1, mark)
    scores = own_data.bag_of_words_scores(_comparisons(60, 0, mark), valid)
    assert own_data.measured(valid, scores)["mean"] > 0.95


def test_longer_wins_counts_characters_and_halves_equal_lengths(own_data: ModuleType) -> None:
    prompt = Prompt("p", [{"role": "user", "content": "?"}])

    def judged(*texts: str) -> dict[str, float]:
        one = Comparison("c", prompt, [Response(text) for text in texts], [[0], [1]], "l", "person")
        return own_data.measured([one], own_data.length_scores([one]))

    assert [judged("蜂蜂蜂", "ab")["mean"], judged("a", "ab")["mean"], judged("ab", "cd")["mean"]] == [1.0, 0.0, 0.5]
