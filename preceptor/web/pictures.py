"""Pictures in what a client sends: parts of a user's message in OpenAI's form that hold their picture themselves."""

import base64
import binascii
import re
from typing import Any

from preceptor.run.errors import UserError

MOST = 8  # pictures of a call
LARGEST = 4 << 20  # bytes of a picture
REQUEST = 8 << 20  # bytes of a request that may hold pictures
HELD = re.compile(r"data:image/(?:png|jpe?g|webp|gif);base64,")


def taken(messages: list[Any]) -> list[bytes]:
    """The pictures of some messages, in the order in which they stand. Content without one becomes text; in content
    that has one nothing is left but its texts and pictures.

    Raises:
        UserError: a part is neither, a picture is not in the request itself, or there are too many or too large ones.
    """
    found: list[bytes] = []
    for message in messages:
        if isinstance(message, dict) and isinstance(message.get("content"), list):
            before = len(found)
            parts = [part_of(part, found) for part in message["content"]]
            if len(found) == before:
                message["content"] = "".join(part["text"] for part in parts)
                continue
            if message.get("role") != "user":
                raise UserError(f"A message of the role '{str(message.get('role'))[:80]}' holds a picture.",
                                "Put it into a message of the user's.")
            message["content"] = parts
    return found


def part_of(part: Any, found: list[bytes]) -> dict[str, Any]:
    """A part of a message, a text or a picture, whose file joins those that were found; errors as in `taken`."""
    if isinstance(part, dict) and set(part) == {"type", "text"} and part["type"] == "text":
        if isinstance(part["text"], str):
            return part
    if not isinstance(part, dict) or set(part) != {"type", "image_url"} or part["type"] != "image_url":
        raise UserError("A message has a part that is neither text nor a picture.",
                        'Send {"type": "text", "text": "..."} or {"type": "image_url", "image_url": {"url": "..."}}.')
    image = part["image_url"]
    if not isinstance(image, dict) or not isinstance(image.get("url"), str) or not set(image) <= {"url", "detail"}:
        raise UserError("A picture of a message has no URL.",
                        'Write "image_url": {"url": "data:image/png;base64,..."}.')
    if image.get("detail", "auto") != "auto":
        raise UserError(f"The detail '{str(image['detail'])[:80]}' is not offered: a model has one size of pictures.",
                        "Leave detail out.")
    if len(found) == MOST:
        raise UserError(f"A request may hold {MOST} pictures.", "Leave some out.")
    found.append(_held(image["url"], len(found) + 1))
    return {"type": "image_url", "image_url": {"url": image["url"]}}


def _held(url: str, place: int) -> bytes:
    """The file that a data: URL holds; nothing is ever fetched."""
    begun = HELD.match(url)
    if begun is None:
        raise UserError(f"Picture {place} of the request is not held by the request: its URL begins "
                        f"'{url[:40]}', and nothing is fetched here.",
                        "Send a data: URL of PNG, JPEG, WebP or GIF in base64.")
    try:
        raw = base64.b64decode(url[begun.end():], validate=True)
    except binascii.Error:
        raise UserError(f"Picture {place} of the request is not base64.", "Encode its file once more.") from None
    if len(raw) > LARGEST:
        raise UserError(f"Picture {place} of the request has more than {LARGEST >> 20} MB.", "Make it smaller.")
    return raw
