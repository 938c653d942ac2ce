"""The chat page: who can be talked to, what still fits the context, Markdown, and opinions that go into the store.

Answers come from the API (`/v1/chat/completions`) like anybody else's. Nothing here rests on cookies: where there are
keys, the page's script sends one with each call, as other clients do. Conversations stay in the browser.
"""

from collections.abc import Awaitable, Callable
from json import dumps
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse
from jinja2 import TemplateError
from pydantic import Field
from starlette.exceptions import HTTPException

from preceptor.data.records import Prompt, Response
from preceptor.feedback.judgements import withdraw
from preceptor.feedback.preferences import conversation, prefer, thumb
from preceptor.generate.decoder import Sampling
from preceptor.generate.engine import Engine
from preceptor.models.causal import context_length
from preceptor.run.errors import UserError
from preceptor.tokenizer.chat import fitting
from preceptor.web.asked import checked
from preceptor.web.guard import LARGEST, Refused, Strict, check_origin
from preceptor.web.limits import Limit
from preceptor.web.opinions import Opinions
from preceptor.web.pictures import REQUEST, taken
from preceptor.web.render import image_of, language_of, markdown, page, parts_of
from preceptor.web.served import Sighted
from preceptor.web.service import Service, recognised
from preceptor.web.shell import furnish
from preceptor.words.catalogue import catalogue

App = Callable[[Any, Any, Any], Awaitable[None]]
PATHS = ("/static/", "/look", "/api/chat/")
PER_MINUTE = 3000  # calls of the page; a text that is being written is shown anew a few times a second
MOST_ANSWERS = 26

router = APIRouter()


