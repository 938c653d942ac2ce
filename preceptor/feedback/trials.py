"""What candidates write in the screening test of InstructGPT's appendix B.

Its third part: demonstrations for prompts that are sensitive, where a good answer needs nuance; those who set the test
score each from 1 to 7, here without seeing who wrote it. Its fourth: for which topics and groups a candidate can tell
sensitive speech, by his own word. Neither is ever trained on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from statistics import fmean

import sqlalchemy as sql

from preceptor.data.records import Prompt
from preceptor.feedback.audit import note
from preceptor.feedback.labelers import hold
from preceptor.feedback.store import Store, insert_new, key_of
from preceptor.feedback.tables import prompts, self_assessments, trial_answers, trial_scores, trials
from preceptor.feedback.writings import check_text
from preceptor.run.errors import UserError

HIGHEST = 7  # of the scale from 1
TOPICS = ("gender", "orientation", "ethnicity", "nationality", "religion", "disability", "age", "politics", "violence",
          "self_harm")
LONGEST_WORDS = 1000


@dataclass(frozen=True, slots=True)
class Trial:
    """A prompt to which candidates write a demonstration, what a labeler wrote so far, and whether that has a score."""

    key: str
    prompt: Prompt
    text: str
    scored: bool


@dataclass(frozen=True, slots=True)
class Demonstration:
    """A demonstration that waits for a score; whose it is, is not told."""

    number: int
    prompt: Prompt
    text: str


@dataclass(frozen=True, slots=True)
class Written:
    """How many demonstrations somebody wrote, how many of them have a score, and the mean score, from 1 to 7."""

    written: int
    scored: int
    mean: float | None


@dataclass(frozen=True, slots=True)
class SelfAssessment:
    """The topics and groups for which somebody says that he can tell sensitive speech, and his own words on it."""

    topics: list[str]
    words: str


def add_trials(store: Store, asked: Sequence[Prompt], who: str = "preceptor") -> int:
    """Add prompts to which candidates shall write a demonstration; returns how many were not there yet."""
    rows = {key_of(prompt.to_dict()): prompt.to_dict() for prompt in asked}
    with store.writing() as connection:
        insert_new(connection, prompts, [{"key": key, "record": record} for key, record in rows.items()])
        added = insert_new(connection, trials, [{"prompt": key} for key in rows])
        note(store, connection, who, "trials added", prompts=added)
    return added


def trials_of(store: Store, labeler: str) -> list[Trial]:
    """Every prompt of this part, with what the labeler wrote."""
    mine = sql.and_(trial_answers.c.trial == trials.c.prompt, trial_answers.c.labeler == labeler)
    scored = sql.exists().where(trial_scores.c.answer == trial_answers.c.place)
    query = sql.select(trials.c.prompt, prompts.c.record, trial_answers.c.text, scored.label("scored"))
    query = query.join(prompts, prompts.c.key == trials.c.prompt).outerjoin(trial_answers, mine)
    with store.reading() as connection:
        rows = connection.execute(query.order_by(trials.c.prompt)).all()
    return [Trial(row.prompt, Prompt.from_dict(row.record), row.text or "", row.scored) for row in rows]


def write_trial(store: Store, labeler: str, trial: str, text: str) -> None:
    """Keep a demonstration, in place of what the labeler wrote before.

    Raises:
        KeyError: there is no such prompt in the test.
        UserError: the text is empty or too long, or the one before has a score already.
    """
    check_text(text)
    mine = sql.and_(trial_answers.c.trial == trial, trial_answers.c.labeler == labeler)
    with store.writing() as connection:
        hold(connection, labeler)
        if connection.scalar(sql.select(trials.c.prompt).where(trials.c.prompt == trial)) is None:
            raise KeyError(trial)
        place = connection.scalar(sql.select(trial_answers.c.place).where(mine).with_for_update())
        if place is not None and connection.scalar(sql.select(sql.func.count()).where(trial_scores.c.answer == place)):
            raise UserError("This demonstration has a score already.", "Leave it as it is.")
        connection.execute(trial_answers.delete().where(mine))
        row = {"trial": trial, "labeler": labeler, "text": text.strip(), "created": store.moment()}
        connection.execute(trial_answers.insert().values(row))
        note(store, connection, labeler, "demonstration written", trial)


def to_score(store: Store, rater: str) -> list[Demonstration]:
    """Demonstrations of others that this rater has not scored: those of one prompt together, in an order that says
    nothing of who wrote them."""
    scored = sql.select(trial_scores.c.answer).where(trial_scores.c.rater == rater)
    query = sql.select(trial_answers.c.place, trial_answers.c.text, trial_answers.c.trial, prompts.c.record)
    query = query.join(prompts, prompts.c.key == trial_answers.c.trial)
    query = query.where(trial_answers.c.labeler != rater, trial_answers.c.place.not_in(scored))
    with store.reading() as connection:
        rows = connection.execute(query).all()
    rows = sorted(rows, key=lambda row: (row.trial, sha256(f"{row.trial}/{row.place}".encode()).digest()))
    return [Demonstration(row.place, Prompt.from_dict(row.record), row.text) for row in rows]


def score_trial(store: Store, rater: str, number: int, score: int) -> None:
    """Score a demonstration; a score that the same rater gave it before is replaced.

    Raises:
        KeyError: there is no such demonstration of somebody else's.
        UserError: the score is not on the scale.
    """
    if not 1 <= score <= HIGHEST:
        raise UserError(f"There is no score of {score}.", f"Give one from 1 to {HIGHEST}.")
    others = sql.and_(trial_answers.c.place == number, trial_answers.c.labeler != rater)
    with store.writing() as connection:
        hold(connection, rater)
        trial = connection.scalar(sql.select(trial_answers.c.trial).where(others).with_for_update())
        if trial is None:
            raise KeyError(number)
        before = sql.and_(trial_scores.c.answer == number, trial_scores.c.rater == rater)
        connection.execute(trial_scores.delete().where(before))
        connection.execute(trial_scores.insert().values(answer=number, rater=rater, score=score))
        note(store, connection, rater, "demonstration scored", trial, demonstration=number, score=score)


def written(store: Store) -> dict[str, Written]:
    """For everybody who wrote a demonstration: how many, and how they were scored. Of one that several scored, the
    mean counts."""
    query = sql.select(trial_answers.c.labeler, trial_answers.c.place, sql.func.avg(trial_scores.c.score).label("mean"))
    query = query.outerjoin(trial_scores, trial_scores.c.answer == trial_answers.c.place)
    with store.reading() as connection:
        rows = connection.execute(query.group_by(trial_answers.c.labeler, trial_answers.c.place)).all()
    by_labeler: dict[str, list[float | None]] = {}
    for row in rows:
        by_labeler.setdefault(row.labeler, []).append(None if row.mean is None else float(row.mean))
    found = {}
    for labeler, means in by_labeler.items():
        known = [mean for mean in means if mean is not None]
        found[labeler] = Written(len(means), len(known), fmean(known) if known else None)
    return found


def assess_self(store: Store, labeler: str, topics: Sequence[str], words: str) -> None:
    """Keep for which topics and groups a labeler can tell sensitive speech, in place of what he said before.

    Raises:
        UserError: a topic is unknown, or the words are too many.
    """
    if set(topics) - set(TOPICS):
        raise UserError(f"There is no topic '{min(set(topics) - set(TOPICS))}'.", f"Choose among: {', '.join(TOPICS)}.")
    if len(words) > LONGEST_WORDS:
        raise UserError(f"That has more than {LONGEST_WORDS:,} characters.", "Shorten it.")
    content = {"topics": [topic for topic in TOPICS if topic in topics], "words": words.strip()}
    with store.writing() as connection:
        hold(connection, labeler)
        connection.execute(self_assessments.delete().where(self_assessments.c.labeler == labeler))
        connection.execute(self_assessments.insert().values(labeler=labeler, content=content, created=store.moment()))
        note(store, connection, labeler, "assessed himself", labeler)


def self_assessed(store: Store) -> dict[str, SelfAssessment]:
    """What each labeler said of himself."""
    with store.reading() as connection:
        rows = connection.execute(sql.select(self_assessments.c.labeler, self_assessments.c.content)).all()
    return {row.labeler: SelfAssessment(**row.content) for row in rows}


def trial_count(store: Store) -> int:
    """How many demonstrations the test asks for."""
    with store.reading() as connection:
        return connection.scalar(sql.select(sql.func.count()).select_from(trials))
