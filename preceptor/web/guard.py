"""What stands before every route: who is asking, in which role, from our own page, and not too often."""

import ipaddress
import json
import secrets
import subprocess
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import Depends, Request
from pydantic import BaseModel, ConfigDict, model_validator
from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from preceptor.feedback.accounts import Session, session_of
from preceptor.feedback.labelers import ROLES
from preceptor.feedback.policies import Selector
from preceptor.feedback.store import Store
from preceptor.web.limits import Limit
from preceptor.web.options import WebOptions

COOKIE = "preceptor_session"
LARGEST = 1 << 20  # bytes of a request
POLICY = ("default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; "
          "form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
HEADERS = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin",
           "X-Frame-Options": "DENY", "Cross-Origin-Opener-Policy": "same-origin"}


class Refused(Exception):
    """A request that is not answered: the HTTP status, and the key of the sentence that says why."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


class Strict(BaseModel):
    """A request's body: an unknown field is an error, and so is what is no JSON though Python reads it."""

    model_config = ConfigDict(extra="forbid", strict=True)

    @model_validator(mode="before")
    @classmethod
    def _is_json(cls, value: Any) -> Any:
        check_json(value)
        return value


def check_json(value: Any) -> None:
    """Whether a value can be written as the JSON that it was read from: Python reads halves of characters and numbers
    that are none, too, which neither a tokenizer nor an answer can take.

    Raises:
        ValueError: it cannot.
    """
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except RecursionError:
        raise ValueError("lists in lists too deep") from None


@dataclass
class Room:
    """What the routes share: the store, the options, the policy and the limits."""

    store: Store
    options: WebOptions
    selector: Selector
    run: Path | None = None
    """The folder of the run whose answers are labelled, where there is one."""
    place: str = ""
    """The store's path or URL."""
    pictures: Path | None = None
    """The folder whose files the pictures of prompts may name."""
    sign_ins: Limit = field(default_factory=lambda: Limit(10, 60))
    requests: Limit | None = None
    process: subprocess.Popen[bytes] | None = None
    """What the button for the next round has started last."""


async def room_of(request: Request) -> Room:  # a function that waits for nothing needs no thread of its own
    return request.app.state.room


InRoom = Annotated[Room, Depends(room_of)]


def caller(request: Request) -> str:
    """The address that a limit is held against."""
    return request.client.host if request.client else "unknown"


def signed_in(request: Request, room: InRoom) -> Session:
    """Who is asking.

    Raises:
        Refused: nobody is signed in, or the session has run out.
    """
    session = session_of(room.store, request.cookies.get(COOKIE, ""))
    if session is None:
        raise Refused(401, "sign_in_first")
    if room.requests is not None and not room.requests.allows(session.labeler):
        raise Refused(429, "too_often")
    return session


def at_least(role: str) -> Callable[..., Awaitable[Session]]:
    """A check that who is asking has this role or a higher one."""
    async def check(session: Annotated[Session, Depends(signed_in)]) -> Session:
        if ROLES.index(session.role) < ROLES.index(role):
            raise Refused(403, "not_your_role")
        return session
    return check


Candidate = Annotated[Session, Depends(at_least("candidate"))]
Labeler = Annotated[Session, Depends(at_least("labeler"))]
Reviewer = Annotated[Session, Depends(at_least("reviewer"))]
Admin = Annotated[Session, Depends(at_least("admin"))]


def check_form(session: Session, given: str) -> None:
    """Whether a form comes from our own page: another site can send one, but cannot know what ours carry.

    Raises:
        Refused: it does not.
    """
    if not secrets.compare_digest(session.form.encode(), given.encode()):
        raise Refused(403, "stale_form")


async def from_header(request: Request, session: Candidate) -> Session:
    """Somebody whose script sent the form's secret as a header."""
    check_form(session, request.headers.get("x-form", ""))
    return session


Sender = Annotated[Session, Depends(from_header)]


def check_origin(request: Request) -> None:
    """Refuse a form that a browser says another site sent; for the forms of people who are not signed in yet.

    Raises:
        Refused: the origin is another host.
    """
    if is_foreign(request):
        raise Refused(403, "stale_form")


def is_foreign(request: Request) -> bool:
    """Whether a browser says that a page of another site sent it; other programs say nothing of the kind."""
    origin = request.headers.get("origin")
    return origin is not None and urlsplit(origin).netloc != request.headers.get("host")


class KnownHosts:
    """Refuses requests under a name that is not this server's: a stranger's page whose name was made to point here
    (DNS rebinding) is of one origin with the server for the browser, which then lets it ask and read."""

    def __init__(self, app: ASGIApp, names: Sequence[str]) -> None:
        self.app, self.names = app, names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        host = Headers(scope=scope).get("host", "") if scope["type"] == "http" else ""
        if is_known_host(host, self.names):
            await self.app(scope, receive, send)
            return
        refusal = JSONResponse({"error": {"message": (
            f"This server is not known as '{host[:80]}'. Call it by its address; preceptor serve takes further names "
            "by --allow-host."),
            "type": "permission_error", "param": None, "code": None}}, 403)
        await refusal(scope, receive, send)


def is_known_host(host: str, names: Sequence[str]) -> bool:
    """Whether a request's Host names this server. An address does, as no other site's page has it for a name; so do
    localhost, each of `names`, and any where "*" is one of them. A request without Host is no browser's."""
    name = host.rpartition("]")[0].removeprefix("[") or host.partition(":")[0]
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name.lower().rstrip(".") in ("", "localhost", *(one.lower() for one in names)) or "*" in names
    return True


def set_session(request: Request, response: Response, secret: str, hours: float) -> None:
    """Give the browser the session: no script can read it, no other site's form sends it, TLS where it is used."""
    response.set_cookie(COOKIE, secret, max_age=int(hours * 3600), httponly=True, samesite="lax", path="/",
                        secure=request.url.scheme == "https")
