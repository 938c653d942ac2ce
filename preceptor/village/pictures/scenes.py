"""Scenes: which things of which colour stand where. A scene knows no language and holds the truth of its picture.

A combination is a thing of a colour ("red hat"). Every thing lacks one colour, and every colour one thing, in training:
only the split `heldout` shows those, so that a model must put together what it knows apart.
"""

import random
from collections import Counter
from dataclasses import dataclass

from preceptor.village.pictures.outlines import OUTLINES

COLOURS = ("red", "blue", "green", "yellow", "white", "black", "brown", "purple")
GROUNDS = 3             # plain backgrounds, which no sentence names
GAP = 2                 # background pixels between two things, so that they never touch
MOST_ALIKE = 3          # things of one combination
ATTEMPTS = 200          # places tried for a thing before the scene is drawn anew
RELATIONS = ("left_of", "right_of", "above", "below")

Combination = tuple[str, str]       # colour, kind
Box = tuple[int, int, int, int]     # left, top, right, bottom in pixels, the last two excluded


@dataclass(frozen=True)
class Thing:
    """A thing in a picture; its box is as tight as its paint."""

    colour: str
    kind: str
    box: Box

    @property
    def combination(self) -> Combination:
        return self.colour, self.kind


@dataclass(frozen=True)
class Scene:
    """A picture `size` pixels wide and high."""

    size: int
    ground: int
    things: tuple[Thing, ...]

    def counts(self) -> Counter[Combination]:
        """How many there are of each combination, in the order of the things."""
        return Counter(thing.combination for thing in self.things)

    def single(self) -> list[Thing]:
        """The things that are the only one of their combination, so that a phrase can mean no other."""
        counts = self.counts()
        return [thing for thing in self.things if counts[thing.combination] == 1]


def relations(one: Thing, other: Thing) -> list[str]:
    """Where `one` is, seen from `other`: only what holds of the whole boxes, so at most one of each direction."""
    left, top, right, bottom = one.box
    holds = {"left_of": right <= other.box[0], "right_of": left >= other.box[2],
             "above": bottom <= other.box[1], "below": top >= other.box[3]}
    return [name for name in RELATIONS if holds[name]]


def draw_heldout(rng: random.Random) -> set[Combination]:
    """One colour of every kind and one kind of every colour."""
    return set(zip(rng.sample(COLOURS, len(COLOURS)), OUTLINES, strict=True))


def draw_scene(rng: random.Random, size: int, most: int, allowed: list[Combination],
               first: list[Combination]) -> Scene:
    """A scene of one to `most` things: one combination of `first`, the others of `allowed`."""
    while True:
        wanted = rng.randint(1, most)
        combinations = [rng.choice(first)]
        while len(combinations) < wanted:
            # A second of the same in half of the cases, so that counts beyond one are common.
            again = rng.random() < 0.5 and combinations.count(combinations[-1]) < MOST_ALIKE
            new = combinations[-1] if again else rng.choice(allowed)
            if again or new not in combinations:
                combinations.append(new)
        things = _place(rng, size, combinations)
        if things is not None:
            return Scene(size, rng.randrange(GROUNDS), things)


def _place(rng: random.Random, size: int, combinations: list[Combination]) -> tuple[Thing, ...] | None:
    """Put each where it touches no other, or None where there is no room."""
    things: list[Thing] = []
    for colour, kind in combinations:
        for _ in range(ATTEMPTS):
            width, height = OUTLINES[kind].extent(rng.randint(size // 6, size // 4))
            left, top = rng.randint(1, size - width - 1), rng.randint(1, size - height - 1)
            box = (left, top, left + width, top + height)
            if not any(_near(box, thing.box) for thing in things):
                things.append(Thing(colour, kind, box))
                break
        else:
            return None
    return tuple(things)


def _near(one: Box, other: Box) -> bool:
    return (one[0] < other[2] + GAP and other[0] < one[2] + GAP
            and one[1] < other[3] + GAP and other[1] < one[3] + GAP)
