"""What a text asserts: sentences are matched against the statements of every attribute.

A claim is (attribute, subject, value). Questions assert nothing. A pronoun speaks of the subject of the last claim,
at first of the subject of the task. A claim is true when the world records exactly that value; a claim about a
stranger, or of an attribute that the world does not record, is therefore false.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from preceptor.village.realizer import Realizer, Token
from preceptor.village.world import ATTRIBUTES, World

Pattern = list[Token | tuple[str, str]]


@dataclass(frozen=True)
class Claim:
    """One assertion about the world."""

    attribute: str
    subject: str
    value: str

    def true_in(self, world: World) -> bool:
        """Whether the world records this value."""
        return world.value(self.attribute, self.subject) == self.value


class ClaimReader:
    """Finds claims and refusals in the text of one language."""

    def __init__(self, realizer: Realizer) -> None:
        self._realizer = realizer
        language = realizer.language
        self._statements = [(name, Phrase(self._pattern(text))) for name, forms in language.facts.items()
                            for text in (*forms.statements, *forms.followups)]
        self._bare = {name: [self._pattern(text) for text in forms.bare] for name, forms in language.facts.items()}
        unstated = {answer for forms in language.forms.values() for form in forms.values() if form.invented
                    for answer in form.answers}
        self._refusals = [Phrase(self._pattern(text)) for text in
                          (*language.refusals, *language.stranger_refusals, *sorted(unstated))]

    def _pattern(self, template: str) -> Pattern:
        return self._realizer.pattern(template.rstrip(self._realizer.language.ends))

    def claims(self, text: str, subject: str | None) -> list[Claim]:
        """The distinct claims of a text in order; `subject` is whom a first pronoun means."""
        found: dict[Claim, None] = {}
        for sentence in self._realizer.sentences(text):
            if sentence[-1] in "?？":
                continue
            tokens = self._realizer.tokens(sentence)
            present = {token.text for token in tokens}
            for name, phrase in self._statements:
                for slots in phrase.occurrences(tokens, present):
                    attribute = ATTRIBUTES[name]
                    subject = slots.get(attribute.subject, subject)
                    found[Claim(name, subject or "", slots[attribute.value])] = None
        return list(found)

    def bare_value(self, text: str, attribute: str) -> str | None:
        """The value named by a text that is nothing but a value ("A baker.", "In Oakfield."), or None."""
        tokens = [token for token in self._realizer.tokens(text) if token.text not in self._realizer.language.ends]
        for pattern in self._bare[attribute]:
            slots = _match(pattern, tokens)
            if slots is not None:
                return slots[ATTRIBUTES[attribute].value]
        return None

    def refuses(self, text: str) -> bool:
        """Whether the text says that it does not know."""
        tokens = self._realizer.tokens(text)
        present = {token.text for token in tokens}
        return any(True for phrase in self._refusals for _ in phrase.occurrences(tokens, present))


class Phrase:
    """A pattern to be found anywhere in a sentence."""

    def __init__(self, pattern: Pattern) -> None:
        self._pattern = pattern
        self._literals = {part.text for part in pattern if isinstance(part, Token)}

    def occurrences(self, tokens: Sequence[Token], present: set[str]) -> Iterator[dict[str, str]]:
        """The keys of the slots at each place where the pattern fits; `present` are the texts of the tokens."""
        if self._literals <= present:       # rules most patterns out at a glance
            for start in range(len(tokens) - len(self._pattern) + 1):
                slots = _match(self._pattern, tokens[start:start + len(self._pattern)])
                if slots is not None:
                    yield slots


def _match(pattern: Pattern, tokens: Sequence[Token]) -> dict[str, str] | None:
    """The keys of the slots where tokens fit a pattern of the same length, else None."""
    if len(pattern) != len(tokens):
        return None
    slots = {}
    for part, token in zip(pattern, tokens):
        if isinstance(part, tuple):
            shape, slot = part
            # "is baker" asserts what "is a baker" does; the missing article is a matter of naturalness.
            if not token.kind or shape.strip("<>").removeprefix("a_") != token.kind:
                return None
            slots[slot] = token.key
        elif part.text != token.text:
            return None
    return slots
