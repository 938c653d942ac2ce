"""Rules that drop: each against a brute-force count, on both sides of its limit."""

import random
import re
from collections import Counter
from dataclasses import replace

import pytest

from preceptor.data.cleaning.chinese import classical_share, poor_chinese, script_of
from preceptor.data.cleaning.gopher import _Runs, poor_quality, repetitive
from preceptor.data.cleaning.language import foreign, language_of
from preceptor.data.cleaning.options import (
    C4Options,
    ChineseOptions,
    FineWebOptions,
    GopherOptions,
    LanguageOptions,
    RepetitionOptions,
)
from preceptor.data.cleaning.verdict import Drop
from preceptor.data.cleaning.web_prose import c4, fineweb
from preceptor.data.cleaning.words import counted_words, split_sentences

PROSE = "The keeper of the bees went to the garden with a lamp, and she listened to them hum until the morning came. "


def _rule(drop: Drop | None) -> str | None:
    return drop.rule if drop else None


@pytest.mark.parametrize(("text", "rule"), [
    (PROSE * 3, None),
    (PROSE * 2, "gopher: too few words"),
    ("a be to of and we it is on " * 10, "gopher: short words"),
    ("the unquestionably incomprehensibilities and " * 20, "gopher: long words"),
    ((PROSE + "# # # ") * 3, "gopher: hashes"),
    ((PROSE + "... ... ... ") * 3, "gopher: ellipses"),
    ("\n".join("- " + PROSE for _ in range(4)), "gopher: bullet lines"),
    ("\n".join([PROSE.strip() + "..."] + [PROSE] * 2), "gopher: ellipsis lines"),
    ((PROSE + "1234 5678 9012 3456 7890 ") * 4 + "12345 " * 10, "gopher: words without letters"),
    ("bees hum softly under apple branches near water while foxes sleep " * 8, "gopher: stop words"),
])
def test_gopher_quality(text: str, rule: str | None) -> None:
    assert _rule(poor_quality(text, counted_words(text, "en"), "en", GopherOptions())) == rule


def test_gopher_lengths_say_nothing_of_chinese() -> None:
    text = "蜜蜂在花园里嗡嗡作响。" * 3
    assert poor_quality(text, counted_words(text, "zh"), "zh", GopherOptions()) is None
    assert _rule(poor_quality("#" + text[:5], counted_words("#" + text[:5], "zh"), "zh", GopherOptions())) \
        == "gopher: hashes"


def _brute_force(text: str, words: list[str], options: RepetitionOptions) -> str | None:
    """Table A1 counted without shortcuts."""
    for name, parts in (("paragraph", text.strip().split("\n\n")), ("line", re.split("\n+", text))):
        before = [part for place, part in enumerate(parts) if part in parts[:place]]
        if len(before) / len(parts) > getattr(options, f"{name}s"):
            return f"repetition: {name}s"
        if sum(map(len, before)) / len(text) > getattr(options, f"{name}_characters"):
            return f"repetition: {name} characters"
    for length, most in enumerate(options.top, start=2):
        runs = [" ".join(words[n:n + length]) for n in range(len(words) - length + 1)]
        if runs:
            run, count = Counter(runs).most_common(1)[0]
            if len(run) * count / len(text) > most:
                return f"repetition: top {length}-gram"
    for length, most in enumerate(options.repeated, start=5):
        seen, place, characters = set(), 0, 0
        while place + length <= len(words):
            run = "".join(words[place:place + length])
            characters += len(run) if run in seen else 0
            place += length if run in seen else 1
            seen.add(run)
        if characters / len(text) > most:
            return f"repetition: repeated {length}-grams"
    return None


def test_gopher_repetition_equals_a_count_without_shortcuts() -> None:
    draw, found = random.Random(0), Counter()
    for _ in range(400):
        vocabulary = [f"w{n}" for n in range(draw.choice([4, 10, 30, 100, 1000]))]
        lines = [" ".join(draw.choices(vocabulary, k=draw.randint(1, 12))) for _ in range(draw.randint(1, 20))]
        lines += draw.choices(lines, k=draw.randint(0, 6))
        text = draw.choice(["\n", "\n\n"]).join(lines)
        words = counted_words(text, "en")
        expected = _brute_force(text, words, RepetitionOptions())
        assert _rule(repetitive(text, words, "en", RepetitionOptions())) == expected
        found[expected] += 1
    assert len(found) >= 8, found


def test_the_bounds_that_spare_counting_are_bounds() -> None:
    draw = random.Random(1)
    for _ in range(100):
        words = draw.choices(["aa", "b", "ccc", "dddd"], k=draw.randint(0, 30))
        for length in (1, 2, 3, 5):
            runs = ["".join(words[n:n + length]) for n in range(len(words) - length + 1)]
            spaced = Counter(" ".join(words[n:n + length]) for n in range(len(words) - length + 1))
            assert _Runs(words).most_of_one(length) >= max((len(run) * n for run, n in spaced.items()), default=0)
            later = sum(len(run) for place, run in enumerate(runs) if run in runs[:place])
            assert _Runs(words).most_said_before(length) == later


