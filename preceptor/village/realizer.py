"""Surface realisation: from templates and keys to text, and from text back to the tokens that the oracle reads.

A token is a whole name, a whole class word with or without its article, a number, a mark, or else a word (English) or
a character (Chinese). A token of a class knows its class and key, so that "a cat" and "a dog" have the same shape.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from preceptor.village.language import PRONOUNS, SLOT, Language, Word
from preceptor.village.world import Person, World

NOBODY = "nobody"       # the key of a well-formed name that no resident or stranger bears


@dataclass(frozen=True, slots=True)
class Token:
    """A token in lower case. `kind` and `key` are set for members of a class; `counted` tells "a cat" from "cat"."""

    text: str
    kind: str = ""
    key: str = ""
    counted: bool = False

    @property
    def shape(self) -> str:
        """What grammar sees: the class in angle brackets, or the word itself."""
        return f"<{'a_' * self.counted}{self.kind}>" if self.kind else self.text


class Realizer:
    """One language spoken about one world."""

    def __init__(self, language: Language, world: World) -> None:
        self.language, self.world = language, world
        self.words = {**language.words, "person": self._names()}
        self._lexicon = self._build_lexicon()
        english = language.code == "en"
        self._raw = re.compile(r"\d+|[a-z]+(?:'[a-z]+)?|\S" if english else r"\d+|[a-z]+|\S")
        self._glue = " " if english else ""
        # First part of a surface -> parts of the longest surface that begins so; most words begin none.
        self._spans: dict[str, int] = {}
        for surface in self._lexicon:
            parts = self._raw.findall(surface)
            self._spans[parts[0]] = max(len(parts), self._spans.get(parts[0], 1))
        self._ends = re.compile(f"(?<=[{re.escape(language.ends)}])\\s*|\\n+")
        self._openings = re.compile(r"(^|[.!?]\s+|\n)([a-z])")

    def _first(self, person: Person) -> str:
        return (self.language.female_names if person.female else self.language.male_names)[person.first]

    def _full(self, first: str, last: str) -> str:
        return self.language.name.format(first=first, last=last)

    def _names(self) -> dict[str, Word]:
        persons = [*self.world.people.values(), *self.world.strangers.values()]
        firsts = [self._first(person) for person in persons]
        counts = {first: firsts.count(first) for first in set(firsts)}
        names = {}
        for person, first in zip(persons, firsts):
            full = self._full(first, self.language.last_names[person.last])
            # The short name is used where it names one person only; Chinese people are called by their full name.
            names[person.key] = Word(full, first if self.language.code == "en" and counts[first] == 1 else full)
        return names

    def _build_lexicon(self) -> dict[str, Token]:
        language, lexicon = self.language, {}
        for first in (*language.male_names, *language.female_names):
            for last in language.last_names:
                full = self._full(first, last).lower()
                lexicon[full] = Token(full, "person", NOBODY)
        for kind, words in self.words.items():
            for key, word in words.items():
                for text in (word.counted.lower(), word.plain.lower()):
                    lexicon[text] = Token(text, kind, key, kind != "person" and text != word.plain.lower())
        for kind, pair in language.pronouns.items():
            lexicon.update({text: Token(text, kind, text) for text in pair})
        return lexicon

    def fill(self, template: str, slots: dict[str, str], **texts: str) -> str:
        """The template with its slots replaced by words; `texts` gives slots that are text already."""
        def replace(match: re.Match[str]) -> str:
            prefix, kind, digits = match.groups()
            if kind in texts:
                return texts[kind]
            if kind in PRONOUNS:
                return self.language.pronouns[kind][self.world.person(slots["person" + digits]).female]
            key = slots[kind + digits]
            if kind == "number":
                return key
            word = self.words[kind][key]
            return word.counted if prefix else word.plain
        return self.capitalise(SLOT.sub(replace, template))

    def capitalise(self, text: str) -> str:
        """Capital letters where sentences begin (English)."""
        if self.language.code != "en":
            return text
        return self._openings.sub(lambda match: match[1] + match[2].upper(), text)

    def join(self, words: Sequence[str]) -> str:
        """A list in words: "a hat, a lamp and a pen"."""
        if len(words) < 2:
            return "".join(words)
        return self.language.comma.join(words[:-1]) + self.language.last_and + words[-1]

    def sentences(self, text: str) -> list[str]:
        """The sentences of a text, with their final marks."""
        return [part.strip() for part in self._ends.split(text) if part and part.strip()]

    def tokens(self, text: str) -> list[Token]:
        """The tokens of a text; at each place the longest known name or class word is taken."""
        text = text.lower().replace("’", "'").replace("don't", "do not")
        raw, found, place = self._raw.findall(text), [], 0
        while place < len(raw):
            token, span = self._longest(raw, place)
            found.append(token)
            place += span
        return found

    def _longest(self, raw: Sequence[str], place: int) -> tuple[Token, int]:
        """The token at a place and the parts that it takes."""
        surface = raw[place]
        for span in range(min(self._spans.get(surface, 0), len(raw) - place), 0, -1):
            token = self._lexicon.get(self._glue.join(raw[place:place + span]))
            if token:
                return token, span
        return Token(surface, *(("number", surface) if surface.isdecimal() else ())), 1

    def pattern(self, template: str) -> list[Token | tuple[str, str]]:
        """A template as tokens; a slot is the pair (shape, slot name)."""
        parts, start = [], 0
        for match in SLOT.finditer(template):
            parts += self.tokens(template[start:match.start()])
            prefix, kind, digits = match.groups()
            counted = prefix == "a_" and any(word.counted != word.plain for word in self.words.get(kind, {}).values())
            parts.append((f"<{'a_' * counted}{kind}>", kind + digits))
            start = match.end()
        return parts + self.tokens(template[start:])

    def length(self, text: str) -> int:
        """Tokens that are not marks: the measure of concision."""
        return sum(token.text[0].isalnum() for token in self.tokens(text))
