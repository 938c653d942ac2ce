"""Metrics of generated text: published figures, and slow counts by hand or by definition."""

import gzip
import json
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preceptor.metrics.diversity import distinct_n, self_bleu, uniq_seq, zipf
from preceptor.metrics.geometry import isotropy
from preceptor.metrics.language import coherence, embedding_coherence
from preceptor.metrics.loops import final_loop, loop_rate
from preceptor.metrics.mauve import cluster, frontier_area, mauve
from preceptor.metrics.prediction import accuracy, prediction, rep_l, uniq, wrep_l
from preceptor.metrics.repetition import diversity, published_diversity, repeated_sentences, text_sentences, text_tokens
from preceptor.metrics.sameness import across_prompts, four_kinds, likeness, same_prompt

corpora = st.lists(st.lists(st.integers(0, 3), max_size=10), max_size=5)


# Su and Collier 2023, gpt2-large on WebText: what their program prints; (rep-2, rep-3, rep-4, diversity), loop rate.
PUBLISHED = {"greedy": ((65.04, 61.80, 59.68, 5.38), 0.572), "beam": ((67.77, 65.41, 63.79, 4.04), 0.579),
             "contrastive": ((4.77, 1.73, 1.11, 92.54), 0.002), "human": ((4.27, 1.44, 0.78, 93.62), 0.0)}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_figures_come_out_to_the_printed_digit(public_data: Path, name: str) -> None:
    path = public_data / "decoding" / f"gpt2-large.{'greedy' if name == 'human' else name}.json.gz"
    if not path.exists():
        pytest.skip(f"{path.name} is not among the public data")
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = json.load(file)
    texts = [row["reference_text"] if name == "human" else row["generated_result"]["0"] for row in rows]
    figures, loops = PUBLISHED[name]
    assert tuple(round(value, 2) for value in published_diversity(texts).values()) == figures
    words = [text.split() for text in texts]
    assert loop_rate(words) == pytest.approx(loops, abs=0.0005)
    assert 100 * diversity(words) == pytest.approx(figures[-1], abs=0.05)  # with the last n-gram counted


def test_the_published_program_misses_the_last_n_gram() -> None:
    assert published_diversity(["a b c d a b", "v w x y z"])["rep_2"] == 0
    assert diversity([text.split() for text in ("a b c d a b", "v w x y z")]) < 1
    with pytest.raises(ZeroDivisionError):
        published_diversity(["我爱北京天安门"])


@pytest.mark.parametrize("text, expected", [
    ("a b c d b c d", (3, 2)), ("x y z x y z x y z", (3, 3)), ("a a a a", None), ("a b a b a b", None),
    ("a " * 51, (1, 51)), ("a b " * 26, None), ("a b " * 51, (2, 51)), ("a b c", None), ("", None),
    ("b c d b c d e", None)])
def test_a_loop_is_at_the_end_and_long_or_very_frequent(text: str, expected: tuple | None) -> None:
    assert final_loop(text.split()) == expected


def slow_final_loop(text: list[int]) -> tuple[int, int] | None:
    copies = {}
    for n in range(1, min(90, len(text)) + 1):
        count = 1
        while text[len(text) - n * (count + 1):len(text) - n * count] == text[len(text) - n:] \
                and len(text) >= n * (count + 1):
            count += 1
        copies[n] = count
    if not copies:
        return None
    n = max(copies, key=copies.__getitem__)
    return (n, copies[n]) if copies[n] > 1 and (n >= 3 or copies[n] > 50) else None


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 1), max_size=14))
def test_loops_are_what_comparing_slices_gives(text: list[int]) -> None:
    assert final_loop(text) == slow_final_loop(text)


def test_loop_rate_counts_texts() -> None:
    assert loop_rate([list("abcabc"), list("abcdef")]) == 0.5 and loop_rate([]) is None