def test_c4_keeps_sentences_and_says_which_lines_went() -> None:
    lines = ["Bees hum in the garden.", "Menu", "Two words.", "Please enable javascript to see bees.",
             "See our privacy policy for the bees.", "They hum again [12] at noon!", "x" * 1001 + " is long enough.",
             "“Do they hum at night?”", "Nobody knows that. Nora may.", "Unfinished lines..."]
    text, changes, drop = c4("\n".join(lines), "en", C4Options())
    assert text.split("\n") == [lines[0], "They hum again  at noon!", lines[7], lines[8]] and drop is None
    assert {change.rule: change.count for change in changes} == {
        "c4: line without an end": 2, "c4: line of few words": 1, "c4: javascript line": 1, "c4: policy line": 1,
        "c4: line with an endless word": 1}
    assert _rule(c4("Bees hum in here.", "en", C4Options())[2]) == "c4: too few sentences"
    assert _rule(c4("Lorem ipsum dolor sit.", "en", C4Options())[2]) == "c4: lorem ipsum"
    code = "if (x) { y(); } is code."
    assert _rule(c4(code, "en", C4Options())[2]) == "c4: curly bracket"
    assert _rule(c4(code, "en", replace(C4Options(), braces=False))[2]) == "c4: too few sentences"
    assert c4("蜜蜂在飞。花开了！春天来了。他走了。谁知道？", "zh", C4Options())[2] is None


@pytest.mark.parametrize(("text", "rule"), [
    ("\n".join([PROSE.strip()] * 1), None),
    ("\n".join([PROSE[:-2]] * 9), "fineweb: lines without an end"),
    ("\n".join(["Short line here."] * 7 + [PROSE.strip()] * 3), "fineweb: short lines"),
    (f"{PROSE}one.\n{PROSE}one.", "fineweb: repeated lines"),
    ("\n\n".join(["Unquestionably incomprehensibilities."] + [f"Incomprehensibility{n} unquestionably."
                                                             for n in range(9)]), "fineweb: line breaks"),
    ("\n \n", "fineweb: empty"),
])
def test_fineweb(text: str, rule: str | None) -> None:
    assert _rule(fineweb(text, counted_words(text, "en"), "en", FineWebOptions())) == rule


@pytest.mark.parametrize(("text", "language"), [
    ("The bees hum in the garden and the keeper listens to them all morning long.", "en"),
    ("蜜蜂在花园里嗡嗡作响。", "zh"), ("學而時習之，不亦說乎？有朋自遠方來，不亦樂乎？", "zh"),
    ("ミツバチが庭でブンブン鳴いています。", "ja"), ("Die Bienen summen im Garten, und der Imker hört ihnen zu.", "de"),
])
def test_languages(text: str, language: str) -> None:
    assert language_of(text)[0] == language
    wrong = _rule(foreign(*language_of(text), LanguageOptions(least_score=0.4)))
    assert wrong == (None if language in ("en", "zh") else f"language: {language}")
    assert foreign(*language_of(text), LanguageOptions(keep=(), least_score=0.0)) is None


def test_chinese_without_line_breaks_is_no_single_word() -> None:
    """The model calls this Greek where nothing stands between its marks and the next word."""
    text = "蜜蜂在清晨的花园里嗡嗡作响。养蜂人每天早晨都来听它们唱歌，直到太阳升起。" * 20
    language, score = language_of(text)
    assert language == "zh" and score > 0.9


def test_text_in_no_language_is_unsure() -> None:
    assert language_of("") == ("unknown", 0.0)
    assert _rule(foreign("en", 0.3, LanguageOptions())) == "language: unsure"


MODERN = "蜜蜂在花园里嗡嗡作响，养蜂人听着它们的声音，知道春天已经来了。她说今年的花开得很好。"
CLASSICAL = ("学而时习之，不亦说乎？有朋自远方来，不亦乐乎？人不知而不愠，不亦君子乎？"
             "曾子曰：吾日三省吾身。其为人也孝弟，而好犯上者，鲜矣。")


@pytest.mark.parametrize(("text", "options", "rule"), [
    (MODERN * 3, ChineseOptions(), None),
    (MODERN, ChineseOptions(), "chinese: too few characters"),
    (MODERN * 2 + " AB12-99 XR7" * 30, ChineseOptions(), "chinese: share of Han"),
    ("蜜蜂花园春天" * 50, ChineseOptions(), "chinese: no punctuation"),
    ("蜜蜂花园春天" * 60 + MODERN * 3, ChineseOptions(), "chinese: run without a mark"),
    (MODERN * 2 + "！，" * 60, ChineseOptions(), "chinese: too much punctuation"),
    (CLASSICAL * 2, ChineseOptions(), None),
    (CLASSICAL * 2, ChineseOptions(keep_classical=False), "chinese: classical"),
    (MODERN * 3, ChineseOptions(script="traditional"), "chinese: simplified"),
    ("蜂兒們這時來對著園裡的花說話，電車開過，學生聽見。" * 4, ChineseOptions(script="simplified"),
     "chinese: traditional"),
])
def test_chinese(text: str, options: ChineseOptions, rule: str | None) -> None:
    assert _rule(poor_chinese(text, options)) == rule


def test_scripts_and_classical_text_are_told_apart() -> None:
    assert script_of("国们这时来对")[0] == "simplified" and script_of("國們這時來對") == ("traditional", 1.0)
    assert script_of("人山水火") == ("both", 1.0)
    assert classical_share(CLASSICAL) > 0.9 and classical_share(MODERN) < 0.2 and classical_share("山水") == 0.0


def test_sentences_of_both_languages() -> None:
    assert split_sentences("Bees hum. Do they? “Yes!” he said.\n蜜蜂在飞。“是吗？”她问。") == [
        "Bees hum.", "Do they?", "“Yes!”", "he said.", "蜜蜂在飞。", "“是吗？”", "她问。"]
