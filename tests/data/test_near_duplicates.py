"""Near-duplicates against the exact Jaccard similarity of all pairs."""

import random
from itertools import combinations

from preceptor.data.near_duplicates import GRAM, SKETCH, alike, near_duplicates, sketch
from preceptor.data.splits import linked

LETTERS = {"en": "abcdefghijklmnop ", "zh": "春眠不觉晓处闻啼鸟夜来风雨声花落知多少"}


def _grams(text: str) -> set[str]:
    letters = "".join(text.lower().split())
    return {letters[first:first + GRAM] for first in range(max(1, len(letters) - GRAM + 1))}


def _similarities(texts: list[str]) -> dict[tuple[int, int], float]:
    """The exact Jaccard similarity of every pair."""
    grams = [_grams(text) for text in texts]
    return {(i, j): len(grams[i] & grams[j]) / len(grams[i] | grams[j])
            for i, j in combinations(range(len(texts)), 2)}


def _families(alphabet: str, size: int, draw: random.Random) -> list[str]:
    """Texts of which some are copies of earlier ones with a few characters changed."""
    texts = ["".join(draw.choices(alphabet, k=size)) for _ in range(40)]
    for text in draw.sample(texts, 20):
        changed = list(text)
        for place in draw.sample(range(size), draw.choice([1, size // 200 + 1, size // 20, size // 5])):
            changed[place] = draw.choice(alphabet)
        texts.append("".join(changed))
    draw.shuffle(texts)
    return texts


def test_texts_far_from_the_threshold_are_always_told_apart() -> None:
    draw = random.Random(0)
    for alphabet in LETTERS.values():
        for size in (20, 300, 1500):  # fewer grams than a sketch holds, and more
            texts = _families(alphabet, size, draw)
            groups = linked(len(texts), near_duplicates(texts, 0.7))
            for (i, j), similarity in _similarities(texts).items():
                if similarity > 0.9:
                    assert groups[i] == groups[j], (texts[i], texts[j])
                if similarity < 0.4:
                    assert groups[i] != groups[j], (texts[i], texts[j])


def test_short_texts_are_compared_exactly() -> None:
    draw = random.Random(1)
    texts = _families(LETTERS["en"], 60, draw)
    sets = [frozenset(sketch(text)) for text in texts]
    assert max(map(len, sets)) < SKETCH
    for (i, j), similarity in _similarities(texts).items():
        for threshold in (0.3, 0.5, 0.7):
            assert alike(sets[i], sets[j], threshold) == (similarity >= threshold)


def test_case_and_white_space_do_not_count_and_texts_shorter_than_a_gram_work() -> None:
    assert sketch("The  Bees\n hum.") == sketch("the bees hum.")
    assert near_duplicates(["好", "好", "坏", "", " "]) == [(0, 1), (3, 4)]


def test_boilerplate_in_every_text_costs_time_linear_in_their_number(monkeypatch) -> None:
    calls = []
    monkeypatch.setattr("preceptor.data.near_duplicates.alike", lambda *both: bool(calls.append(1)))
    near_duplicates(["the same line in each of many files"] * 1000)
    assert len(calls) < 10 * 1000
