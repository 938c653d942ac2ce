"""The screening test of InstructGPT's appendix B: candidates answer gold questions before they label anything else.

A candidate (a role, `labelers.ROLES`) is given gold questions alone. What he agrees on with those who set them is shown
to reviewers; that somebody becomes a labeler is an admin's decision, and is logged.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import sqlalchemy as sql

from preceptor.data.records import Comparison
from preceptor.feedback.labelers import all_labelers
from preceptor.feedback.quality import gold_accuracy
from preceptor.feedback.records import SENSITIVE, comparisons, item_content
from preceptor.feedback.store import Store
from preceptor.feedback.tables import items

SCREENING = 0.75  # agreement with the researchers that the appendix asks of a candidate


@dataclass(frozen=True, slots=True)
class GoldQuestions:
    """What is held to be right: the rank of each answer by text for each question (`quality.answers_of`), and, where
    any answer of any question is sensitive, for (prompt id, text) whether that answer is."""

    ranks: dict[tuple[str, ...], dict[str, int]]
    sensitive: dict[tuple[str, str], bool]


@dataclass(frozen=True, slots=True)
class Candidate:
    """Somebody who answered gold questions. Shares are of agreement; None where there is nothing to agree on.

    Whether he `passes` is None until he has answered all of them.
    """

    labeler: str
    role: str
    answered: int
    ranking: float | None
    sensitive: float | None
    passes: bool | None


def gold_questions(store: Store) -> GoldQuestions:
    """The gold questions of a store (`records.set_gold`)."""
    with store.reading() as connection:
        found = connection.execute(sql.select(items.c.key, items.c.gold).where(items.c.gold.is_not(None))).all()
    ranks, sensitive = {}, {}
    for key, gold in found:
        prompt, responses, _ = item_content(store, key)
        ranks[prompt.id, *sorted(response.text for response in responses)] = {
            responses[index].text: rank for rank, group in enumerate(gold["ranking"]) for index in group}
        sensitive |= {(prompt.id, response.text): index in gold["sensitive"]
                      for index, response in enumerate(responses)}
    return GoldQuestions(ranks, sensitive if any(sensitive.values()) else {})


def screening(store: Store) -> list[Candidate]:
    """Every person who answered a gold question, and every candidate, by name."""
    known, rankings = gold_questions(store), [one for one in comparisons(store, excluded=True) if one.gold]
    answered = Counter(one.labeler for one in rankings)
    found = []
    for name, labeler in all_labelers(store).items():
        if labeler["kind"] == "person" and (answered[name] or labeler["role"] == "candidate"):
            mine = [one for one in rankings if one.labeler == name]
            shares = passes_screening(mine, known.ranks, known.sensitive)
            if answered[name] < len(known.ranks):
                shares["passes"] = None
            found.append(Candidate(name, labeler["role"], answered[name], **shares))
    return found


def passes_screening(rankings: Sequence[Comparison], gold: Mapping[tuple[str, ...], Mapping[str, int]],
                     sensitive: Mapping[tuple[str, str], bool]) -> dict[str, float | bool | None]:
    """The admission test of InstructGPT's appendix B, as far as a program can hold it.

    Args:
        rankings: the candidate's, of gold questions.
        gold: the right ranks.
        sensitive: for (prompt id, text) whether the answer is sensitive, as the researchers hold.

    Returns:
        `ranking` and `sensitive`, the candidate's agreement with the researchers, and whether he `passes`: both at
        least 75 %; None where the candidate answered none of these questions.
    """
    ranking = gold_accuracy(rankings, gold)
    judged = [bool(SENSITIVE & set(response.flags or ())) == sensitive[one.prompt.id, response.text]
              for one in rankings for response in one.responses if (one.prompt.id, response.text) in sensitive]
    agreed = fmean(judged) if judged else None
    known = [share for share in (ranking, agreed) if share is not None]
    return {"ranking": ranking, "sensitive": agreed,
            "passes": all(share >= SCREENING for share in known) if known else None}
