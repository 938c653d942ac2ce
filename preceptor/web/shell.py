"""What every page of ours stands in: static files, headers, the choice of language and colours, and errors in words."""

from collections.abc import Sequence
from importlib.resources import files

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles
from sqlalchemy.exc import DataError
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from preceptor.run.errors import UserError
from preceptor.web.guard import HEADERS, LARGEST, KnownHosts, Refused
from preceptor.web.render import COLOURS, LANGUAGES, THEMES, page, prepare

router = APIRouter()


def furnish(app: FastAPI, hosts: Sequence[str], largest: int = LARGEST) -> None:
    """Give an application what its pages stand in; it answers under these host names only, and requests of at most
    `largest` bytes."""
    prepare()
    app.include_router(router)
    app.mount("/static", StaticFiles(directory=str(files("preceptor.web").joinpath("static"))))
    app.add_middleware(Guarded, largest=largest)
    app.add_middleware(KnownHosts, names=hosts)
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(UserError, _user_error)
    app.add_exception_handler(DataError, _unkeepable)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http_error)


@router.get("/static/colours.css", response_class=FileResponse, include_in_schema=False)
def colours() -> FileResponse:
    """The colours and type that the report has, too."""
    return FileResponse(str(COLOURS))


@router.get("/look", response_class=RedirectResponse)
def look(request: Request, language: str = "", theme: str = "", back: str = "/") -> Response:
    """Choose the language or the colours, and go back to a page of ours."""
    local = back.startswith("/") and not back.startswith(("//", "/\\")) and back.isprintable() and "\\" not in back
    answer = RedirectResponse(back if local else "/", status_code=303)
    for name, value, known in (("language", language, LANGUAGES), ("theme", theme, THEMES)):
        if value in known:
            answer.set_cookie(name, value, max_age=365 * 86400, samesite="lax", path="/", httponly=True)
    return answer


class Guarded:
    """Refuses what is too large, and tells the browser on every page what it must not do."""

    def __init__(self, app: ASGIApp, largest: int) -> None:
        self.app, self.largest = app, largest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        static = scope["path"].startswith("/static/")  # asked about anew by its ETag: imports carry no version
        told = HEADERS | {"Cache-Control": "no-cache" if static else "no-store"}

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in told.items():
                    headers.setdefault(name, value)
            await send(message)

        length = Headers(scope=scope).get("content-length", "")
        if scope["method"] in ("POST", "PUT") and not (length.isdecimal() and int(length) <= self.largest):
            refusal = JSONResponse({"cause": "The request is too large, or does not say how large it is."}, 413)
            await refusal(scope, receive, guarded)
        else:
            await self.app(scope, receive, guarded)


def _refused(request: Request, error: Refused) -> Response:
    return _error(request, error.status, error.reason)


def _user_error(request: Request, error: UserError) -> Response:
    return _error(request, 400, "bad_request", f"{error.cause} {error.cure}")


def _unkeepable(request: Request, error: DataError) -> Response:
    """A value that the database has no room for, as PostgreSQL has none for a text with a zero byte."""
    return _error(request, 400, "bad_request")


def _invalid(request: Request, error: RequestValidationError) -> Response:
    where = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()[:3])
    return _error(request, 422, "bad_request", where)


def _http_error(request: Request, error: HTTPException) -> Response:
    return _error(request, error.status_code, "no_such_thing" if error.status_code == 404 else "bad_request")


def _error(request: Request, status: int, reason: str, detail: str = "") -> Response:
    """The reason as a page for people, or as JSON for the script."""
    if request.url.path.startswith("/api/"):
        return JSONResponse({"reason": reason, "detail": detail}, status)
    return page(request, "error", status=status, reason=reason, detail=detail)
