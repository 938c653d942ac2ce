"""The two languages say the same things: same keys, same places for values."""

import string

import pytest

from preceptor.words.catalogue import LANGUAGES, catalogue, known, say


def _places(sentence: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(sentence) if name is not None}


def test_all_languages_have_the_same_keys_and_places_for_values() -> None:
    english = catalogue("en")
    for language in LANGUAGES:
        other = catalogue(language)
        assert english.keys() == other.keys()
        differing = [key for key in english if _places(english[key]) != _places(other[key])]
        assert not differing


def test_every_sentence_is_text() -> None:
    """YAML reads a bare `no` or `false` as a truth value: it would be shown as "False"."""
    for language in LANGUAGES:
        assert all(sentence and sentence not in ("True", "False", "None") for sentence in catalogue(language).values())


def test_chinese_is_translated() -> None:
    """A sentence with a space in English is one that must differ in Chinese."""
    english, chinese = catalogue("en"), catalogue("zh")
    kept = {key for key in english if english[key] == chinese[key] and " " in english[key]}
    assert kept <= {"reward.kendall_tau_b"}


def test_say_fills_in_values_and_refuses_what_it_does_not_know() -> None:
    assert say("preference.pair", "en", a="PPO", b="SFT") == "PPO over SFT"
    assert say("preference.pair", "zh", a="PPO", b="SFT") == "PPO 对 SFT"
    assert known("preference.pair") and not known("preference.nothing")
    with pytest.raises(KeyError):
        say("preference.nothing", "en")
    with pytest.raises(KeyError):
        say("preference.pair", "en", a="PPO")
