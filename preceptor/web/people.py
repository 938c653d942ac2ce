"""Coming in, going out, and who may do what."""

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.responses import Response

from preceptor.feedback.accounts import (
    accept,
    close_session,
    close_sessions_of,
    invite,
    invited,
    knows_token,
    open_session,
    session_of,
)
from preceptor.feedback.labelers import ROLES, all_labelers, exclude, set_role
from preceptor.feedback.records import comparisons
from preceptor.web.guard import COOKIE, Admin, Candidate, InRoom, Refused, caller, check_form, check_origin, set_session
from preceptor.web.render import page

router = APIRouter()
Text = Annotated[str, Form(max_length=200)]


@router.get("/", response_class=RedirectResponse)
def front(request: Request, room: InRoom) -> Response:
    """Where somebody who only knows the address ends up."""
    session = session_of(room.store, request.cookies.get(COOKIE, ""))
    return RedirectResponse("/label" if session else "/enter", status_code=303)


@router.get("/enter", response_class=HTMLResponse)
def enter_page(request: Request) -> HTMLResponse:
    return page(request, "enter", name=None, failed=False)


@router.post("/enter", response_class=HTMLResponse)
def enter(request: Request, room: InRoom, name: Text, token: Text) -> Response:
    """Sign in with a name and the token that came with it."""
    check_origin(request)
    if not room.sign_ins.allows(caller(request)):
        raise Refused(429, "too_often")
    if not knows_token(room.store, name.strip(), token.strip()):
        return page(request, "enter", status=401, name=None, failed=True)
    return _come_in(request, room, name.strip())


@router.get("/enter/{secret}", response_class=HTMLResponse)
def invitation_page(request: Request, room: InRoom, secret: str) -> HTMLResponse:
    """An invitation is used by a button, not by looking at it: programs that preview links look at everything."""
    if not room.sign_ins.allows(caller(request)):
        raise Refused(429, "too_often")
    name = invited(room.store, secret)
    if name is None:
        raise Refused(404, "invitation_gone")
    return page(request, "enter", name=name, failed=False)


@router.post("/enter/{secret}", response_class=HTMLResponse)
def accept_invitation(request: Request, room: InRoom, secret: str) -> Response:
    """Use an invitation; shows once the token with which to come back."""
    check_origin(request)
    if not room.sign_ins.allows(caller(request)):
        raise Refused(429, "too_often")
    found = accept(room.store, secret)
    if found is None:
        raise Refused(404, "invitation_gone")
    name, token = found
    answer = page(request, "welcome", name=name, token=token)
    set_session(request, answer, open_session(room.store, name, room.options.session_hours), room.options.session_hours)
    return answer


def _come_in(request: Request, room: InRoom, name: str) -> Response:
    answer = RedirectResponse("/label", status_code=303)
    set_session(request, answer, open_session(room.store, name, room.options.session_hours), room.options.session_hours)
    return answer


@router.post("/leave", response_class=RedirectResponse)
def leave(request: Request, room: InRoom, session: Candidate, form: Text) -> Response:
    """Sign out."""
    check_form(session, form)
    close_session(room.store, request.cookies.get(COOKIE, ""))
    answer = RedirectResponse("/enter", status_code=303)
    answer.delete_cookie(COOKIE)
    return answer


@router.get("/people", response_class=HTMLResponse)
def people_page(request: Request, room: InRoom, session: Admin) -> HTMLResponse:
    return _people(request, room, session, link=None)


def _people(request: Request, room: InRoom, session: Admin, link: str | None, failed: str = "",
            status: int = 200) -> HTMLResponse:
    counts: dict[str, int] = {}
    for one in comparisons(room.store, excluded=True):
        counts[one.labeler] = counts.get(one.labeler, 0) + 1
    return page(request, "people", session, status=status, people=all_labelers(room.store).values(), counts=counts,
                roles=ROLES, link=link, failed=failed)


@router.post("/people/invite", response_class=HTMLResponse)
def invite_somebody(request: Request, room: InRoom, session: Admin, name: Text, role: Text, form: Text) -> HTMLResponse:
    """Make an invitation; its link is shown once, to the admin who hands it on."""
    check_form(session, form)
    secret = invite(room.store, name.strip(), role, session.labeler)
    return _people(request, room, session, link=str(request.base_url) + f"enter/{secret}")


@router.post("/people/role", response_class=RedirectResponse)
def change_role(room: InRoom, session: Admin, name: Text, role: Text, form: Text) -> Response:
    """Give somebody another role; an admin cannot take his own away, or nobody might be left."""
    check_form(session, form)
    if name == session.labeler:
        raise Refused(400, "not_yourself")
    set_role(room.store, name, role, session.labeler)
    return RedirectResponse("/people", status_code=303)


@router.post("/people/lock", response_class=RedirectResponse)
def lock_out(room: InRoom, session: Admin, name: Text, form: Text) -> Response:
    """End all sessions of somebody and make his token worthless; his labels stay."""
    check_form(session, form)
    if name == session.labeler:
        raise Refused(400, "not_yourself")
    close_sessions_of(room.store, name, session.labeler)
    return RedirectResponse("/people", status_code=303)


@router.post("/people/exclude", response_class=RedirectResponse)
def exclude_somebody(room: InRoom, session: Admin, name: Text, excluded: Text, form: Text,
                     reason: Annotated[str, Form(max_length=500)] = "") -> Response:
    """Let the labels of somebody count no longer, or again."""
    check_form(session, form)
    exclude(room.store, name, excluded == "yes", session.labeler, reason)
    return RedirectResponse("/quality", status_code=303)
