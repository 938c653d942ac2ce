"""The OpenAI-compatible API over models that are loaded: who is let in, the routes, and errors in OpenAI's form."""

import json
import secrets
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse
from jinja2 import TemplateError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import Response

from preceptor.data.records import Prompt
from preceptor.data.records import Response as Scored
from preceptor.generate.decoder import Answer
from preceptor.generate.engine import Engine, Full
from preceptor.models.reward_model import RewardModel
from preceptor.run.errors import UserError, nearest
from preceptor.web.answering import Call, Form, Left
from preceptor.web.asked import read_chat, read_completion, read_score
from preceptor.web.figures import Figures
from preceptor.web.guard import LARGEST, caller
from preceptor.web.limits import Limit
from preceptor.web.options import ServeOptions


class Service:
    """What the routes share: models by name, options, limits and figures."""

    def __init__(self, models: Mapping[str, Engine | RewardModel], options: ServeOptions) -> None:
        self.models, self.options, self.figures = models, options, Figures()
        self.limit = Limit(options.requests_per_minute, 60)
        self.scoring = threading.Lock()  # a reward model counts what it cuts

    def model(self, body: Any, kind: type) -> tuple[str, Any]:
        """The model that the body names.

        Raises:
            HTTPException: it names none that is served.
            UserError: the model cannot do what the endpoint is for.
        """
        name = body.get("model") if isinstance(body, dict) else None
        if not isinstance(name, str) or name not in self.models:
            raise HTTPException(404, f"There is no model {name!r} here. {nearest(str(name), self.models)}")
        if not isinstance(self.models[name], kind):
            fit = [other for other, model in self.models.items() if isinstance(model, kind)]
            raise UserError(f"The model '{name}' is of another kind than this endpoint needs.",
                            f"Choose one of: {', '.join(fit)}." if fit else "None is served.")
        return name, self.models[name]


def recognised(request: Request) -> tuple[Service, str]:
    """The service, and who calls: the key where keys are asked for, else the address.

    Raises:
        HTTPException: 401 without a key that is let in.
    """
    service: Service = request.app.state.service
    if not service.options.keys:
        return service, caller(request)
    given = request.headers.get("authorization", "").removeprefix("Bearer ").encode()
    fits = [key for key in service.options.keys if secrets.compare_digest(key.encode(), given)]
    if not fits:
        raise HTTPException(401, "The API key is missing or wrong.", {"WWW-Authenticate": "Bearer"})
    return service, fits[0]


def admitted(request: Request) -> Service:
    """The service, for a caller with a key and within the limit.

    Raises:
        HTTPException: 401 without a key that is let in, 429 for too many requests.
    """
    service, who = recognised(request)
    if not service.limit.allows(who):
        raise HTTPException(429, "Too many requests in the last minute.", {"Retry-After": "1"})
    return service


Admitted = Annotated[Service, Depends(admitted)]


