"""The screening test: what candidates write, what reviewers score, and how everybody did."""

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.responses import Response

from preceptor.feedback.assign import gold_to_do
from preceptor.feedback.screening import DEMONSTRATION, SCREENING, gold_questions, screening
from preceptor.feedback.trials import (
    HIGHEST,
    LONGEST_WORDS,
    TOPICS,
    assess_self,
    score_trial,
    self_assessed,
    to_score,
    trial_count,
    trials_of,
    write_trial,
)
from preceptor.feedback.writings import LONGEST
from preceptor.web.guard import Candidate, InRoom, Refused, Reviewer, check_form
from preceptor.web.people import Text
from preceptor.web.render import page
from preceptor.web.writing import Long

router = APIRouter()


@router.get("/test", response_class=HTMLResponse)
def test_page(request: Request, room: InRoom, session: Candidate, kept: bool = False) -> HTMLResponse:
    """The parts of the test, and those of them that are written."""
    return page(request, "test", session, trials=trials_of(room.store, session.labeler), kept=kept, topics=TOPICS,
                said=self_assessed(room.store).get(session.labeler), longest=LONGEST, longest_words=LONGEST_WORDS,
                questions=len(gold_questions(room.store).ranks), left=gold_to_do(room.store, session.labeler))


@router.post("/test", response_class=RedirectResponse)
def keep_test(room: InRoom, session: Candidate, form: Text, trial: Annotated[list[Text], Form()] = [],  # noqa: B006
              text: Annotated[list[Long], Form()] = [], topics: Annotated[list[Text], Form()] = [],  # noqa: B006
              words: Annotated[str, Form(max_length=LONGEST_WORDS)] = "") -> Response:
    """Keep what is written so far: the demonstrations, each of `text` to its `trial`, and what one can judge."""
    check_form(session, form)
    before = {one.key: one.text for one in trials_of(room.store, session.labeler)}
    if len(trial) != len(text) or not set(trial) <= set(before):
        raise Refused(400, "bad_request")
    for key, written in zip(trial, text):
        if written.strip() and written.strip() != before[key]:
            write_trial(room.store, session.labeler, key, written)
    if topics or words.strip() or session.labeler in self_assessed(room.store):
        assess_self(room.store, session.labeler, topics, words)
    return RedirectResponse("/test?kept=1", status_code=303)


@router.get("/screening", response_class=HTMLResponse)
def screening_page(request: Request, room: InRoom, session: Reviewer) -> HTMLResponse:
    """Candidates and how they did, and the demonstrations that wait for this reviewer's score."""
    waiting = to_score(room.store, session.labeler)
    return page(request, "screening", session, candidates=screening(room.store), needed=SCREENING,
                needed_score=int(DEMONSTRATION), highest=HIGHEST, questions=len(gold_questions(room.store).ranks),
                trials=trial_count(room.store), waiting=len(waiting), to_score=waiting[0] if waiting else None)


@router.post("/screening/score", response_class=RedirectResponse)
def score(room: InRoom, session: Reviewer, form: Text, demonstration: Annotated[int, Form(ge=0, lt=1 << 31)],
          score: Annotated[int, Form(ge=1, le=HIGHEST)]) -> Response:
    """Score a demonstration, and go on to the next one."""
    check_form(session, form)
    try:
        score_trial(room.store, session.labeler, demonstration, score)
    except KeyError:
        raise Refused(404, "no_such_thing") from None
    return RedirectResponse("/screening#demonstrations", status_code=303)
