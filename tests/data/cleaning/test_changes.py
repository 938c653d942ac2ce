"""Rules that change text: what they mend, mask and take out, and what they leave alone."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preceptor.data.cleaning.boilerplate import mostly_boilerplate, without_boilerplate
from preceptor.data.cleaning.cleaner import Cleaner
from preceptor.data.cleaning.options import BoilerplateOptions, CleaningOptions, PersonalOptions, RepairOptions
from preceptor.data.cleaning.personal import is_card, is_identity, masked
from preceptor.data.cleaning.repair import broken, repaired
from preceptor.data.records import Document


@pytest.mark.parametrize(("broken_text", "meant"), [
    ("The cafÃ© is open.", "The café is open."),
    ("itâ€™s fine", "it’s fine"),
    ("èœœèœ‚åœ¨èŠ±å›\xad", "蜜蜂在花园"),
    ("Tom &amp; Nora &lt;3", "Tom & Nora <3"),
    ("bees\u200b and\ufeff wasps\x07", "bees and wasps"),
    ("one\r\n\r\n\r\n\r\ntwo  \r\n", "one\n\ntwo"),
])
def test_repair_gives_back_what_was_meant(broken_text: str, meant: str) -> None:
    assert repaired(broken_text)[0] == meant


@settings(deadline=None, max_examples=50)
@given(st.text("abc é蜂，。’“\n—", max_size=60))
def test_repair_leaves_sound_text_alone_and_twice_is_once(text: str) -> None:
    once, _ = repaired(text)
    again, changes = repaired(once)
    assert again == once and not changes
    assert "".join(once.split()) == "".join(text.split())


def test_what_cannot_be_mended_is_dropped_with_its_share() -> None:
    drop = broken("\ufffd" * 5 + "a" * 95, RepairOptions())
    assert drop is not None and drop.score == 0.05 and drop.limit == 0.005
    assert broken("a" * 1000 + "\ufffd", RepairOptions()) is None


@pytest.mark.parametrize(("text", "kind"), [
    ("Write to nora.bee+x@example.co.uk today", "email"),
    ("请联系 bee_99@163.com。", "email"),
    ("Call +44 20 7946 0958 or", "phone"), ("(212) 555-0100", "phone"), ("212-555-0100", "phone"),
    ("手机：13800138000，谢谢", "phone"), ("电话010-62770334。", "phone"), ("+86 138 0013 8000", "phone"),
    ("from 93.184.216.34 on", "ip"),
    ("身份证号11010519491231002X。", "identity"),
    ("card 4111 1111 1111 1111 expires", "card"),
])
def test_personal_data_is_masked_and_the_change_shows_none_of_it(text: str, kind: str) -> None:
    clean, changes = masked(text, PersonalOptions())
    assert f"<{kind}>" in clean and [change.rule for change in changes] == [f"personal: {kind}"]
    assert not any(character.isdigit() or character == "@" for character in clean)
    assert changes[0].before == ""


@pytest.mark.parametrize("text", [
    "In 1998, 1,234,567 people paid $29.99.", "Version 10.0.0.1 and 127.0.0.1", "ISBN 978-0-306-40615-7",
    "身份证号110105194912310021。", "order 4111 1111 1111 1112", "2026-11-21 13:45", "e@mail is not",
    "11010519491331002X", "pi is 3.14159265358979", "@nora said", "a@b", "第12345678901234567890号",
])
def test_numbers_that_are_nobodys_stay(text: str) -> None:
    assert masked(text, PersonalOptions()) == (text, [])


def test_check_digits_catch_every_single_wrong_digit() -> None:
    identity, card = "11010519491231002X", "4111111111111111"
    assert is_identity(identity) and is_card(card)
    for place in range(17):
        for digit in set("0123456789") - {identity[place]}:
            assert not is_identity(identity[:place] + digit + identity[place + 1:])
    for place in range(1, 16):
        for digit in set("0123456789") - {card[place]}:
            assert not is_card(card[:place] + digit + card[place + 1:])


@pytest.mark.parametrize("text", ["Follow us on nora.bee@example.org", "The cafÃ© of nora.bee@example.org is open."])
def test_no_decision_shows_personal_data(text: str) -> None:
    """Neither where nothing of a text is left, nor beside what its encoding was mended to."""
    _, decision = Cleaner(CleaningOptions()).clean(Document(text, "a", "s"))
    row = decision.to_dict()
    assert row["changes"] and "nora" not in json.dumps(row) and "<email>" in json.dumps(row)


def test_boilerplate_goes_and_prose_that_names_it_stays() -> None:
    long = "The firm's cookie policy was the subject of a long trial. " * 5
    text = "\n".join(["Home", "Bees hum in spring.", "© 2024 Bee Corp. All rights reserved", "版权所有 蜜蜂公司",
                      "立即购买，包邮", long, "Read more", "He went home."])
    clean, changes = without_boilerplate(text, BoilerplateOptions())
    assert clean.split("\n") == ["Bees hum in spring.", long, "He went home."]
    assert {change.rule: change.count for change in changes} == {"boilerplate: notice": 4, "boilerplate: advert": 1}


def test_repeated_lines_stay_once_but_people_may_repeat_themselves() -> None:
    lines = ["Section menu here", "“Yes, sir.”"] * 5 + ["short"] * 9
    clean, changes = without_boilerplate("\n".join(lines), BoilerplateOptions())
    assert clean.count("Section menu here") == 1 and clean.count("“Yes, sir.”") == 5 and clean.count("short") == 9
    assert changes[0].rule == "boilerplate: repeated line" and changes[0].count == 4
    drop = mostly_boilerplate("x" * 100, "x" * 30, BoilerplateOptions())
    assert drop is not None and drop.score == pytest.approx(0.7)