def create_chat(service: Service, opinions: Opinions) -> FastAPI:
    """The page over what is served; without keys under this server's names alone, as the API."""
    app = FastAPI(title="Preceptor", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.service, app.state.opinions = service, opinions
    app.state.requests = Limit(PER_MINUTE, 60)
    app.include_router(router)
    sees = any(isinstance(model, Sighted) for model in service.models.values())
    furnish(app, ("*",) if service.options.keys else service.options.hosts, REQUEST if sees else LARGEST)
    app.add_exception_handler(TemplateError, lambda request, error: JSONResponse({"detail": str(error)}, 400))
    return app


def beside(api: FastAPI, chat: FastAPI) -> App:
    """Both as one application: the page at `/`, everything else as the API has it."""
    async def both(scope: Any, receive: Any, send: Any) -> None:
        ours = scope["type"] == "http" and (scope["path"] == "/" or scope["path"].startswith(PATHS))
        await (chat if ours else api)(scope, receive, send)
    return both


def known_caller(request: Request) -> Service:
    """The service, for the script of our own page with a key where keys are asked for.

    A page of another site can neither send JSON here nor read what comes back: browsers ask first, and are refused.

    Raises:
        HTTPException: 401 without a key that is let in, 415 for a body that is not said to be JSON.
        Refused: another site sent it, or there were too many requests.
    """
    service, who = recognised(request)
    check_origin(request)
    if request.method == "POST" and request.headers.get("content-type", "").split(";")[0] != "application/json":
        raise HTTPException(415, "The body must be application/json.")
    if not request.app.state.requests.allows(who):
        raise Refused(429, "too_often")
    request.state.labeler = request.app.state.opinions.labeler(who if service.options.keys else None)
    return service


Known = Annotated[Service, Depends(known_caller)]
Messages = Annotated[list[dict[str, Any]], Field(min_length=1, max_length=1000)]


class FittingBody(Strict):
    """A conversation that a model is about to answer."""

    model: str
    messages: Messages
    max_tokens: int | None = Field(default=None, ge=1)


class TextsBody(Strict):
    texts: list[str] = Field(max_length=64)


class AnswerBody(Strict):
    """An answer as the page has it: what the API gave, and what it was asked with."""

    text: str
    finish: str
    model: str = Field(max_length=200)
    sampling: dict[str, Any]


class PreferenceBody(Strict):
    """Answers to a conversation, in the order shown, and the indices of the best, the next best, and so on."""

    messages: Messages
    answers: list[AnswerBody] = Field(min_length=2, max_length=MOST_ANSWERS)
    ranking: list[list[int]] = Field(max_length=MOST_ANSWERS)


class ThumbBody(Strict):
    """One answer, liked, disliked, or (absent) neither any longer."""

    messages: Messages
    answer: AnswerBody
    up: bool | None = None


@router.get("/", response_class=HTMLResponse)
def chat_page(request: Request) -> HTMLResponse:
    """The page; it names no model, as nobody has shown a key yet."""
    said = catalogue(language_of(request))
    words = {name.removeprefix("chat."): text for name, text in said.items() if name.startswith("chat.")}
    return page(request, "chat", words=dumps(words, ensure_ascii=False))


@router.get("/api/chat/models")
def models(request: Request, service: Known) -> JSONResponse:
    """Who can be talked to, who of them sees pictures, and whether opinions are kept."""
    named = {name: model for name, model in service.models.items() if isinstance(model, Engine)}
    return JSONResponse({
        "models": [{"name": name, "context": context_length(engine.decoder.model), "sees": isinstance(engine, Sighted)}
                   for name, engine in named.items()],
        "keeps": request.app.state.opinions.place is not None, "max_tokens": service.options.max_tokens})


@router.post("/api/chat/fitting")
def fit(service: Known, body: FittingBody) -> JSONResponse:
    """How many messages behind the system's the model can no longer see, how many tokens its answer may have, and
    whether what is left fits at all. Half of the context belongs to the answer, if it asks for so much."""
    _, engine = service.model({"model": body.model}, Engine)
    reader = engine.reader if isinstance(engine, Sighted) else None
    context = context_length(engine.decoder.model)
    most = context // 2 if reader is None or reader.reads else context - 1  # captions have a context of their own
    longest = min(body.max_tokens or service.options.max_tokens, most)
    if taken(body.messages) and reader is None:
        raise UserError(f"The model '{body.model}' reads text alone.", "Ask a model that sees.")
    messages = Prompt("chat", body.messages).messages
    kept, whole = fitting(messages, engine.decoder.tokenizer, context - longest, reader and reader.tokens)
    return JSONResponse({"left_out": len(messages) - len(kept), "whole": whole, "max_tokens": longest,
                         "context": context})


@router.post("/api/chat/markdown")
def shown(service: Known, body: TextsBody) -> JSONResponse:
    """Texts as HTML, by the one renderer of all pages: tags in them are shown, not obeyed."""
    return JSONResponse({"html": [str(markdown(text)) for text in body.texts]})


@router.post("/api/chat/preferences")
def keep_preference(request: Request, service: Known, body: PreferenceBody) -> JSONResponse:
    """Keep which of some answers is better, as a `Comparison`; answers once it is on the disk."""
    store = _opinions(request).store()
    kept = prefer(store, request.state.labeler, _prompt(body.messages), [_response(one) for one in body.answers],
                  body.ranking)
    return JSONResponse({"id": kept.id})


@router.post("/api/chat/preferences/{label}/withdraw")
def take_back(request: Request, service: Known, label: str) -> JSONResponse:
    """Take a preference of one's own back; it stays in the store, marked."""
    if withdraw(_opinions(request).store(), request.state.labeler, label) is None:
        raise Refused(404, "no_such_thing")
    return JSONResponse({"withdrawn": True})


@router.post("/api/chat/thumbs")
def keep_thumb(request: Request, service: Known, body: ThumbBody) -> JSONResponse:
    """Keep that an answer is liked or not, in place of what was said before."""
    thumb(_opinions(request).store(), request.state.labeler, _prompt(body.messages), _response(body.answer), body.up)
    return JSONResponse({"kept": True})


def _opinions(request: Request) -> Opinions:
    opinions: Opinions = request.app.state.opinions
    if opinions.place is None:
        raise UserError("Opinions are not kept here.", "Start the server with --feedback FILE.")
    return opinions


def _prompt(messages: list[dict[str, Any]]) -> Prompt:
    """The conversation as a prompt whose images are its own.

    Raises:
        UserError: it ends with an answer, or holds something that is neither text nor such an image.
    """
    prompt = conversation(messages)
    if messages[-1]["role"] != "user":
        raise UserError("A conversation that is answered ends with the user.", "Leave its last messages out.")
    for message in messages:
        for part in parts_of(message["content"]):
            if "image" in part and image_of(part["image"]) is None:
                raise UserError("An image of a conversation is not in the conversation itself.",
                                "Give a data: URL of PNG, JPEG, WebP or GIF.")
    return prompt


def _response(answer: AnswerBody) -> Response:
    """The answer as a record; how it was written must be something that the API can be asked for."""
    sampling = checked(answer.sampling, {"seed": int})
    Sampling(**{name: value for name, value in sampling.items() if name != "seed"})
    return Response(answer.text, answer.finish, model=answer.model, sampling=sampling)
