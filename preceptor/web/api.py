"""The OpenAI-compatible API over models that are loaded: the routes, and errors in OpenAI's form."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import numpy as np
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse
from jinja2 import TemplateError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import Response

from preceptor.feedback.exchanges import keep
from preceptor.feedback.labelers import check_name
from preceptor.feedback.store import Store
from preceptor.generate.decoder import Answer
from preceptor.generate.engine import Engine, Full
from preceptor.run.errors import UserError
from preceptor.web.answering import Call, Form, Late, Left, News, event
from preceptor.web.asked import Asked, read_chat, read_completion, read_embeddings, read_score
from preceptor.web.connections import PATIENCE
from preceptor.web.figures import Figures
from preceptor.web.guard import LARGEST, KnownHosts, check_json
from preceptor.web.judging import read_feedback
from preceptor.web.options import ServeOptions
from preceptor.web.pictures import REQUEST
from preceptor.web.served import Embedder, Scorer, Served, Sighted, sees_pictures
from preceptor.web.service import Folders, In, Service
from preceptor.web.specification import specification

SHORT = 4096  # characters of a request that is read at once: a thread would cost it more
FAILED = "The server failed; its log says how."
KINDS = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 408: "timeout_error",
         429: "rate_limit_error", 500: "server_error", 504: "timeout_error"}


def create_api(models: Mapping[str, Served], options: ServeOptions, log: Store | None = None,
               folders: Folders | None = None) -> FastAPI:
    """The application; when it shuts down, the models end.

    `log` keeps exchanges and opinions; `folders` are where the models came from, for `Service.reload`.
    """
    service = Service(models, options, log, folders)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service.open()
        yield
        await service.close()

    app = FastAPI(title="Preceptor", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    app.state.service = service
    for path, route in {"/health": _health, "/metrics": _metrics, "/openapi.json": _openapi,
                        "/v1/models": _models}.items():
        app.get(path)(route)
    for path, route in {"/v1/chat/completions": _chat, "/v1/completions": _completion, "/v1/score": _score,
                        "/v1/embeddings": _embeddings, "/v1/feedback": _feedback}.items():
        app.post(path)(route)
    app.add_exception_handler(UserError, lambda request, error: _error(400, str(error)))
    app.add_exception_handler(TemplateError, lambda request, error: _error(400, f"The chat template says: {error}"))
    app.add_exception_handler(Full, lambda request, error: _error(
        429, "As many requests wait as may wait.", {"Retry-After": "1"}))
    app.add_exception_handler(Left, lambda request, error: _error(499, "The client has left."))
    app.add_exception_handler(Late, lambda request, error: _error(504, _late(options)))
    app.add_exception_handler(HTTPException, lambda request, error: _error(
        error.status_code, error.detail, error.headers))
    app.add_exception_handler(Exception, lambda request, error: _error(500, FAILED))
    if not options.keys:
        app.add_middleware(KnownHosts, names=options.hosts)
    app.add_middleware(Counted, figures=service.figures, paths={route.path for route in app.routes})
    return app


class Counted:
    """Counts every response by path and status."""

    def __init__(self, app: Callable[..., Awaitable[None]], figures: Figures, paths: set[str]) -> None:
        self.app, self.figures, self.paths = app, figures, paths

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        begun = False

        def count(status: int) -> None:  # other paths are the caller's invention
            self.figures.request(scope["path"] if scope["path"] in self.paths else "other", status)

        async def counting(message: Any) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                count(message["status"])
            await send(message)
        try:
            await self.app(scope, receive, counting)
        except Exception:  # what nobody foresaw is answered around this
            if scope["type"] == "http" and not begun:
                count(500)
            raise


async def _health(request: Request) -> Response:
    dead = [name for name, model in request.app.state.service.models.items() if not model.alive()]
    return JSONResponse({"status": "failed", "models": dead}, 503) if dead else JSONResponse({"status": "ok"})


async def _metrics(request: Request) -> Response:
    service: Service = request.app.state.service
    at_work = {name: model.at_work() for name, model in service.models.items()}
    return PlainTextResponse(service.figures.text(at_work), media_type="text/plain; version=0.0.4")


async def _openapi(request: Request) -> Response:
    service: Service = request.app.state.service
    names = ([name for name, model in service.models.items() if isinstance(model, kind)]
             for kind in (Engine, Scorer, Embedder))
    sees = any(sees_pictures(model) for model in service.models.values())
    return JSONResponse(specification(*names, keys=bool(service.options.keys), sees=sees))


async def _models(caller: In) -> Response:
    return JSONResponse({"object": "list", "data": [
        {"id": name, "object": "model", "created": since, "owned_by": "preceptor"}
        for name, since in caller.service.since.items()]})


async def _chat(request: Request, caller: In) -> Response:
    return await _answered(request, caller, chat=True)


async def _completion(request: Request, caller: In) -> Response:
    return await _answered(request, caller, chat=False)


async def _answered(request: Request, caller: In, chat: bool) -> Response:
    service = caller.service
    sees = chat and any(sees_pictures(model) for model in service.models.values())
    name, engine, asked = await _read(caller, await _body(request, REQUEST if sees else LARGEST), chat)
    # From here to the jobs' submission nothing is awaited: the model cannot be swapped in between.
    if service.log is not None and asked.keep:
        check_name(caller.labeler(asked.user))
    form = Form(engine, name, asked, chat)
    call = Call(engine, asked, request, service.figures, service.hall, service.options.timeout)
    events = call.events()
    if not asked.stream:
        found = {number: said async for news in events for number, said in news}
        answers = [found[number] for number in range(len(found))]
        await _keep(caller, form, asked, answers)
        return JSONResponse(form.whole(answers))
    first = await anext(events)  # what fails at once is an error of the request, not of the stream
    return StreamingResponse(_chunks(first, events, form, caller, asked), media_type="text/event-stream",
                             headers={"Cache-Control": "no-store"})


async def _read(caller: In, body: dict[str, Any], chat: bool) -> tuple[str, Engine, Asked]:
    """The model that is asked, by name, and for what. A long text, which may take seconds to become tokens, is read
    beside the event loop, and so are pictures; if another model takes the asked one's place meanwhile, all is read once
    more, for that."""
    service = caller.service
    while True:
        name, engine = service.model(body, Engine)
        reader = engine.reader if isinstance(engine, Sighted) else None
        work = (partial(read_chat, body, engine.decoder, service.options, service.log is not None, reader) if chat else
                partial(read_completion, body, engine.decoder, service.options, reader))
        asked = await run_in_threadpool(work) if len(str(body)) > SHORT else work()
        if asked.pictures:
            asked = await _in_time(caller, engine.shown(asked))
        if service.models.get(name) is engine:
            return name, engine, asked


async def _chunks(first: list[News], events: AsyncIterator[list[News]], form: Form, caller: In,
                  asked: Asked) -> AsyncIterator[str]:
    """The server-sent events of a stream."""
    answers: dict[int, Answer] = {}
    news: list[News] | None = first
    try:
        while news is not None:
            answers |= {number: said for number, said in news if isinstance(said, Answer)}
            if len(answers) == len(asked.requests):  # whoever has read the end can say what he thinks of it
                await _keep(caller, form, asked, [answers[number] for number in range(len(answers))])
            yield form.chunks(news)
            news = await anext(events, None)
        if asked.usage:
            yield event({**form.head, "choices": [], "usage": form.usage(list(answers.values()))})
        yield "data: [DONE]\n\n"
    except Late:
        yield event({"error": _described(504, _late(caller.service.options))})
    except (UserError, Full) as error:
        yield event({"error": _described(400, str(error) or "The server is closing.")})
    except Left:
        return
    except Exception:  # whoever reads the stream is told; the server's log has it by being raised on
        yield event({"error": _described(500, FAILED)})
        raise
    finally:
        await events.aclose()


async def _keep(caller: In, form: Form, asked: Asked, answers: list[Answer]) -> None:
    """Keep an exchange in the log; it is on the disk when this returns."""
    log = caller.service.log
    if log is not None and form.chat and asked.keep:
        await run_in_threadpool(keep, log, caller.name, caller.labeler(asked.user), form.id,
                                asked.requests[0].prompt.messages, [answer.response for answer in answers])


async def _score(request: Request, caller: In) -> Response:
    body = await _body(request)
    name, scorer = caller.service.model(body, Scorer)
    values, cut = await _in_time(caller, scorer.score(*read_score(body)))
    return JSONResponse({"object": "list", "model": name, "truncated": cut, "data": [
        {"object": "score", "index": number, "score": value} for number, value in enumerate(values)]})


async def _embeddings(request: Request, caller: In) -> Response:
    sees = any(sees_pictures(model) for model in caller.service.models.values())
    body = await _body(request, REQUEST if sees else LARGEST)
    name, embedder = caller.service.model(body, Embedder)
    texts, as_bytes = await run_in_threadpool(read_embeddings, body, embedder.encoder)  # may be a megabyte of text
    vectors: list[Any] = await _in_time(caller, embedder.embed(texts))
    if as_bytes:
        vectors = [base64.b64encode(np.array(vector, "<f4").tobytes()).decode() for vector in vectors]
    read = sum(len(text) for text in texts if isinstance(text, list))
    return JSONResponse({"object": "list", "model": name, "usage": {"prompt_tokens": read, "total_tokens": read},
                         "data": [{"object": "embedding", "index": number, "embedding": vector}
                                  for number, vector in enumerate(vectors)]})


async def _feedback(request: Request, caller: In) -> Response:
    body = await _body(request)
    if caller.service.log is None:
        raise UserError("This server keeps no log, and so knows no answer that could be judged.",
                        "Start it with --feedback STORE --log.")
    opinion = read_feedback(body)
    try:
        comparison = await run_in_threadpool(opinion.keep, caller.service.log, caller.name,
                                             caller.labeler(opinion.user))
    except KeyError as error:
        raise HTTPException(404, f"There is no answer {error} of yours in the log.") from None
    return JSONResponse({"object": "feedback", "comparison": comparison})


async def _in_time(caller: In, work: Awaitable[Any]) -> Any:
    try:
        return await asyncio.wait_for(work, caller.service.options.timeout or None)
    except TimeoutError:
        raise Late from None


async def _body(request: Request, largest: int = LARGEST) -> dict[str, Any]:
    """The JSON object of a request that is not too large and does not take for ever."""
    data = bytearray()
    try:
        async with asyncio.timeout(PATIENCE):
            async for chunk in request.stream():
                data += chunk
                if len(data) > largest:
                    raise HTTPException(413, f"The request is larger than {largest} bytes.")
    except TimeoutError:
        raise HTTPException(408, f"The request did not arrive within {PATIENCE:.0f} seconds.") from None
    try:
        body = json.loads(data.decode())
        check_json(body)
    except (ValueError, RecursionError):
        raise HTTPException(400, "The body is not JSON.") from None
    if not isinstance(body, dict):
        raise HTTPException(400, "The body is not a JSON object.")
    return body


def _late(options: ServeOptions) -> str:
    return f"The call took longer than the {options.timeout:g} seconds that it may take."


def _error(status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    return JSONResponse({"error": _described(status, message)}, status, headers)


def _described(status: int, message: str) -> dict[str, Any]:
    return {"message": message, "type": KINDS.get(status, "invalid_request_error"), "param": None, "code": None}