def test_prediction_by_hand() -> None:
    tokens, guesses = [1, 2, 1, 3, 2], [9, 1, 1, 2, 2]
    # before each place: [], [1], [1 2], [1 2 1], [1 2 1 3]; repeats: guesses 1, 1, 2, 2; wrong ones among them: 1, 2
    text = [(tokens, guesses)]
    assert accuracy(text) == 2 / 5 and rep_l(text) == 4 / 5 and wrep_l(text) == 2 / 5 and uniq(text) == 3
    assert rep_l(text, 1) == 1 / 5  # only the token just before: 1 after 1
    figures = prediction(text)
    assert figures["rep"] == figures["rep_128"] == 4 / 5 and figures["places"] == 5
    assert prediction([]) == {"uniq": 0, "places": 0}
    assert prediction([(tokens, tokens)])["wrep_128"] == 0, "the text itself is never wrong"
    with pytest.raises(ValueError):
        prediction([([1, 2], [1])])


def test_texts_do_not_see_one_another() -> None:
    assert rep_l([([1, 2], [5, 6]), ([5, 6], [1, 2])]) == 0


@settings(max_examples=100, deadline=None)
@given(corpora)
def test_distinct_and_uniq_by_definition(corpus: list[list[int]]) -> None:
    for n in (1, 2, 3):
        grams = [tuple(text[i:i + n]) for text in corpus for i in range(len(text) - n + 1)]
        assert distinct_n(corpus, n) == (len(set(grams)) / len(grams) if grams else None)
    everything = [token for text in corpus for token in text]
    assert uniq_seq(corpus) == (len(set(everything)), len(everything))


def slow_self_bleu(texts: list[list[int]], n: int) -> float:
    scores = []
    for index, text in enumerate(texts):
        others = texts[:index] + texts[index + 1:]
        logs = []
        for size in range(1, n + 1):
            def counts(words: list[int], size: int = size) -> Counter:
                return Counter(tuple(words[i:i + size]) for i in range(len(words) - size + 1))
            matches = sum(min(count, max(counts(other)[gram] for other in others))
                          for gram, count in counts(text).items())
            logs.append(math.log((matches or 0.1) / max(len(text) - size + 1, 1)))
        nearest = min((abs(len(other) - len(text)), len(other)) for other in others)[1]
        scores.append(math.exp(sum(logs) / n + min(0, 1 - nearest / len(text))))
    return sum(scores) / len(scores)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=8), min_size=2, max_size=5))
def test_self_bleu_is_bleu_against_all_others(texts: list[list[int]]) -> None:
    assert self_bleu(texts) == pytest.approx(slow_self_bleu(texts, 4))


def test_self_bleu_of_equal_texts_is_one_and_of_one_text_nothing() -> None:
    assert self_bleu([list("abcdef")] * 3) == pytest.approx(1)
    assert self_bleu([list("abc"), []]) is None


def test_zipf_finds_the_exponent_of_a_power_law() -> None:
    text = [rank for rank in range(1, 60) for _ in range(round(1e6 / rank**1.1))]
    assert zipf([text]) == pytest.approx(1.1, abs=1e-3) and zipf([[1, 1]]) is None


def test_isotropy_by_pairs() -> None:
    states = np.random.default_rng(0).normal(size=(7, 5)) + 0.5
    cosines = [float(a @ b / np.linalg.norm(a) / np.linalg.norm(b)) for i, a in enumerate(states)
               for j, b in enumerate(states) if i != j]
    assert isotropy(states) == pytest.approx(1 - sum(cosines) / len(cosines))
    assert isotropy(np.ones((4, 3))) == pytest.approx(0) and isotropy(np.ones((1, 3))) is None
    assert isotropy(np.random.default_rng(1).normal(size=(200, 400))) == pytest.approx(1, abs=0.01)


def test_coherence_weighs_texts_alike() -> None:
    assert coherence([[-1.0, -3.0], [-4.0], []]) == -3.0 and coherence([[]]) is None
    one, other = np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([[2.0, 0.0], [0.0, 5.0]])
    assert embedding_coherence(one, other) == pytest.approx(0.5)


