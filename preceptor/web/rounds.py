"""The ladder of policies, how far the run is, and the button with which an admin starts the next round."""

from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.responses import Response

from preceptor.feedback.assign import waiting
from preceptor.feedback.audit import note
from preceptor.feedback.records import comparisons
from preceptor.feedback.scores import ladder
from preceptor.metrics.intervals import Interval
from preceptor.web.guard import Admin, InRoom, Refused, Reviewer, Room, check_form
from preceptor.web.progress import final_ladder, run_state, start_next
from preceptor.web.render import page

router = APIRouter()


@router.get("/rounds", response_class=HTMLResponse)
def rounds_page(request: Request, room: InRoom, session: Reviewer) -> HTMLResponse:
    """The ladder and the run."""
    return page(request, "rounds", session, **_ladder(room), **_progress(room))


@router.get("/rounds/progress", response_class=HTMLResponse)
def progress(request: Request, room: InRoom, session: Reviewer) -> HTMLResponse:
    """How far the run is, for the script that looks again."""
    return page(request, "progress", session, **_progress(room))


@router.post("/rounds/next", response_class=RedirectResponse)
def next_round(room: InRoom, session: Admin, form: Annotated[str, Form(max_length=200)]) -> Response:
    """Start the process that goes on with the run."""
    check_form(session, form)
    if room.run is None:
        raise Refused(404, "no_such_thing")
    room.process = start_next(room.run, room.place, _begun(room))
    with room.store.writing() as connection:
        note(room.store, connection, session.labeler, "round started", room.run.name)
    return RedirectResponse("/rounds#run", status_code=303)


def _begun(room: Room) -> bool:
    """Whether a process that the button started is alive: it takes seconds until the run folder says so."""
    return room.process is not None and room.process.poll() is None


def _progress(room: Room) -> dict[str, Any]:
    return {"run": run_state(room.run, _begun(room)) if room.run is not None else None, "waiting": waiting(room.store)}


def _ladder(room: Room) -> dict[str, Any]:
    """Columns of strengths `{model: interval}`, the newest first: of the ladder step, and after each round."""
    columns: dict[str, dict[str, Interval]] = {
        str(number): dict(zip(scores.models, scores.bradley_terry))
        for number, scores in ladder(list(comparisons(room.store)), resamples=100).items()}
    final = final_ladder(room.run) if room.run is not None else None
    if final:
        columns["final"] = {model: Interval(**found["bradley_terry"]) for model, found in final["scores"].items()}
    columns = dict(reversed(columns.items()))
    models = list(dict.fromkeys(model for column in columns.values() for model in column))
    newest = next(iter(columns.values()), {})
    models.sort(key=lambda model: -newest[model].mean if model in newest else float("inf"))
    ends = [end for one in newest.values() for end in (one.low, one.high)]
    return {"columns": columns, "models": models, "newest": newest, "low": min(ends, default=0.0),
            "span": max(max(ends, default=1.0) - min(ends, default=0.0), 1.0)}
