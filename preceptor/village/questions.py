"""Drafts of factual tasks: questions about one fact, alone or inside a chat, and sentences about an entity."""

import random

from preceptor.village.forms import draw_other
from preceptor.village.realizer import Realizer
from preceptor.village.tasks import Draft, Task
from preceptor.village.world import ATTRIBUTES, World

# What questions and profiles are about.
FACT_SUBJECTS = {"person": 0.7, "town": 0.1, "item": 0.08, "animal": 0.06, "job": 0.06}
PROFILE_SUBJECTS = {"person": 0.82, "town": 0.1, "animal": 0.05, "job": 0.03}
# Why a question has no answer: the attribute is never recorded, the person is a stranger, or this one is not recorded.
UNANSWERABLE = {"unrecorded": 0.5, "stranger": 0.35, "unknown": 0.15}


def weighted(rng: random.Random, weights: dict[str, float]) -> str:
    """A key drawn in proportion to its weight."""
    return rng.choices(list(weights), list(weights.values()))[0]


def draw_entity(rng: random.Random, world: World, realizer: Realizer, kind: str, obscure: float) -> str:
    """An entity of a class; a resident is obscure with the probability given."""
    if kind != "person":
        return rng.choice(list(realizer.words[kind]))
    return rng.choice(world.residents(bool(world.obscure) and rng.random() < obscure) or list(world.people))


def statements(realizer: Realizer, attribute: str, entity: str, value: str, extra: dict[str, str]) -> list[str]:
    """The ways to state a fact by name; `extra` fills the slots besides subject and value."""
    slots = {**extra, **_slots(attribute, entity, value)}
    return [realizer.fill(text, slots) for text in realizer.language.facts[attribute].statements]


def state(rng: random.Random, realizer: Realizer, attribute: str, entity: str, value: str,
          followup: bool = False) -> str:
    """A fact stated one way, by name or (`followup`) by a pronoun where the language has such a way."""
    forms = realizer.language.facts[attribute]
    template = rng.choice((followup and forms.followups) or forms.statements)
    return realizer.fill(template, _slots(attribute, entity, value))


def _slots(attribute: str, entity: str, value: str) -> dict[str, str]:
    about = ATTRIBUTES[attribute]
    return {about.value: value, about.subject: entity}


def true_remark(rng: random.Random, world: World, realizer: Realizer, besides: str = "", entity: str = "") -> str:
    """A true statement: about `entity` (a resident) on another attribute than `besides`, or about anyone known."""
    entity = entity or rng.choice(world.residents(obscure=False))
    attribute = rng.choice([name for name in world.known_attributes("person", entity) if name != besides])
    return state(rng, realizer, attribute, entity, world.facts[attribute, entity])


def _draw_question(rng: random.Random, world: World, realizer: Realizer, subjects: dict[str, float],
                   unanswerable: float, obscure: float) -> tuple[str, str]:
    """The attribute and the entity of a question, answerable or not."""
    if rng.random() >= unanswerable:
        kind = weighted(rng, subjects)
        entity = draw_entity(rng, world, realizer, kind, obscure)
        return rng.choice(world.known_attributes(kind, entity)), entity
    reason = weighted(rng, UNANSWERABLE)
    recorded = [name for name, about in ATTRIBUTES.items() if about.subject == "person" and about.recorded]
    if reason == "stranger":
        return rng.choice(recorded), rng.choice(list(world.strangers))
    if reason == "unknown":
        without = [key for key in world.people if world.value("person.neighbour", key) is None]
        return "person.neighbour", rng.choice(without)
    attribute = rng.choice([name for name, about in ATTRIBUTES.items()
                            if not about.recorded and about.subject in subjects])
    return attribute, draw_entity(rng, world, realizer, ATTRIBUTES[attribute].subject, obscure)


