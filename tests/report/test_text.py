"""Numbers as people read them, and text in two languages that cannot break the page."""

import pytest

from preceptor.report.text import both, interval, joined, named, number, percent, percent_interval, text


@pytest.mark.parametrize(("value", "shown"), [
    (0, "0"), (0.0, "0.00"), (3, "3"), (1234, "1,234"), (0.5, "0.500"), (9.996, "10.0"), (12.345, "12.3"),
    (123.4, "123"), (-0.04567, "−0.0457"), (98765.4, "98,765"), (3.2e-7, "3.20e-07"), (1e9, "1.00e+09")])
def test_numbers_have_three_significant_digits(value: float, shown: str) -> None:
    assert number(value) == shown


@pytest.mark.parametrize(("share", "shown"), [
    (0.684, "68 %"), (1.0, "100 %"), (0.0, "0 %"), (0.0449, "4.5 %"), (0.0996, "10 %"), (1e-17, "0 %"),
    (-0.031, "−3.1 %")])
def test_shares(share: float, shown: str) -> None:
    assert percent(share).replace("\u202f", " ") == shown


def test_an_interval_is_one_unbroken_word() -> None:
    figure = {"mean": 0.684, "low": 0.6401, "high": 0.721, "n": 520}
    assert percent_interval(figure).split(" ") == ["68\u202f%\u00a0[64,\u00a072]"]
    assert interval(figure).split(" ") == ["0.684\u00a0[0.640,\u00a00.721]"]


@pytest.mark.parametrize(("figure", "shown"), [
    ((18.0, 17.2, 18.8), "18.0 [17.2, 18.8]"), ((-0.04312, -0.0628, -0.0230), "−0.043 [−0.063, −0.023]"),
    ((152.3, 120.0, 190.0), "152 [120, 190]"), ((2.0, 2.0, 2.0), "2.00 [2.00, 2.00]")])
def test_an_interval_is_as_exact_as_its_width(figure: tuple[float, float, float], shown: str) -> None:
    assert interval(dict(zip(("mean", "low", "high"), figure))).replace("\u00a0", " ") == shown


def test_both_languages_stand_side_by_side_and_names_follow_the_language() -> None:
    shown = both("preference.pair", a=named("model", "base"), b=joined(" + ", [named("model", "sft")] * 2))
    assert shown == ('<span class="en" lang="en">base over SFT + SFT</span>'
                     '<span class="zh" lang="zh-CN">基座 对 SFT + SFT</span>')


def test_values_are_escaped_once_and_unknown_names_stand_for_themselves() -> None:
    hostile = "<script>&"
    for shown in (both("preference.pair", a=hostile, b=text("model.sft")), both(named("model", hostile))):
        assert "<script>" not in shown and shown.count("&lt;script&gt;&amp;") == 2
