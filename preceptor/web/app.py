"""The application: routes, checks and errors around a store."""

from collections.abc import Awaitable, Callable
from importlib.resources import files
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.staticfiles import StaticFiles
from sqlalchemy.exc import DataError
from starlette.exceptions import HTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import Response

from preceptor.feedback.policies import Selector
from preceptor.feedback.store import Store
from preceptor.run.errors import UserError
from preceptor.web import insight, labelling, people, rounds, screening, writing
from preceptor.web.guard import HEADERS, LARGEST, Refused, Room
from preceptor.web.limits import Limit
from preceptor.web.options import WebOptions
from preceptor.web.render import page, prepare


def create_app(store: Store, options: WebOptions | None = None, run: Path | None = None, place: str = "") -> FastAPI:
    """The pages over an open store, which is at `place` and holds the labels of `run`.

    Raises:
        UserError: the policy is unknown.
    """
    options = options or WebOptions()
    app = FastAPI(title="Preceptor", docs_url=None, redoc_url=None, openapi_url=None)
    selector = Selector(store, options.policy)
    selector.look()
    prepare()
    app.state.room = Room(store, options, selector, run, place, requests=Limit(options.requests_per_minute, 60))
    for room in (labelling, people, writing, screening, insight, rounds):
        app.include_router(room.router)
    app.mount("/static", StaticFiles(directory=str(files("preceptor.web").joinpath("static"))))
    app.middleware("http")(_guarded)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(options.hosts))
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(UserError, _user_error)
    app.add_exception_handler(DataError, _unkeepable)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http_error)
    return app


async def _guarded(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
    """Refuse what is too large, and tell the browser on every page what it must not do."""
    length = request.headers.get("content-length", "0")
    if request.method in ("POST", "PUT") and (not length.isdigit() or int(length) > LARGEST
                                              or "content-length" not in request.headers):
        response: Response = JSONResponse({"cause": "The request is too large, or does not say how large it is."}, 413)
    else:
        response = await answer(request)
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    if not request.url.path.startswith("/static/"):
        response.headers.setdefault("Cache-Control", "no-store")
    return response


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