def test_mauve_is_one_for_one_distribution_and_small_for_two() -> None:
    draw = np.random.default_rng(0)
    human, same = draw.normal(size=(400, 8)), draw.normal(size=(400, 8))
    shifted, far = draw.normal(size=(400, 8)) + 1.5, draw.normal(size=(400, 8)) + 100
    scores = [mauve(human, texts, clusters=20, seed=1) for texts in (same, shifted, far)]
    assert scores[0] > 0.95 > 0.9 > scores[1] > scores[2] and scores[2] < 0.05
    assert mauve(human, shifted, clusters=20, seed=1) == scores[1], "one seed, one figure"
    assert mauve(shifted, human, clusters=20, seed=1) == pytest.approx(scores[1], abs=0.05)
    with pytest.raises(ValueError):
        mauve(human[:5], same)


def test_the_frontier_s_area_in_closed_form() -> None:
    p = np.array([0.3, 0.7])
    assert frontier_area(p, p) == pytest.approx(1)
    p, q = np.array([1 - 1e-12, 1e-12]), np.array([1e-12, 1 - 1e-12])
    # disjoint: KL(p, wp + (1-w)q) = -log w, so the curve is (1 - w)^5 against w^5, with area 5 B(6, 5) = 1/252
    assert frontier_area(p, q) == pytest.approx(1 / 252, rel=0.05)


def test_clusters_are_as_tight_as_scikit_learn_s() -> None:
    from sklearn.cluster import KMeans
    draw = np.random.default_rng(3)
    points = draw.normal(size=(300, 4)) + draw.integers(0, 6, size=(300, 1)) * 4
    labels = cluster(points, 12, np.random.default_rng(0))
    cost = sum(np.square(points[labels == k] - points[labels == k].mean(0)).sum() for k in set(labels.tolist()))
    assert cost < 1.1 * KMeans(12, n_init=5, random_state=0).fit(points).inertia_


def test_sentences_of_two_languages() -> None:
    assert text_sentences("One. Two!  Three?\nfour") == ["one.", "two!", "three?", "four"]
    assert text_sentences("你好。再见！好…吗？ok 3.5") == ["你好。", "再见！", "好…", "吗？", "ok 3.5"]
    assert repeated_sentences(["I see. I  see. You see."]) == pytest.approx(1 / 3)
    assert repeated_sentences(["好的。好的。", "不。"]) == 1 / 2 and repeated_sentences(["one"]) is None


def test_sameness_by_hand() -> None:
    assert likeness("abcde", "abcdf") == 1 / 3  # abcd, bcde; abcd, bcdf
    assert likeness("a b", "A b") == 1 and likeness("", "") == 1 and likeness("好的", "不好") == 0
    found = same_prompt([["the cat sat on the mat", "the cat sat on the mat!"], ["only one"], ["one way", "other"]])
    assert found["prompts"] == 2 and found["alike"] == 0.5
    assert same_prompt([["a"]]) == {"prompts": 0}


STOCK = ["I am an assistant and I am happy to help you with that question today.",
         "我是一个人工智能助手，很高兴能够帮助您解答这个问题。"]


def test_stock_answers_are_found_in_both_languages() -> None:
    own = [f"The {animal} lives near the {place}, where it eats {food} all day long." for animal, place, food in
           [("otter", "river bank", "fish"), ("owl", "old barn", "mice"), ("bee", "rose garden", "nectar")]]
    answers = [[own[0], STOCK[0]], [STOCK[0] + " Yes."], [own[1], STOCK[0]], [STOCK[1]], [STOCK[1]], [STOCK[1]],
               [own[2]], [own[2]]]
    found = across_prompts(answers)
    assert found == {"stock": 6 / 10, "largest": 3 / 10, "answers": 10}
    assert across_prompts([]) == {"answers": 0}


def test_the_four_kinds_in_one_report() -> None:
    report = four_kinds([["好的。好的。好的。好的。", "好的。好的。好的。好的。"], ["行。"]])
    assert report["words"]["rep_2"] > 0.5 and report["sentences"]["repeated"] == 0.75
    assert report["same_prompt"]["likeness"] == 1 and report["across_prompts"]["stock"] == 0
    assert text_tokens("好的。") == ["好", "的", "。"]
