"""What can be asked and said of a scene, without a language: one question of each kind that the scene decides."""

import random
from collections import Counter
from dataclasses import dataclass

from preceptor.village.pictures.scenes import Combination, Scene, Thing, relations

OPPOSITE = {"left_of": "right_of", "right_of": "left_of", "above": "below", "below": "above"}
YES_NO = ("yes", "no")


@dataclass(frozen=True)
class Question:
    """A question of a kind and its answer: a colour, a kind of thing, "yes" or "no", or as it stands (digits, a box).

    `about` and `other` are the combinations named, `relation` what is asked of the two.
    """

    kind: str
    about: Combination
    answer: str
    other: Combination | None = None
    relation: str = ""


def draw_relation(scene: Scene, rng: random.Random) -> tuple[Thing, str, Thing] | None:
    """Two things that a phrase can tell apart and where the one is, seen from the other."""
    single = scene.single()
    found = [(one, name, other) for one in single for other in single if one is not other
             for name in relations(one, other)]
    return rng.choice(found) if found else None


def draw_questions(scene: Scene, rng: random.Random, allowed: list[Combination]) -> list[Question]:
    """At most one question of each kind. What is asked about and is not there is one of `allowed`."""
    questions = _on_features(scene, rng)
    counts = scene.counts()
    about = rng.choice([one for one, count in counts.items() if count == max(counts.values())])
    questions.append(Question("count", about, str(counts[about])))
    questions.append(_presence(scene, rng, allowed))
    if single := scene.single():
        thing = rng.choice(single)
        questions.append(Question("box", thing.combination, str(list(thing.box))))
    if drawn := draw_relation(scene, rng):
        one, name, other = drawn
        answer = rng.choice(YES_NO)
        asked = name if answer == "yes" else OPPOSITE[name]
        questions.append(Question("relation", one.combination, answer, other.combination, asked))
    return questions


def _on_features(scene: Scene, rng: random.Random) -> list[Question]:
    """The colour of a thing that is the only one of its kind, and the kind of the only one of its colour."""
    colours, kinds = (Counter(getattr(thing, name) for thing in scene.things) for name in ("colour", "kind"))
    questions = []
    if only := [thing for thing in scene.things if kinds[thing.kind] == 1]:
        thing = rng.choice(only)
        questions.append(Question("colour", thing.combination, thing.colour))
    if only := [thing for thing in scene.things if colours[thing.colour] == 1]:
        thing = rng.choice(only)
        questions.append(Question("thing", thing.combination, thing.kind))
    return questions


def _presence(scene: Scene, rng: random.Random, allowed: list[Combination]) -> Question:
    """Whether there is a combination; what is absent is, where it can be, put together of what is there."""
    there = scene.counts()
    answer = rng.choice(YES_NO)
    if answer == "yes":
        return Question("presence", rng.choice(list(there)), answer)
    absent = [one for one in allowed if one not in there]
    colours, kinds = {colour for colour, _ in there}, {kind for _, kind in there}
    mixed = [one for one in absent if one[0] in colours and one[1] in kinds]
    return Question("presence", rng.choice(mixed or absent), answer)
