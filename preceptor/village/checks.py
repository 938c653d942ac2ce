"""How the oracle reads the content of an answer: one check for each kind of task.

    fact     a question about one attribute of one entity
    profile  some sentences about an entity
    wanted   an answer that must name certain words (letters, stories, summaries, labels, sums, closed questions)
    exact    an answer that must be one of a few sentences (rewriting)
    members  a list of distinct members of a class (brainstorming)

Each returns accuracy and relevance from 0 to 1 and an outcome. Partial accuracy is cubed: half right is far from half
good.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Self

from preceptor.village.claims import Claim, ClaimReader
from preceptor.village.grammar import Grammar
from preceptor.village.language import load_language
from preceptor.village.realizer import Realizer, Token
from preceptor.village.tasks import Task
from preceptor.village.world import World

NEEDLESS_REFUSAL = 0.25     # accuracy of "I do not know" where the world knows
SAME_SUBJECT = 0.1          # relevance of an answer that speaks of the right entity but not of what was asked
PARTIAL = 3                 # exponent of the share of what is right
LISTED = ("item", "hobby", "food", "animal", "job", "town", "colour")


@dataclass(frozen=True)
class Reader:
    """The oracle's eyes for one language."""

    world: World
    realizer: Realizer
    grammar: Grammar
    claims: ClaimReader

    @classmethod
    def of(cls, code: str, world: World) -> Self:
        """The reader of a language by its code."""
        realizer = Realizer(load_language(code), world)
        return cls(world, realizer, Grammar(realizer), ClaimReader(realizer))


@dataclass(frozen=True)
class Content:
    """What an answer says, in accuracy and relevance."""

    accuracy: float
    relevance: float
    outcome: str
    refused: bool = False


def _refusal(task: Task) -> Content:
    if task.answerable:
        return Content(NEEDLESS_REFUSAL, 1.0, "refused_needlessly", refused=True)
    return Content(1.0, 1.0, "refused_rightly", refused=True)


def _all_true(claims: Sequence[Claim], world: World) -> bool:
    return all(claim.true_in(world) for claim in claims)


def check_fact(reader: Reader, task: Task, text: str, tokens: Sequence[Token]) -> Content:
    """An assertion on what was asked decides; else a refusal; else the answer speaks of something else."""
    claims = reader.claims.claims(text, task.subject)
    if not claims and (value := reader.claims.bare_value(text, task.attribute)) is not None:
        claims = [Claim(task.attribute, task.subject, value)]
    true = _all_true(claims, reader.world)
    if any((claim.attribute, claim.subject) == (task.attribute, task.subject) for claim in claims):
        return Content(float(true), 1.0, "correct" if true else "false")
    if not true:
        return Content(0.0, SAME_SUBJECT, "false")
    if reader.claims.refuses(text):
        return _refusal(task)
    about = any(token.key == task.subject for token in tokens) or any(claim.subject == task.subject for claim in claims)
    return Content(float(bool(claims)), SAME_SUBJECT if about else 0.0, "evaded")


def check_profile(reader: Reader, task: Task, text: str, tokens: Sequence[Token]) -> Content:
    """The claims about the subject are counted against the sentences that were asked for."""
    claims = reader.claims.claims(text, task.subject)
    about = [claim for claim in claims if claim.subject == task.subject]
    if not about and reader.claims.refuses(text):
        return _refusal(task)
    if not about:
        named = any(token.key == task.subject for token in tokens)
        outcome = "evaded" if _all_true(claims, reader.world) else "false"
        return Content(0.0, SAME_SUBJECT if named else 0.0, outcome)
    true = sum(claim.true_in(reader.world) for claim in claims) / len(claims)
    relevance = min(1.0, len(about) / task.count)
    outcome = "false" if true < 1 else "correct" if relevance == 1 else "incomplete"
    return Content(true ** PARTIAL, relevance, outcome)


def check_wanted(reader: Reader, task: Task, text: str, tokens: Sequence[Token]) -> Content:
    """Relevance counts the wanted classes that are spoken of, accuracy the wanted words against wrong ones."""
    if reader.claims.refuses(text) and task.question:
        return _refusal(task)
    named = {(token.kind, token.key) for token in tokens if token.kind}
    if not task.answerable:
        return Content(0.0, float(bool(named)), "false" if named else "evaded")
    wanted = {(slot.rstrip("0123456789"), task.slots[slot]) for slot in task.wanted}
    allowed = {(slot.rstrip("0123456789"), key) for slot, key in task.slots.items()}
    kinds = [kind for kind, _ in wanted]
    addressed = sum(min(kinds.count(kind), sum(other == kind for other, _ in named)) for kind in set(kinds))
    wrong = sum(kind in kinds and (kind, key) not in allowed for kind, key in named)
    wrong += sum(not claim.true_in(reader.world) for claim in reader.claims.claims(text, None))
    right = len(wanted & named)
    if not addressed:
        return Content(0.0, 0.0, "evaded")
    accuracy = (right / max(addressed, right + wrong)) ** PARTIAL
    complete = right == len(wanted)
    outcome = "correct" if accuracy == 1 and complete else "false" if accuracy < 1 else "incomplete"
    return Content(accuracy, addressed / len(wanted), outcome)


def check_exact(reader: Reader, task: Task, text: str, tokens: Sequence[Token]) -> Content:
    """A text with a good answer among its sentences is right; else the nearest one counts by its matching tokens."""
    words = [token.text for token in tokens if token.text[0].isalnum()]
    sentences = [[token.text for token in reader.realizer.tokens(part)] for part in reader.realizer.sentences(text)]
    best = 0.0
    for answer in task.answers:
        target = [token.text for token in reader.realizer.tokens(answer)]
        # The final mark belongs to it: it tells a question from the statement with the same words.
        if target in sentences:
            return Content(1.0, 1.0, "correct")
        spoken = [word for word in target if word[0].isalnum()]
        best = max(best, SequenceMatcher(None, words, spoken, autojunk=False).ratio())
    # Half of the tokens in common is chance in so small a world.
    near = max(0.0, 2 * best - 1)
    return Content(0.5 * near ** 2, near, "false")


def check_members(reader: Reader, task: Task, text: str, tokens: Sequence[Token]) -> Content:
    """Distinct members found against the number wanted; words of other lists, and too many members, are wrong."""
    given = set(task.slots.values())
    named = {(token.kind, token.key) for token in tokens if token.kind in LISTED and token.key not in given}
    found = sum(kind == task.attribute for kind, _ in named)
    if not found:
        return Content(0.0, 0.0, "evaded")
    accuracy = (found / len(named)) ** PARTIAL * min(1.0, task.count / found)
    return Content(accuracy, min(1.0, found / task.count), "correct" if accuracy == 1 else "false")


CHECKS = {"fact": check_fact, "profile": check_profile, "wanted": check_wanted, "exact": check_exact,
          "members": check_members}
