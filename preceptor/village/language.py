"""What a language must say: words by class, the ways to state and ask each fact, and templated tasks.

A template holds slots in braces: `{job}` is the plain word, `{a_job}` the counted one ("a baker", "一位面包师"),
`{first_person}` the short name, `{person2}` a second member of the same class, `{he}` and `{his}` the pronouns of
`{person}`. The name of a slot names its class, so that the machinery needs to know no language.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass

SLOT = re.compile(r"\{(a_|first_)?([a-z]+?)(\d*)\}")
PRONOUNS = ("he", "his")
LANGUAGES = {"en": ("en",), "zh": ("zh",), "both": ("en", "zh")}


@dataclass(frozen=True)
class Word:
    """A word alone and with its article or measure word; for people, `counted` is the short name."""

    plain: str
    counted: str


@dataclass(frozen=True)
class FactForms:
    """The ways to speak of one attribute. `followups` speak of the subject by a pronoun; `bare` is a fragment."""

    questions: tuple[str, ...]
    statements: tuple[str, ...]
    followups: tuple[str, ...] = ()
    bare: tuple[str, ...] = ()


@dataclass(frozen=True)
class Form:
    """A templated task: prompts and good answers over the same slots.

    `wanted` are the slots that an answer must name. With `exact`, the answer must be one of `answers`.
    `derive` names the rule by which one slot follows from others (see `forms.DERIVATIONS`); `fixed` gives slots that
    do not vary. `refuses` marks a question that its own text does not answer.
    """

    prompts: tuple[str, ...]
    answers: tuple[str, ...]
    wanted: tuple[str, ...] = ()
    curt: tuple[str, ...] = ()
    exact: bool = False
    derive: str = ""
    fixed: tuple[tuple[str, str], ...] = ()
    invented: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ideas:
    """A brainstorming task: `{count}` distinct words of the class `members`, put into `{list}`."""

    prompts: tuple[str, ...]
    answers: tuple[str, ...]
    members: str


@dataclass(frozen=True)
class Language:
    """Everything that the machinery needs to speak one language."""

    code: str
    words: dict[str, dict[str, Word]]
    male_names: tuple[str, ...]
    female_names: tuple[str, ...]
    last_names: tuple[str, ...]
    name: str                               # how first and last name are joined
    facts: dict[str, FactForms]
    forms: dict[str, dict[str, Form]]       # category -> kind -> form
    passages: tuple[str, ...]               # short reports
    ideas: dict[str, Ideas]
    profile: tuple[str, ...]                # prompts that want {count} sentences about {subject}
    openings: tuple[tuple[str, str], ...]   # a user's first message about {person}, the assistant's reply
    refusals: tuple[str, ...]
    stranger_refusals: tuple[str, ...]
    fillers_before: tuple[str, ...]
    fillers_after: tuple[str, ...]
    rude_lines: tuple[str, ...]
    rude_words: tuple[str, ...]
    prefaces: tuple[str, ...]               # who the user is
    rumours: tuple[str, ...]                # openings of false rumours
    boilerplate: tuple[str, ...]
    list_titles: dict[str, str]
    question_label: str
    answer_label: str
    reply_label: str
    replies: dict[str, str]                 # what a forum says of an answer, by its style
    colon: str
    comma: str
    last_and: str
    pronouns: dict[str, tuple[str, str]]    # of a man, of a woman
    space: str                              # between sentences
    ends: str                               # characters that end a sentence


def templates(part: object) -> Iterator[str]:
    """Every string inside a language's data, the word lists and names excepted."""
    if isinstance(part, str):
        yield part
    elif isinstance(part, dict):
        for value in part.values():
            yield from templates(value)
    elif isinstance(part, (tuple, list)):
        for value in part:
            yield from templates(value)
    elif is_dataclass(part):
        for field in fields(part):
            if field.name not in {"words", "male_names", "female_names", "last_names", "code", "derive",
                                  "fixed", "wanted", "members", "pronouns", "rude_words"}:
                yield from templates(getattr(part, field.name))


def load_language(code: str) -> Language:
    """The language of a code, "en" or "zh"."""
    if code == "en":
        from preceptor.village.english import english
        return english()
    from preceptor.village.chinese import chinese
    return chinese()
