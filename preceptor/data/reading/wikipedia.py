"""Wikipedia XML dumps: articles one by one, as an event stream, so that a dump of any size fits in memory.

Only articles (namespace 0) that are no redirects are taken, the others are counted. Entities that a document defines
itself are refused: no dump has any, and expanding them is how a small file becomes a large one ("billion laughs").
"""

from collections.abc import Iterator
from pathlib import Path
from xml.parsers import expat

from preceptor.data.reading.files import opened
from preceptor.data.reading.raw import Piece, Problem, Raw

CHUNK = 1 << 16
KEPT = ("title", "ns", "id", "text", "sitename", "dbname")


class _Articles:
    """Handlers that collect the fields of the page at hand and queue it when it ends."""

    def __init__(self, largest: int) -> None:
        self.largest = largest
        self.path: list[str] = []
        self.fields: dict[str, list[str]] = {}
        self.size = 0
        self.site: str | None = None
        self.redirect = False
        self.is_dump = False
        self.ready: list[Piece] = []

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self.is_dump = self.is_dump or name == "mediawiki"
        self.path.append(name)
        if name == "page":
            self.fields, self.size, self.redirect = {}, 0, False
        elif name == "redirect":
            self.redirect = True
        elif name in ("sitename", "dbname"):
            self.fields = {}

    def characters(self, text: str) -> None:
        name = self.path[-1] if self.path else ""
        if name in KEPT and not (name == "id" and self.path[-2:-1] != ["page"]):  # revisions have ids too
            self.size += len(text)
            if self.size <= self.largest:
                self.fields.setdefault(name, []).append(text)

    def end(self, name: str) -> None:
        self.path.pop()
        if name in ("sitename", "dbname"):
            self.site = "".join(self.fields.get(name, [])) or self.site
        elif name == "page":
            self.ready.append(self._article())

    def _article(self) -> Piece:
        title = "".join(self.fields.get("title", []))
        if self.redirect or "".join(self.fields.get("ns", ["0"])).strip() != "0":
            return Problem("no article: redirect" if self.redirect else "no article: other namespace", title)
        if self.size > self.largest:
            return Problem("larger than the option 'largest'", title)
        text = "".join(self.fields.get("text", []))
        if not text.strip():
            return Problem("article is empty", title)
        number = "".join(self.fields.get("id", [])).strip()
        return Raw("wikitext", f"{title}\n\n{text}", number or None, self.site)


def read_wikipedia(path: Path, largest: int) -> Iterator[Piece]:
    """The articles of a dump; where the XML breaks off, what came before is kept and a problem says where."""
    articles = _Articles(largest)
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = articles.start
    parser.CharacterDataHandler = articles.characters
    parser.EndElementHandler = articles.end
    parser.EntityDeclHandler = _refuse
    with opened(path) as stream:
        try:
            while chunk := stream.read(CHUNK):
                parser.Parse(chunk, False)
                yield from articles.ready
                articles.ready.clear()
            parser.Parse(b"", True)
        except (expat.ExpatError, _EntityError) as error:
            yield from articles.ready
            yield Problem("XML is damaged", str(error))
            return
    yield from articles.ready
    if not articles.is_dump:
        yield Problem("XML is no Wikipedia dump")


class _EntityError(ValueError):
    pass


def _refuse(name: str, *rest: object) -> None:
    raise _EntityError(f"the document defines an entity of its own, '{name[:40]}'")
