"""The screening test of InstructGPT's appendix B, which candidates take before they label anything else.

Its parts: agreement with those who set the test on rankings, and on what is sensitive speech (both by gold questions);
demonstrations for sensitive prompts, scored from 1 to 7; and for which groups a candidate can tell sensitive speech
(the last two in `trials.py`). A candidate (a role, `labelers.ROLES`) sees the test alone. What comes of it is shown to
reviewers; that somebody becomes a labeler is an admin's decision, and is logged.
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
from preceptor.feedback.trials import SelfAssessment, Written, self_assessed, trial_count, written

SCREENING = 0.75     # agreement with the researchers that the appendix asks of a candidate
DEMONSTRATION = 6.0  # mean score of the demonstrations that it asks for, of 7


@dataclass(frozen=True, slots=True)
class GoldQuestions:
    """What is held to be right: the rank of each answer by text for each question (`quality.answers_of`), and, where
    any answer of any question is sensitive, for (prompt id, text) whether that answer is."""

    ranks: dict[tuple[str, ...], dict[str, int]]
    sensitive: dict[tuple[str, str], bool]


@dataclass(frozen=True, slots=True)
class Candidate:
    """Somebody who took the test. Shares are of agreement; None where there is nothing to agree on.

    Whether he `passes` is None until he has answered every question, and each of his demonstrations has a score. What
    he says of himself takes no part in it: the appendix used it to choose a team that sees much together.
    """

    labeler: str
    role: str
    answered: int
    ranking: float | None
    sensitive: float | None
    written: Written
    assessment: SelfAssessment | None
    passes: bool | None


def gold_questions(store: Store) -> GoldQuestions:
    """The gold questions of a store (`records.set_gold`)."""
    with store.reading() as connection:
        found = connection.execute(sql.select(items.c.key, items.c.gold).where(items.c.gold.is_not(None))).all()
    ranks, sensitive = {}, {}
    for key, gold in found:
        prompt, responses = item_content(store, key)
        ranks[prompt.id, *sorted(response.text for response in responses)] = {
            responses[index].text: rank for rank, group in enumerate(gold["ranking"]) for index in group}
        sensitive |= {(prompt.id, response.text): index in gold["sensitive"]
                      for index, response in enumerate(responses)}
    return GoldQuestions(ranks, sensitive if any(sensitive.values()) else {})


def screening(store: Store) -> list[Candidate]:
    """Every candidate, and everybody who has been through a part of the test: all its questions, a text, a word on
    himself. Labelers meet some of the questions among others, which `quality` shows."""
    known, rankings = gold_questions(store), [one for one in comparisons(store, excluded=True) if one.gold]
    answered, texts, said = Counter(one.labeler for one in rankings), written(store), self_assessed(store)
    asked_for, found = trial_count(store), []
    for name, labeler in all_labelers(store).items():
        took = 0 < len(known.ranks) <= answered[name] or name in texts or name in said or labeler["role"] == "candidate"
        if labeler["kind"] == "person" and took:
            mine = [one for one in rankings if one.labeler == name]
            agreed, text = passes_screening(mine, known.ranks, known.sensitive), texts.get(name, Written(0, 0, None))
            finished = answered[name] >= len(known.ranks) and text.scored >= asked_for
            passed = agreed["passes"] is not False and (text.mean is None or text.mean >= DEMONSTRATION)
            found.append(Candidate(name, labeler["role"], answered[name], agreed["ranking"], agreed["sensitive"], text,
                                   said.get(name), passed if finished and (known.ranks or asked_for) else None))
    return found


def passes_screening(rankings: Sequence[Comparison], gold: Mapping[tuple[str, ...], Mapping[str, int]],
                     sensitive: Mapping[tuple[str, str], bool]) -> dict[str, float | bool | None]:
    """What gold questions tell of the admission test of InstructGPT's appendix B.

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