def create_api(models: Mapping[str, Engine | RewardModel], options: ServeOptions) -> FastAPI:
    """The application; when it shuts down, the engines end."""
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        for model in models.values():
            if isinstance(model, Engine):
                await run_in_threadpool(model.close)

    app = FastAPI(title="Preceptor", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    app.state.service = Service(models, options)
    app.get("/health")(_health)
    app.get("/metrics")(_metrics)
    app.get("/v1/models")(_models)
    app.post("/v1/chat/completions")(_chat)
    app.post("/v1/completions")(_completion)
    app.post("/v1/score")(_score)
    app.add_exception_handler(UserError, lambda request, error: _error(400, str(error)))
    app.add_exception_handler(TemplateError, lambda request, error: _error(400, f"The chat template says: {error}"))
    app.add_exception_handler(Full, lambda request, error: _error(
        429, "As many requests wait as may wait.", {"Retry-After": "1"}))
    app.add_exception_handler(Left, lambda request, error: _error(499, "The client has left."))
    app.add_exception_handler(HTTPException, lambda request, error: _error(
        error.status_code, error.detail, error.headers))
    app.add_exception_handler(Exception, lambda request, error: _error(500, "The server failed; its log says how."))
    app.add_middleware(Counted, figures=app.state.service.figures)
    return app


class Counted:
    """Counts every response by path and status."""

    PATHS = ("/health", "/metrics", "/v1/models", "/v1/chat/completions", "/v1/completions", "/v1/score")

    def __init__(self, app: Callable[..., Awaitable[None]], figures: Figures) -> None:
        self.app, self.figures = app, figures

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def counting(message: Any) -> None:
            if message["type"] == "http.response.start":  # other paths are the caller's invention
                path = scope["path"] if scope["path"] in self.PATHS else "other"
                self.figures.request(path, message["status"])
            await send(message)
        await self.app(scope, receive, counting)


async def _health(request: Request) -> Response:
    dead = [name for name, model in request.app.state.service.models.items()
            if isinstance(model, Engine) and not model.alive()]
    return JSONResponse({"status": "failed", "models": dead}, 503) if dead else JSONResponse({"status": "ok"})


async def _metrics(request: Request) -> Response:
    service: Service = request.app.state.service
    at_work = {name: model.at_work() for name, model in service.models.items() if isinstance(model, Engine)}
    return PlainTextResponse(service.figures.text(at_work), media_type="text/plain; version=0.0.4")


async def _models(service: Admitted) -> Response:
    return JSONResponse({"object": "list", "data": [
        {"id": name, "object": "model", "created": 0, "owned_by": "preceptor"} for name in service.models]})


async def _chat(request: Request, service: Admitted) -> Response:
    return await _answered(request, service, chat=True)


async def _completion(request: Request, service: Admitted) -> Response:
    return await _answered(request, service, chat=False)


async def _answered(request: Request, service: Service, chat: bool) -> Response:
    body = await _body(request)
    name, engine = service.model(body, Engine)
    asked = (read_chat if chat else read_completion)(body, engine.decoder, service.options)
    form, call = Form(engine, name, asked, chat), Call(engine, asked, request, service.figures)
    events = call.events()
    if not asked.stream:
        found = {number: answer async for number, answer in events}
        return JSONResponse(form.whole([found[number] for number in range(len(found))]))
    first = await anext(events)  # what fails at once is an error of the request, not of the stream
    return StreamingResponse(_chunks(first, events, form), media_type="text/event-stream",
                             headers={"Cache-Control": "no-store"})


async def _chunks(first: tuple[int, str | Answer], events: AsyncIterator[tuple[int, str | Answer]],
                  form: Form) -> AsyncIterator[str]:
    """The server-sent events of a stream."""
    begun: set[int] = set()
    answers: list[Answer] = []
    said: tuple[int, str | Answer] | None = first
    try:
        while said is not None:
            number, news = said
            if number not in begun:
                yield _event(form.piece(number, "", first=True))
                begun.add(number)
            if isinstance(news, Answer):
                answers.append(news)
                yield _event(form.last(number, news))
            else:
                yield _event(form.piece(number, news, first=False))
            said = await anext(events, None)
        if form.asked.usage:
            yield _event({**form.head, "choices": [], "usage": form.usage(answers)})
        yield "data: [DONE]\n\n"
    except (UserError, Full) as error:
        yield _event({"error": _described(400, str(error) or "The server is closing.")})
    except Left:
        return
    finally:
        await events.aclose()


def _event(value: dict[str, Any]) -> str:
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n"


async def _score(request: Request, service: Admitted) -> Response:
    body = await _body(request)
    name, reward = service.model(body, RewardModel)
    messages, texts = read_score(body)
    prompt = Prompt("score", messages)

    def scored() -> tuple[list[float], int]:
        with service.scoring:
            before = reward.truncated
            values = reward.score([prompt] * len(texts), [Scored(text, "eos") for text in texts])
            return values, reward.truncated - before

    values, cut = await run_in_threadpool(scored)
    return JSONResponse({"object": "list", "model": name, "truncated": cut, "data": [
        {"object": "score", "index": number, "score": value} for number, value in enumerate(values)]})


async def _body(request: Request) -> Any:
    """The JSON of a request that is not too large."""
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > LARGEST:
            raise HTTPException(413, f"The request is larger than {LARGEST} bytes.")
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise HTTPException(400, "The body is not JSON.") from None


def _error(status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    return JSONResponse({"error": _described(status, message)}, status, headers)


def _described(status: int, message: str) -> dict[str, Any]:
    kinds = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error", 500: "server_error"}
    return {"message": message, "type": kinds.get(status, "invalid_request_error"), "param": None, "code": None}