def draft_fact(rng: random.Random, world: World, realizer: Realizer, unanswerable: float, obscure: float,
               chat: bool = False) -> Draft:
    """A question about one fact; in a chat it follows an opening about the person."""
    language = realizer.language
    subjects = {"person": 1.0} if chat else FACT_SUBJECTS
    attribute, entity = _draw_question(rng, world, realizer, subjects, unanswerable, obscure)
    about, forms = ATTRIBUTES[attribute], language.facts[attribute]
    truth = world.value(attribute, entity)
    # "When did Ada sell her horse?" has a false premise: the animal is never the one that she has.
    extra = {}
    if about.extra:
        extra[about.extra] = draw_other(rng, realizer, about.extra, [world.value("person.pet", entity) or ""])
    slots = {**extra, about.subject: entity}
    question = realizer.fill(rng.choice(forms.questions), slots)
    messages = [("user", question)]
    if chat:
        opening, reply = rng.choice(language.openings)
        messages = [("user", realizer.fill(opening, slots)), ("assistant", reply), *messages]
    false = draw_other(rng, realizer, about.value, [truth or "", entity])
    wrong = tuple(statements(realizer, attribute, entity, false, extra))
    good = tuple(statements(realizer, attribute, entity, truth, extra)) if truth else _refusals(realizer, entity)
    curt = tuple(realizer.fill(text, {**slots, about.value: truth}) for text in forms.bare[:1]) if truth else ()
    task = Task(id="", category="chat" if chat else "open_qa", kind="follow_up" if chat else "fact",
                language=language.code, check="fact", question=True, answerable=truth is not None, subject=entity,
                attribute=attribute)
    resident = entity if entity in world.people else ""
    return Draft(task, tuple(messages), question, good, wrong, true_remark(rng, world, realizer, attribute, resident),
                 tuple(text + language.ends[0] for text in curt))


def _refusals(realizer: Realizer, entity: str) -> tuple[str, ...]:
    language = realizer.language
    if entity not in realizer.world.strangers:
        return language.refusals
    return (*language.refusals[:3], *(realizer.fill(text, {"person": entity}) for text in language.stranger_refusals))


def draft_profile(rng: random.Random, world: World, realizer: Realizer, unanswerable: float, obscure: float) -> Draft:
    """A request for some sentences about an entity; an entity nobody knows wants a refusal."""
    stranger = rng.random() < unanswerable
    kind = "person" if stranger else weighted(rng, PROFILE_SUBJECTS)
    entity = rng.choice(list(world.strangers)) if stranger else draw_entity(rng, world, realizer, kind, obscure)
    count = rng.choice((2, 3)) if kind == "person" else 2
    name = realizer.words[kind][entity]
    prompt = realizer.fill(rng.choice(realizer.language.profile), {"count": str(count)},
                           subject=name.counted if kind in ("animal", "job") else name.plain)
    recorded = [name for name, about in ATTRIBUTES.items() if about.subject == kind and about.recorded]
    truth = {name: world.value(name, entity) for name in recorded}
    if stranger:
        good = tuple(realizer.fill(text, {"person": entity}) for text in realizer.language.stranger_refusals)
        wrong = tuple(_sentences(rng, realizer, entity, truth, recorded, count, spoiled=count) for _ in range(2))
        curt: tuple[str, ...] = ()
    else:
        known = [name for name in recorded if truth[name]]
        good = tuple(_sentences(rng, realizer, entity, truth, known, count) for _ in range(3))
        wrong = tuple(_sentences(rng, realizer, entity, truth, known, count, spoiled=1) for _ in range(2))
        curt = (_sentences(rng, realizer, entity, truth, known, 1),)
    task = Task(id="", category="generation", kind="profile", language=realizer.language.code, check="profile",
                question=True, answerable=not stranger, subject=entity, count=count)
    return Draft(task, (("user", prompt),), prompt, good, wrong, true_remark(rng, world, realizer), curt)


def _sentences(rng: random.Random, realizer: Realizer, entity: str, truth: dict[str, str | None], names: list[str],
               count: int, spoiled: int = 0) -> str:
    """Sentences about an entity, the first by name and the rest by pronoun; `spoiled` of them are false."""
    false = set(rng.sample(range(count), spoiled))
    sentences = []
    for place, name in enumerate(rng.sample(names, count)):
        value = truth[name]
        if place in false:
            value = draw_other(rng, realizer, ATTRIBUTES[name].value, [value or "", entity])
        sentences.append(state(rng, realizer, name, entity, value, followup=place > 0))
    return realizer.language.space.join(sentences)
