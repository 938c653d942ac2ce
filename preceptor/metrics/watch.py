"""Watching a text as it is written: whether it has begun to go round in circles.

A text is a sequence of units: words, Chinese characters, signs, line ends, or a model's tokens. Numbers count as
equal, so that "step 17: ... step 18: ..." is a loop like any other. A loop is an end of the text in which every unit
equals the one a period earlier. How long it must be depends on what repeats, because much honest text repeats: rules of
tables, rows of code, refrains, laughter. `docs/repetition.md` has the thresholds and what they reach.

Each unit costs a few dictionary look-ups, whatever the length of the text.
"""

import math
import re
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

SEED = 8  # units that must agree before a period is looked at
SURE = 16  # repeated units that are a loop, where they are also one and a half periods
CHANT = 32  # of a period of one or two units: laughter, la la la
COUNTED = 24  # of a period whose numbers change, and of lines without a full stop
RULES = 240  # of a period without letters: lines of tables, zeros, separators
OFTEN = 4  # times that one sentence may not be said within the last NEAR units
NEAR = 200
LONG_SENTENCE = 6  # units from which a sentence counts
SIGNS_OF_CODE = 0.35  # share of signs from which a period is a table or code

_EAST_ASIAN = "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_UNIT = re.compile(rf"\n|\d+|[{_EAST_ASIAN}]|```|_|[^\W\d_{_EAST_ASIAN}]{{1,12}}|[^\w\s]")


class Kind(IntEnum):
    """What a unit is."""

    LETTERS = 0
    NUMBER = 1
    SIGN = 2
    LINE = 3


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit of text. Units with equal `key` are the same to the watch; `raw` tells numbers apart."""

    key: Hashable
    raw: Hashable
    kind: Kind
    ends_sentence: bool = False
    fence: bool = False


@dataclass(frozen=True, slots=True)
class Loop:
    """A loop: `start` is the place of its second copy's first unit, counted from the first unit that was added."""

    kind: Literal["character", "phrase", "sentence", "numerical", "meaning"]
    start: int
    period: int
    """Units of one copy; of a sentence said again and again, not one after the other: of the sentence."""


def unit_of(text: str, key: Hashable | None = None) -> Unit:
    """The unit that a piece of text is; `key` stands for a piece that is no whole character."""
    bare = text.strip(" \t")
    if bare.isdigit():
        return Unit("0", bare, Kind.NUMBER)
    kind = Kind.LETTERS if any(map(str.isalpha, bare)) or "\ufffd" in bare else \
        Kind.LINE if "\n" in bare else Kind.SIGN
    return Unit(text if key is None else key, text if key is None else key, kind,
                ends_sentence=bare.endswith((".", "!", "?", "。", "！", "？", "\n")), fence="```" in bare)


def units(text: str) -> list[Unit]:
    """A text as units: words (long ones in pieces), Chinese characters, numbers, signs, line ends."""
    return [unit_of(piece.lower()) for piece in _UNIT.findall(text)]


class Watch:
    """Looks at one text as it grows."""

    def __init__(self) -> None:
        self.keys: list[Hashable] = []
        self.units: list[Unit] = []
        self.places: list[int] = []  # of what was added: a number in several pieces is one unit
        self.added = 0
        self._seen: dict[tuple, int] = {}
        self._period = self._run = 0
        self._in_fence = False
        self._sentence_start = 0
        self._sentences: dict[tuple, list[int]] = {}

    def add(self, unit: Unit) -> Loop | None:
        """Look at one more unit; returns the loop that the text has fallen into, if it has."""
        self.added += 1
        if unit.kind is Kind.NUMBER and self.units and self.units[-1].kind is Kind.NUMBER:
            self.units[-1] = Unit("0", (self.units[-1].raw, unit.raw), Kind.NUMBER)
            return None
        self.keys.append(unit.key)
        self.units.append(unit)
        self.places.append(self.added - 1)
        self._in_fence ^= unit.fence
        self._follow()
        if self._period and self._run >= max(SURE, 1.5 * self._period) and self._run >= self._needed():
            return self._loop()
        return self._sentence() if unit.ends_sentence else None

    def _follow(self) -> None:
        """Go on with the period at hand, or find one: where the last units stood last before."""
        last, keys = len(self.keys) - 1, self.keys
        if self._period:
            if keys[last] == keys[last - self._period]:
                self._run += 1
            else:
                self._period = self._run = 0
        if last + 1 >= SEED:
            gram = tuple(keys[last + 1 - SEED:])
            before = self._seen.get(gram)
            self._seen[gram] = last
            if before is not None and not self._period:
                self._period = last - before
                run = SEED
                while run <= last - self._period and keys[last - run] == keys[last - run - self._period]:
                    run += 1
                self._run = run

    def _needed(self) -> int:
        """How many units must repeat before this period is a loop."""
        period = self._period
        copy = self.units[-period:]
        letters = sum(unit.kind is Kind.LETTERS for unit in copy)
        signs = sum(unit.kind is Kind.SIGN for unit in copy)
        lines = sum(unit.kind is Kind.LINE for unit in copy)
        if letters == 0:
            return max(RULES, period)
        if self._in_fence or signs > SIGNS_OF_CODE * period:
            return max(5 * period, RULES if self._counts() else 4 * SURE)
        if self._counts():
            return max(math.ceil(1.75 * period), COUNTED) if letters >= 3 else RULES
        if period <= 2:
            return CHANT
        ends = sum(unit.ends_sentence and unit.kind is not Kind.LINE for unit in copy)
        if lines and not ends:  # lines without a full stop: verse, lists
            return max(2 * period, COUNTED)
        return max(math.ceil(1.5 * period), SURE)

    def _counts(self) -> bool:
        """Whether the copies differ in a number."""
        period = self._period
        return any(unit.kind is Kind.NUMBER and unit.raw != before.raw
                   for unit, before in zip(self.units[-period:], self.units[-2 * period:-period]))

    def _loop(self) -> Loop:
        kind = "numerical" if self._counts() else "character" if self._period <= 2 else "phrase"
        copy = self.units[-self._period:]
        if kind == "phrase" and any(unit.ends_sentence for unit in copy):
            kind = "sentence"
        return Loop(kind, self.places[len(self.units) - self._run], self._period)

    def _sentence(self) -> Loop | None:
        """Whether the sentence that ends here has been said too often, whatever stood between."""
        start, self._sentence_start = self._sentence_start, len(self.units)
        said = tuple(self.keys[start:])
        copy = self.units[start:]
        letters = sum(unit.kind is Kind.LETTERS for unit in copy)
        if len(said) < LONG_SENTENCE or letters < LONG_SENTENCE - 1 or self._in_fence or copy[-1].kind is Kind.LINE:
            return None
        if any(unit.kind is Kind.NUMBER for unit in copy):  # may well count through something
            return None
        recent = [place for place in self._sentences.get(said, ()) if place > start - NEAR]
        self._sentences[said] = [*recent, start]
        if len(recent) + 1 < OFTEN:
            return None
        return Loop("sentence", self.places[start], len(said))


def first_loop(pieces: Iterable[Unit]) -> tuple[Loop, int] | None:
    """The first loop of a text and the number of units after which it was seen, or None."""
    watch = Watch()
    for number, unit in enumerate(pieces, start=1):
        loop = watch.add(unit)
        if loop:
            return loop, number
    return None
