"""Pages from templates: in the reader's language and colours, every text of models and people escaped."""

import re
from functools import cache, lru_cache, partial
from importlib.resources import files
from typing import Any
from urllib.parse import quote

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined
from markdown_it import MarkdownIt
from markupsafe import Markup

from preceptor.feedback.accounts import Session
from preceptor.words.catalogue import LANGUAGES, known, say

TAGS = {"en": "en", "zh": "zh-CN"}
THEMES = ("system", "light", "dark")
COLOURS = files("preceptor.report").joinpath("colours.css")
LONGEST = 30_000  # characters: brackets that nobody closes take Markdown a time that grows with their square
KEY = re.compile(r"[0-9a-f]{24}|[0-9a-f]{32}(/\d+)?")  # names that the store makes: nobody reads them whole
IMAGE = re.compile(r"data:image/(png|jpeg|webp|gif);base64,[A-Za-z0-9+/=]+")


@cache
def _environment() -> Environment:
    environment = Environment(loader=PackageLoader("preceptor.web", "pages"), autoescape=True,
                              undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"markdown": kept_markdown, "share": share, "decimal": decimal}
    environment.globals |= {"is_key": KEY.fullmatch, "parts_of": parts_of}
    return environment


@cache
def _markdown() -> MarkdownIt:
    """CommonMark with tables; tags are shown as text, and images, which would call another server, as links."""
    return MarkdownIt("commonmark", {"html": False, "breaks": True}).enable(["table", "strikethrough"]).disable("image")


def markdown(text: str) -> Markup:
    """A text of a model's or person's as HTML. Markup in it is shown, not obeyed; links say where they lead. One that
    is longer than `LONGEST` is shown as it stands."""
    if len(text) > LONGEST:
        return Markup('<p class="plain">{}</p>').format(text)
    html = _markdown().render(text)
    return Markup(html.replace("<a href=", '<a rel="noopener noreferrer nofollow" target="_blank" href='))


kept_markdown = lru_cache(1000)(markdown)
"""`markdown` of texts that are shown again and again: those of the store, and not whatever a client sends."""


def share(value: float | None) -> str:
    """`73 %`, or a dash."""
    return "–" if value is None else f"{100 * value:.0f}\u202f%"


def decimal(value: float | None, places: int = 2) -> str:
    """`−0.13`, or a dash."""
    return "–" if value is None else f"{value:.{places}f}".replace("-", "−")


def parts_of(content: Any) -> list[dict[str, str]]:
    """A message's content as parts `{text}` or `{image}`."""
    if isinstance(content, str):
        return [{"text": content}]
    found = []
    for part in content:
        if isinstance(part, dict) and part.get("type") == "image_url":
            url = part.get("image_url")
            found.append({"image": str(url.get("url", "") if isinstance(url, dict) else url)})
        else:
            found.append({"text": str(part.get("text", "")) if isinstance(part, dict) else str(part)})
    return found


def image_of(url: str) -> str | None:
    """An image that may be shown: one that the record itself holds. Others would tell a stranger who looks."""
    return url if IMAGE.fullmatch(url) else None


def shown_image(request: Request, url: str) -> str | None:
    """What a page shows for an image of a prompt: the image itself, where the record holds it, or ours of that name,
    where there is a folder of them."""
    room = getattr(request.app.state, "room", None)
    if room is not None and room.pictures is not None and url and ":" not in url:
        return f"/pictures/{quote(url)}"
    return image_of(url)


def language_of(request: Request) -> str:
    """The language that the reader chose, else the first of the browser's that we have."""
    chosen = request.cookies.get("language")
    if chosen in LANGUAGES:
        return chosen
    wanted = [part.split(";")[0].strip()[:2].lower() for part in request.headers.get("accept-language", "").split(",")]
    return next((language for language in wanted if language in LANGUAGES), LANGUAGES[0])


def theme_of(request: Request) -> str:
    chosen = request.cookies.get("theme")
    return chosen if chosen in THEMES else "system"


def page(request: Request, name: str, session: Session | None = None, /, status: int = 200,
         **values: Any) -> HTMLResponse:
    """A whole page, or the part of one that the template of that name makes."""
    language = language_of(request)

    def words(key: str, **places: Any) -> str:
        return say(f"label.{key}", language, **places)

    def named(group: str, name: str) -> str:
        """What people call a name of a group; one in no catalogue stands for itself."""
        return say(f"{group}.{name}", language) if known(f"{group}.{name}") else name

    html = _environment().get_template(f"{name}.html").render(
        t=words, say=partial(say, language=language), named=named, language=language, tag=TAGS[language],
        image_of=partial(shown_image, request),
        theme=theme_of(request), session=session, path=request.url.path,
        other=next(one for one in LANGUAGES if one != language), version=_version(), **values)
    return HTMLResponse(html, status_code=status)


def prepare() -> None:
    """Read the templates and words before the first reader comes: of many at once, each would do it anew."""
    environment = _environment()
    for name in environment.list_templates():
        environment.get_template(name)
    for language in LANGUAGES:
        say("label.brand", language)
    markdown("")
    _version()


@cache
def _version() -> str:
    """A name of the style sheet's and script's state, so that a browser fetches them anew when they change."""
    from preceptor.run.files import hash_value
    folder = files("preceptor.web").joinpath("static")
    ours = [one for one in sorted(folder.iterdir(), key=lambda one: one.name) if one.name.endswith((".css", ".js"))]
    return hash_value([one.read_text(encoding="utf-8") for one in (COLOURS, *ours)])[:12]
