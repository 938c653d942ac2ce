"""Pictures of prompts: those of a file of prompts go into the store with them, as a path beside that file leads nowhere
from a browser; a record that is in the store already may name files in a folder that the pages show.
"""

import base64
from dataclasses import replace
from pathlib import Path
from typing import Any

from preceptor.data.records import Prompt
from preceptor.run.errors import UserError

KINDS = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp", ".gif": "gif"}  # by suffix: what pages show
LARGEST = 4 << 20  # bytes of a picture


def with_pictures(prompt: Prompt, folder: Path) -> Prompt:
    """The prompt with every picture that is a path, relative to `folder`, as a `data:` URL that holds it.

    URLs stay as they are; the page shows those that hold their picture, and no others.

    Raises:
        UserError: a path leads out of the folder, or to no picture, or the picture is too large.
    """
    messages = [message if isinstance(message["content"], str) else
                {**message, "content": [_part(part, folder, prompt.id) for part in message["content"]]}
                for message in prompt.messages]
    return replace(prompt, messages=messages)


def _part(part: dict[str, Any], folder: Path, prompt: str) -> dict[str, Any]:
    if not isinstance(part, dict) or part.get("type") != "image_url":
        return part
    image = part.get("image_url")
    url = image.get("url") if isinstance(image, dict) else None
    if not isinstance(url, str):
        raise UserError(f"A picture of the prompt '{prompt}' has no address.", 'Write "image_url": {"url": "..."}.')
    if ":" in url:
        return part
    path = inside(folder, url)
    if path is None:
        raise UserError(f"The picture '{url}' of the prompt '{prompt}' is not in '{folder}'.",
                        f"Put it there, as {', '.join(KINDS)}, or write it into the prompt as a data: URL.")
    if path.stat().st_size > LARGEST:
        raise UserError(f"The picture '{url}' has more than {LARGEST >> 20} MB.", "Make it smaller.")
    held = base64.b64encode(path.read_bytes()).decode()
    return {**part, "image_url": {**image, "url": f"data:image/{KINDS[path.suffix.lower()]};base64,{held}"}}


def inside(folder: Path, name: str) -> Path | None:
    """The picture that a name means in a folder; None where there is none, or the name or a link leads out of it."""
    try:
        path = (folder / name).resolve()
        found = path.is_relative_to(folder.resolve()) and path.suffix.lower() in KINDS and path.is_file()
    except (OSError, ValueError):  # a name that no file can have
        return None
    return path if found else None
