"""Pages, books, PDFs and wikitext as plain text. Runs in the process that may be killed (`worker.py`)."""

import io
import posixpath
import re
import zipfile
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

LINKS = re.compile(r"^\[\[\s*(file|image|category|media|文件|檔案|图像|圖像|分类|分類)\s*:", re.IGNORECASE)
META_CHARSET = re.compile(rb"<(?:meta|\?xml)[^>]*?(?:charset|encoding)\s*=\s*[\"']?\s*([\w.:-]+)", re.IGNORECASE)
BLANKS = re.compile(r"\n{3,}")
MOST_CHAPTERS = 5000


class ExtractionError(Exception):
    """Content that holds no text that can be had; the message is a phrase that counts with others like it."""


def extract(kind: str, content: bytes, charset: str | None, careful: bool, largest: int) -> list[str]:
    """The texts in a piece: one of a page, one a chapter of a book.

    Raises:
        ExtractionError: there is no text, or the piece is damaged.
    """
    if kind == "html":
        texts = [page_text(content, charset, careful)]
    elif kind == "epub":
        texts = _chapters(content, largest)
    else:
        texts = [{"pdf": _pdf_text, "wikitext": _wikitext}[kind](content)]
    texts = [text for text in texts if text.strip()]
    if not texts:
        raise ExtractionError("no text found")
    return texts


def page_text(content: bytes, charset: str | None, careful: bool) -> str:
    """The main text of a page: trafilatura's where it is asked for and finds one, else the fast parser's."""
    html = decoded(content, charset)
    if careful and (found := careful_text(html)):
        return found
    return fast_text(html)


def careful_text(html: str) -> str:
    """trafilatura's main text, without readers' comments; empty where it finds none."""
    import trafilatura
    return trafilatura.extract(html, include_comments=False) or ""


def fast_text(html: str) -> str:
    """The main text by resiliparse's parser and rules."""
    from resiliparse.extract.html2text import extract_plain_text
    return extract_plain_text(html, main_content=True, alt_texts=False, comments=False, preserve_formatting=True)


def decoded(content: bytes, charset: str | None) -> str:
    """Bytes of a page as text: what the server said, else what the page says, else what its bytes look like."""
    from resiliparse.parse.encoding import detect_encoding, map_encoding_to_html5
    try:
        return content.decode("utf-8-sig")  # bytes that are valid UTF-8 are UTF-8, whatever is declared
    except UnicodeDecodeError:
        pass
    said = [charset, *(found.decode() for found in META_CHARSET.findall(content[:4096]))]
    known = (map_encoding_to_html5(name, fallback_utf8=False) for name in said if name)
    name = next((name for name in known if name), None) or detect_encoding(content) or "utf-8"
    try:
        return content.decode(name, "replace")
    except LookupError:
        return content.decode("utf-8", "replace")


def _wikitext(content: bytes) -> str:
    """An article without templates, tables, notes, pictures and categories."""
    import mwparserfromhell
    title, _, source = content.decode("utf-8", "replace").partition("\n\n")
    code = mwparserfromhell.parse(source)
    for tag in code.filter_tags(matches=lambda node: str(node.tag) in ("ref", "table", "gallery", "math")):
        _remove(code, tag)
    for link in code.filter_wikilinks(matches=lambda node: bool(LINKS.match(str(node)))):
        _remove(code, link)
    text = code.strip_code(normalize=True, collapse=True)
    return f"{title}\n\n" + BLANKS.sub("\n\n", "\n".join(line.strip() for line in text.split("\n"))).strip()


def _remove(code: Any, node: Any) -> None:
    try:
        code.remove(node)
    except ValueError:
        pass  # it stood in one that is removed already


def _pdf_text(content: bytes) -> str:
    import pypdf
    from pypdf.errors import PyPdfError
    try:
        reader = pypdf.PdfReader(io.BytesIO(content))
        if reader.is_encrypted and not reader.decrypt(""):
            raise ExtractionError("PDF is encrypted")
        return "\n\n".join(page.extract_text() for page in reader.pages)
    except ExtractionError:
        raise
    except (PyPdfError, ValueError, KeyError, TypeError, AttributeError, IndexError, OSError, RecursionError,
            AssertionError, NotImplementedError) as error:
        raise ExtractionError("PDF is damaged") from error


def _chapters(content: bytes, largest: int) -> list[str]:
    """The chapters of an EPUB in reading order. Nothing is unpacked to the disk, so a hostile path in it names nothing.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as book:
            read = _bounded_reader(book, largest)
            package = _package_path(read("META-INF/container.xml"))
            names = _spine(read(package), posixpath.dirname(package))
            return [_chapter_text(read(name)) for name in names[:MOST_CHAPTERS] if name in book.NameToInfo]
    except (zipfile.BadZipFile, KeyError, ValueError, RuntimeError, NotImplementedError, OSError, EOFError) as error:
        raise ExtractionError("EPUB is damaged") from error
    except Exception as error:
        if type(error).__module__.startswith(("zlib", "lzma", "lxml")):  # their errors share no base class
            raise ExtractionError("EPUB is damaged") from error
        raise


def _bounded_reader(book: zipfile.ZipFile, largest: int) -> Callable[[str], bytes]:
    """Reads members of a book until their sizes, as unpacked and not as promised, add up to `largest`."""
    room = largest

    def read(name: str) -> bytes:
        nonlocal room
        with book.open(name) as member:
            content = member.read(room + 1)
        room -= len(content)
        if room < 0:
            raise ExtractionError("larger than the option 'largest'")
        return content
    return read


def _xml(content: bytes) -> Any:
    from lxml import etree
    return etree.fromstring(content, etree.XMLParser(resolve_entities=False, no_network=True, recover=True))


def _package_path(container: bytes) -> str:
    root = _xml(container)
    found = root.xpath("//*[local-name()='rootfile']/@full-path") if root is not None else []
    if not found:
        raise ExtractionError("EPUB is damaged")
    return str(found[0])


def _spine(package: bytes, folder: str) -> list[str]:
    root = _xml(package)
    if root is None:
        raise ExtractionError("EPUB is damaged")
    items = {item.get("id"): item.get("href") for item in root.xpath("//*[local-name()='item']")}
    order = [items.get(reference.get("idref")) for reference in root.xpath("//*[local-name()='itemref']")]
    return [posixpath.normpath(posixpath.join(folder, unquote(name.partition("#")[0]))) for name in order if name]


def _chapter_text(content: bytes) -> str:
    """All text of a chapter: a book has no adverts around its text."""
    from resiliparse.extract.html2text import extract_plain_text
    return extract_plain_text(decoded(content, None), main_content=False, preserve_formatting=True, alt_texts=False)
