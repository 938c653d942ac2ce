"""Repetition: counts by hand, the two ways to average, Chinese, and texts too short to measure."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preceptor.metrics.repetition import diversity, rep_n, repetition, seq_rep_n, text_tokens

texts = st.lists(st.lists(st.integers(0, 3), max_size=12), max_size=5)


def test_counts_by_hand():
    text = "the cat and the cat and the dog".split()  # 7 bigrams, 4 distinct: the-cat cat-and and-the the-dog
    assert rep_n([text], 2) == pytest.approx(1 - 4 / 7)
    assert rep_n([text], 3) == pytest.approx(1 - 4 / 6)
    assert rep_n([text], 4) == pytest.approx(1 - 4 / 5)
    assert diversity([text]) == pytest.approx(4 / 7 * 4 / 6 * 4 / 5)


def test_the_last_n_gram_counts():
    """The loop of the published code stops one early and would call this text free of repetition."""
    assert rep_n([["a", "b", "c", "a", "b"]], 2) == pytest.approx(1 / 4)


def test_rep_weighs_n_grams_and_seq_rep_weighs_texts():
    loop, plain = ["x"] * 11, list("abcd")
    assert rep_n([loop, plain], 4) == pytest.approx(1 - 2 / 9)  # 8 + 1 four-grams, 1 + 1 distinct
    assert seq_rep_n([loop, plain]) == pytest.approx((7 / 8 + 0) / 2)


def test_the_same_phrase_in_two_texts_is_no_repetition():
    assert rep_n([list("abcd"), list("abcd")], 2) == 0
    assert diversity([list("abcd"), list("abcd")]) == 1


@settings(max_examples=100, deadline=None)
@given(texts, st.integers(1, 4))
def test_equals_a_count_by_pairs(corpus, n):
    """A window is repeated when an equal window stands before it in its text."""
    repeated, total, shares = 0, 0, []
    for text in corpus:
        windows = [text[i:i + n] for i in range(len(text) - n + 1)]
        again = sum(any(windows[j] == windows[i] for j in range(i)) for i in range(len(windows)))
        repeated, total = repeated + again, total + len(windows)
        if windows:
            shares.append(again / len(windows))
    if not total:
        assert rep_n(corpus, n) is None and seq_rep_n(corpus, n) is None
    else:
        assert rep_n(corpus, n) == pytest.approx(repeated / total)
        assert seq_rep_n(corpus, n) == pytest.approx(sum(shares) / len(shares))


def test_words_characters_and_mixtures():
    assert text_tokens("Don't  stop,\nnow.") == "Don't  stop,\nnow.".split()
    assert text_tokens("我爱北京。") == ["我", "爱", "北", "京", "。"]
    assert text_tokens("用GPT-2写诗 ok") == ["用", "GPT-2", "写", "诗", "ok"]
    assert text_tokens("好\u3000好") == ["好", "好"]
    assert text_tokens("𠀀𠀁") == ["𠀀", "𠀁"]
    assert text_tokens("안녕 세계") == ["안녕", "세계"]
    assert text_tokens("") == []


def test_chinese_repetition_is_seen_without_spaces():
    assert rep_n([text_tokens("好的好的好的")], 2) == pytest.approx(1 - 2 / 5)


def test_texts_too_short_are_counted_and_figures_left_out():
    assert rep_n([["a"]], 2) is None and seq_rep_n([]) is None and diversity([["a", "b", "c"]]) is None
    measured = repetition([["a", "a", "a"], []])
    assert measured == {"rep_2": 0.5, "rep_3": 0.0, "texts": 2, "too_short": 2}
    measured = repetition(iter([["a"] * 5, ["a"]]))
    assert measured["too_short"] == 1 and measured["seq_rep_4"] == 0.5
    assert measured["diversity"] == pytest.approx(math.prod([1 / 4, 1 / 3, 1 / 2]))
