"""What reviewers and admins see: how labelers agree, what speaks against whom, the models' scores, and the log."""

from collections.abc import Sequence

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from preceptor.data.records import Comparison
from preceptor.feedback.audit import history
from preceptor.feedback.labelers import all_labelers
from preceptor.feedback.quality import REFERENCE, agreement, agreement_by_category, labeler_table
from preceptor.feedback.records import comparisons
from preceptor.feedback.scores import ModelScores, model_scores
from preceptor.feedback.screening import gold_questions
from preceptor.run.errors import UserError
from preceptor.web.guard import Admin, InRoom, Reviewer
from preceptor.web.render import page

router = APIRouter()


@router.get("/quality", response_class=HTMLResponse)
def quality_page(request: Request, room: InRoom, session: Reviewer) -> HTMLResponse:
    """Agreement, and every labeler with what speaks against him."""
    counted, every = list(comparisons(room.store)), list(comparisons(room.store, excluded=True))
    table = labeler_table(every, gold_questions(room.store).ranks)
    return page(request, "quality", session, overall=agreement(counted), reference=REFERENCE, table=table,
                by_category=agreement_by_category(counted), people=all_labelers(room.store))


@router.get("/scores", response_class=HTMLResponse)
def scores_page(request: Request, room: InRoom, session: Reviewer) -> HTMLResponse:
    """The models behind the answers, by what labelers preferred."""
    return page(request, "scores", session, scores=_scores(list(comparisons(room.store))))


@router.get("/log", response_class=HTMLResponse)
def log_page(request: Request, room: InRoom, session: Admin) -> HTMLResponse:
    """Who did what and when."""
    return page(request, "log", session, lines=history(room.store))


def _scores(rankings: Sequence[Comparison]) -> ModelScores | None:
    try:
        return model_scores(rankings, resamples=100)
    except UserError:  # no two models were compared yet, which the page says
        return None
