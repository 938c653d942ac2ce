"""The tables of the store. Contents are keyed by their hash, so that what is added twice is there once.

    prompts, answers   what is labelled, as records; never changed
    items              a prompt with K answers, and how many labelers shall rank them
    assignments        one row for each ranking that an item still needs or has got: who holds it, and until when
    drafts             what a labeler has not submitted yet
    labels             the rankings; one that is taken back is marked as withdrawn and stays
    thumbs             single answers that somebody liked or did not, in a conversation
    exchanges          prompts and answers of a server that keeps a log of its requests
    trials, trial_answers, trial_scores   demonstrations that candidates write in the screening test, and their scores
    self_assessments   for which groups a candidate says that he can tell sensitive speech
    writings           prompts, demonstrations and corrections that labelers wrote
    labelers           people, models and programs, with the role of each and whether its labels count
    invitations, sessions   who may come in; of their secrets only the hashes are kept
    audit              who did what and when; rows are only ever added
"""

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData()


def _json(name: str, nullable: bool = False) -> Column:
    return Column(name, JSON(none_as_null=True), nullable=nullable)


prompts = Table("prompts", metadata, Column("key", Text, primary_key=True), _json("record"))

answers = Table("answers", metadata, Column("key", Text, primary_key=True),
                Column("prompt", ForeignKey("prompts.key"), nullable=False), _json("record"))

items = Table("items", metadata, Column("place", Integer, primary_key=True, autoincrement=True),
              Column("key", Text, unique=True, nullable=False),
              Column("prompt", ForeignKey("prompts.key"), nullable=False), _json("answers"),
              Column("split", Text, nullable=False), Column("overlap", Integer, nullable=False),
              _json("gold", nullable=True), Column("round", Integer))

# The second constraint is what keeps an item from a labeler who has had it; the update that fills `labeler` in only
# where nobody holds the row is what keeps two labelers apart.
assignments = Table("assignments", metadata, Column("item", ForeignKey("items.key"), primary_key=True),
                    Column("number", Integer, primary_key=True), Column("labeler", Text), Column("until", Float),
                    Column("finished", Boolean, nullable=False, default=False),
                    UniqueConstraint("item", "labeler"))
Index("unfinished_assignments", assignments.c.finished, assignments.c.item)
Index("held_assignments", assignments.c.labeler)

drafts = Table("drafts", metadata, Column("item", ForeignKey("items.key"), primary_key=True),
               Column("labeler", Text, primary_key=True), _json("content"), Column("saved", Float, nullable=False))

labels = Table("labels", metadata, Column("place", Integer, primary_key=True, autoincrement=True),
               Column("key", Text, unique=True, nullable=False),
               Column("item", ForeignKey("items.key"), nullable=False), Column("labeler", Text, nullable=False),
               Column("kind", Text, nullable=False), _json("content"),
               Column("split", Text, nullable=False), Column("withdrawn", Text))
Index("labels_of_items", labels.c.item)
Index("labels_of_labelers", labels.c.labeler)

thumbs = Table("thumbs", metadata, Column("place", Integer, primary_key=True, autoincrement=True),
               Column("answer", ForeignKey("answers.key"), nullable=False), Column("labeler", Text, nullable=False),
               Column("up", Boolean, nullable=False), Column("created", Text, nullable=False),
               UniqueConstraint("answer", "labeler"))

# `caller` is whose key it was: only he may say what he thinks of the answer. `labeler` is the person behind the key.
exchanges = Table("exchanges", metadata, Column("place", Integer, primary_key=True, autoincrement=True),
                  Column("key", Text, nullable=False), Column("choice", Integer, nullable=False),
                  Column("caller", Text, nullable=False), Column("labeler", Text, nullable=False),
                  Column("prompt", ForeignKey("prompts.key"), nullable=False),
                  Column("answer", ForeignKey("answers.key"), nullable=False), Column("created", Text, nullable=False),
                  UniqueConstraint("key", "choice"))
Index("exchanges_of_labelers", exchanges.c.labeler, exchanges.c.prompt)

writings = Table("writings", metadata, Column("place", Integer, primary_key=True, autoincrement=True),
                 Column("key", Text, unique=True, nullable=False), Column("labeler", Text, nullable=False),
                 Column("kind", Text, nullable=False), _json("record"), Column("created", Text, nullable=False),
                 Column("withdrawn", Text))

trials = Table("trials", metadata, Column("prompt", ForeignKey("prompts.key"), primary_key=True))

trial_answers = Table("trial_answers", metadata, Column("place", Integer, primary_key=True, autoincrement=True),
                      Column("trial", ForeignKey("trials.prompt"), nullable=False),
                      Column("labeler", Text, nullable=False), Column("text", Text, nullable=False),
                      Column("created", Text, nullable=False), UniqueConstraint("trial", "labeler"),
                      sqlite_autoincrement=True)  # a score must never meet another text under its number

trial_scores = Table("trial_scores", metadata, Column("answer", ForeignKey("trial_answers.place"), primary_key=True),
                     Column("rater", Text, primary_key=True), Column("score", Integer, nullable=False))

self_assessments = Table("self_assessments", metadata, Column("labeler", Text, primary_key=True), _json("content"),
                         Column("created", Text, nullable=False))

labelers = Table("labelers", metadata, Column("name", Text, primary_key=True), Column("kind", Text, nullable=False),
                 Column("role", Text, nullable=False), Column("excluded", Boolean, nullable=False, default=False),
                 Column("secret", Text), Column("created", Text, nullable=False))

invitations = Table("invitations", metadata, Column("secret", Text, primary_key=True),
                    Column("name", Text, nullable=False), Column("role", Text, nullable=False),
                    Column("until", Float, nullable=False), Column("used", Boolean, nullable=False, default=False))

sessions = Table("sessions", metadata, Column("secret", Text, primary_key=True),
                 Column("labeler", ForeignKey("labelers.name"), nullable=False), Column("form", Text, nullable=False),
                 Column("until", Float, nullable=False))

audit = Table("audit", metadata, Column("place", Integer, primary_key=True, autoincrement=True),
              Column("at", Text, nullable=False), Column("who", Text, nullable=False),
              Column("what", Text, nullable=False), Column("about", Text), _json("details", nullable=True))
