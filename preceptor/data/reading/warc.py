"""Common Crawl archives: WARC (pages), WET (text), WAT (metadata), and the older ARC.

Records are read in order from the decompressed stream, so that archives which were compressed as one piece, which the
usual readers refuse, are read too. What is not a page (requests, revisits, images) is counted by its kind.
"""

import io
import json
import re
from collections.abc import Iterator
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

from preceptor.data.reading.files import opened
from preceptor.data.reading.raw import Piece, Problem, Raw

CHARSET = re.compile(r"charset=[\"']?([\w.:-]+)", re.IGNORECASE)
PAGES = ("text/html", "application/xhtml+xml")
# What a problem may name, so that an archive of invented kinds and types cannot make a phrase, and a row of the report,
# for each of its records: the record types of ISO 28500, and what crawls are full of.
KINDS = ("warcinfo", "response", "resource", "request", "metadata", "revisit", "conversion", "continuation")
TYPES = ("application/http", "application/javascript", "application/json", "application/octet-stream",
         "application/pdf", "application/rss+xml", "application/xml", "application/zip", "audio/mpeg", "image/gif",
         "image/jpeg", "image/png", "image/svg+xml", "image/webp", "text/css", "text/javascript", "text/plain",
         "text/xml", "video/mp4")


def read_warc(path: Path, largest: int) -> Iterator[Piece]:
    """The pages and texts of an archive; the first damage that hides where records begin ends it with a problem."""
    from warcio.archiveiterator import ArchiveIterator
    from warcio.exceptions import ArchiveLoadFailed
    from warcio.recordloader import ArcWarcRecord
    warnings = io.StringIO()  # warcio prints what it finds amiss, and the content with it
    with opened(path) as stream:
        records = iter(ArchiveIterator(stream, arc2warc=True))
        while True:
            try:
                with redirect_stderr(warnings):
                    record: ArcWarcRecord | None = next(records, None)
                    piece = _piece(record, largest) if record is not None else None
            except (ArchiveLoadFailed, AttributeError, IndexError, KeyError, TypeError) as error:
                # The last four are how warcio meets headers without a URI, a length or a status.
                yield Problem("archive is damaged", " ".join(str(error).split())[:200])
                return
            if "Content-Length is invalid" in warnings.getvalue():
                yield Problem("record is longer than its length")
            warnings.seek(0)
            warnings.truncate()
            if piece is None:
                return
            yield piece


def _piece(record: Any, largest: int) -> Piece:
    """The page or text of one record; records that hold neither are problems of a kind that names theirs."""
    headers = record.rec_headers
    url = headers.get_header("WARC-Target-URI") or ""
    name = headers.get_header("WARC-Record-ID") or url
    kind = record.rec_type
    content_type = (record.http_headers.get_header("Content-Type") if record.http_headers else None) \
        or headers.get_header("Content-Type") or ""
    status = record.http_headers.get_statuscode() if record.http_headers else "200"
    is_page = content_type.lower().startswith(PAGES)
    wanted = (kind == "conversion" or (kind == "metadata" and content_type.startswith("application/json"))
              or (kind in ("response", "resource") and is_page and status == "200"))
    if not wanted:
        return Problem(_no_page(kind, content_type.partition(";")[0].strip().lower(), status), url)
    content = record.content_stream().read(largest + 1)
    if len(content) > largest:
        return Problem("larger than the option 'largest'", url)
    promised = headers.get_header("Content-Length") or ""
    if record.raw_stream.limit > 0 and promised.isdigit():
        return Problem("record is cut short", url)
    if not content.strip():
        return Problem("record is empty", url)
    if kind == "conversion":
        return Raw("text", content.decode("utf-8", "replace"), name, _host(url))
    if kind == "metadata":
        return _head(content, name, url)
    found = CHARSET.search(content_type)
    return Raw("html", content, name, _host(url), charset=found[1] if found else None)


def _host(url: str) -> str | None:
    found = re.match(r"\w+://([^/:?#]+)", url)
    return found[1] if found else None


def _no_page(kind: str | None, content_type: str, status: str | None) -> str:
    """The phrase for a record that holds no page; what the archive invented is not repeated."""
    if kind not in ("response", "resource"):
        return f"no page: {kind if kind in KINDS else 'unknown'} record"
    if kind == "response" and status != "200":
        known = status is not None and re.fullmatch("[1-5][0-9][0-9]", status)
        return f"no page: response record, {status if known else 'no status'}"
    other = content_type if content_type in TYPES else "another type" if content_type else "no type"
    return f"no page: {kind} record, {other}"


def _head(content: bytes, name: str, url: str) -> Piece | None:
    """Of a WAT record the page's title and description: all of its text that a WAT keeps."""
    try:
        envelope = json.loads(content)["Envelope"]
        payload = envelope["Payload-Metadata"].get("HTTP-Response-Metadata", {})
        head = payload.get("HTML-Metadata", {}).get("Head", {})
        metas = {meta.get("name") or meta.get("property"): meta.get("content") for meta in head.get("Metas", [])}
        lines = [head.get("Title"), metas.get("description") or metas.get("og:description")]
        url = envelope.get("WARC-Header-Metadata", {}).get("WARC-Target-URI", url)
    except (ValueError, KeyError, AttributeError, TypeError):
        return Problem("WAT record is not of the known form", url)
    text = "\n".join(line for line in lines if isinstance(line, str) and line.strip())
    return Raw("text", text, name, _host(url)) if text else Problem("WAT record has no title or description", url)
