"""The world and its words: drawn from the seed, the same in both languages, no word in two classes."""

import pytest

from preceptor.run.errors import UserError
from preceptor.village.language import SLOT, load_language, templates
from preceptor.village.options import VillageOptions
from preceptor.village.realizer import NOBODY, Realizer
from preceptor.village.world import (
    ANIMALS,
    ATTRIBUTES,
    FEMALE_NAMES,
    JOBS,
    LAST_NAMES,
    MALE_NAMES,
    STRANGER_NAMES,
    build_world,
)

WORDS = load_language("en").words


def test_a_seed_gives_one_world_and_another_seed_another() -> None:
    one, same, other = (build_world(VillageOptions(), seed, WORDS) for seed in (3, 3, 4))
    assert one == same
    assert one.facts != other.facts


def test_the_languages_have_the_same_keys_kinds_and_numbers_of_names() -> None:
    english, chinese = load_language("en"), load_language("zh")
    assert {kind: list(words) for kind, words in english.words.items()} == {
        kind: list(words) for kind, words in chinese.words.items()}
    assert english.facts.keys() == chinese.facts.keys() == ATTRIBUTES.keys()
    assert english.ideas.keys() == chinese.ideas.keys()
    assert {name: list(forms) for name, forms in english.forms.items()} == {
        name: list(forms) for name, forms in chinese.forms.items()}
    for language in (english, chinese):
        assert (len(language.male_names), len(language.female_names), len(language.last_names)) == (
            MALE_NAMES, FEMALE_NAMES, LAST_NAMES)
        assert len({*language.male_names, *language.female_names}) == MALE_NAMES + FEMALE_NAMES


@pytest.mark.parametrize("code", ["en", "zh"])
def test_no_word_stands_in_two_classes(code: str) -> None:
    plain = [word.plain.lower() for words in load_language(code).words.values() for word in words.values()]
    assert len(plain) == len(set(plain))


@pytest.mark.parametrize("code", ["en", "zh"])
def test_every_slot_of_every_template_is_of_a_known_class(code: str) -> None:
    language = load_language(code)
    classes = {*language.words, "person", "number", "he", "his", "list", "subject", "first", "last"}
    for template in templates(language):
        assert {kind for _, kind, _ in SLOT.findall(template)} <= classes, template


def test_jobs_and_animals_are_those_of_the_word_lists() -> None:
    assert JOBS.keys() == WORDS["job"].keys()
    assert ANIMALS.keys() == WORDS["animal"].keys()
    assert all(place in WORDS["workplace"] and tool in WORDS["tool"] for place, tool in JOBS.values())
    assert all(set(feed.split()) <= WORDS["feed"].keys() and set(den.split()) <= WORDS["den"].keys()
               for feed, den in ANIMALS.values())


def test_facts_are_recorded_where_they_should_be() -> None:
    world = build_world(VillageOptions(), 0, WORDS)
    for name, about in ATTRIBUTES.items():
        entities = {entity for attribute, entity in world.facts if attribute == name}
        if not about.recorded:
            assert not entities
        elif name == "person.neighbour":
            assert 0.2 < len(entities) / len(world.people) < 0.7
        else:
            assert entities == set(world.people if about.subject == "person" else WORDS[about.subject])
    neighbours = {one: other for (name, one), other in world.facts.items() if name == "person.neighbour"}
    assert all(neighbours[other] == one and other != one for one, other in neighbours.items())
    assert all(world.facts["person.workplace", key] == JOBS[world.facts["person.job", key]][0] for key in world.people)
    assert len(world.obscure) == 20 and not world.obscure & world.weights.keys()


@pytest.mark.parametrize("code", ["en", "zh"])
def test_names_name_one_person_even_where_first_names_recur(code: str) -> None:
    world = build_world(VillageOptions(people=400), 0, WORDS)
    realizer = Realizer(load_language(code), world)
    assert len({word.plain for word in realizer.words["person"].values()}) == 400 + 2 * STRANGER_NAMES
    for key, word in realizer.words["person"].items():
        assert [token.key for token in realizer.tokens(word.plain)] == [key]
        assert [token.key for token in realizer.tokens(word.counted)] == [key]


def test_a_name_that_nobody_bears_is_read_as_nobody(villages) -> None:
    realizer = villages["en"].realizer
    borne = {word.plain for word in realizer.words["person"].values()}
    first = realizer.words["person"]["p0"].counted
    free = next(name for last in realizer.language.last_names if (name := f"{first} {last}") not in borne)
    assert [token.key for token in realizer.tokens(free)] == [NOBODY]


@pytest.mark.parametrize("people", [3, 10_000])
def test_too_few_or_too_many_people_are_refused(people: int) -> None:
    with pytest.raises(UserError, match="cannot have"):
        build_world(VillageOptions(people=people), 0, WORDS)
