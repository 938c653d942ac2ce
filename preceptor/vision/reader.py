"""A system that sees, for an engine whose requests come and go: each call's pictures are read once, and stand on a
shelf under numbers that its prompt has in their places. The engine reads numbers, and knows nothing of pictures.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from preceptor.data.pictures.captions import DESCRIBE
from preceptor.data.pictures.decode import BadPicture, decode
from preceptor.data.pictures.store import as_floats
from preceptor.data.records import Prompt, content_text, image_urls
from preceptor.generate.local import LocalDecoder
from preceptor.models.vision.captioner import Captioner
from preceptor.models.vision.splice import Shelf, hook_words
from preceptor.run.errors import UserError
from preceptor.tokenizer.chat import encode_prompt
from preceptor.vision.splice import Spliced
from preceptor.vision.system import System
from preceptor.vision.systems.coca import Coca

FORMATS = ("PNG", "JPEG", "WEBP", "GIF")
MOST_PIXELS = 25_000_000


@dataclass(frozen=True)
class Reader:
    """What is asked of such a system; `decoder` answers prompts whose marks have become numbers."""

    decoder: LocalDecoder
    size: int
    """Width and height of its pictures."""
    mark: int
    """The token that stands for each vector of a picture, until that has a number."""
    first: int
    """The token that is number 0 on the shelf."""
    tokens: Callable[[Prompt], list[int]]
    """The tokens of a conversation, with marks; raises `UserError` for one that the system cannot be asked."""
    see: Callable[[Tensor], Tensor]
    """What stands on the shelf for pictures (P, 3, H, W), one row of (P, vectors, ...) for each."""
    shelf: Shelf
    reads: bool
    """Whether it reads words, and not the picture alone."""

    def read(self, pictures: Sequence[tuple[int, bytes]]) -> list[Tensor]:
        """What the system makes of files, each with its place in its call, from 1 on.

        Raises:
            UserError: one cannot be used; the cause says why.
        """
        with torch.no_grad():
            return list(self.see(pixels_of(pictures, self.size).to(self.shelf.device)))

    def numbered(self, tokens: Sequence[int], seen: Sequence[Tensor]) -> tuple[list[int], list[int]]:
        """The tokens with numbers for marks; and these numbers on the shelf, which the caller takes away in the end."""
        numbers = [number for vectors in seen for number in self.shelf.put(vectors)]
        left = iter(numbers)
        return [self.first + next(left) if token == self.mark else token for token in tokens], numbers


def pixels_of(pictures: Sequence[tuple[int, bytes]], size: int) -> Tensor:
    """Files of a stranger's, each with its place in its request, as systems see them, (P, 3, size, size).

    Raises:
        UserError: one cannot be used; the cause says which, and why.
    """
    found = []
    for place, raw in pictures:
        try:
            found.append(torch.from_numpy(decode(raw, size, most_pixels=MOST_PIXELS, formats=FORMATS).copy()))
        except BadPicture as error:
            raise UserError(f"Picture {place} of the request cannot be used: {error}.",
                            f"Send a whole {', '.join(FORMATS)} of at most {MOST_PIXELS // 10**6} megapixels."
                            ) from None
    return as_floats(torch.stack(found))


def reader_of(system: System, rows: int, name: str) -> Reader | None:
    """What an engine needs of a system, `rows` answers at a time; None of one that neither answers nor captions."""
    if isinstance(system, Spliced):
        return _of_spliced(system, rows, name)
    return _of_coca(system, rows, name) if isinstance(system, Coca) else None


def _of_spliced(system: Spliced, rows: int, name: str) -> Reader:
    device = next(system.parameters()).device
    shelf = Shelf(torch.zeros(system.width, device=device))
    hook_words(system.language_model, shelf)

    def tokens(prompt: Prompt) -> list[int]:
        messages = [message | {"content": [part | {"text": system.worded(part["text"], None)}
                                           if part["type"] == "text" else part for part in message["content"]]}
                    if isinstance(message["content"], list) else message for message in prompt.messages]
        return [token for one in encode_prompt(system.tokenizer, Prompt(prompt.id, messages))
                for token in [one] * (system.vectors if one == system.mark else 1)]

    decoder = LocalDecoder(system.language_model, system.tokenizer, rows=rows, name=name)
    return Reader(decoder, system.size, system.mark, system.vocabulary, tokens, system.prefix, shelf, reads=True)


def _of_coca(system: Coca, rows: int, name: str) -> Reader:
    device = next(system.parameters()).device
    shelf = Shelf(torch.zeros(system.options.queries, system.options.width, device=device))
    captioner = Captioner(system.text, shelf, system.example("", "").tokens[0])
    mark = -1

    def tokens(prompt: Prompt) -> list[int]:
        [*others, last] = prompt.messages
        words = [part for part in last["content"] if part["type"] == "text"] if image_urls([last]) else []
        if others or len(image_urls([last])) != 1 or content_text(words).strip() not in ("", *DESCRIBE.values()):
            raise UserError(f"A {system.options.system} captions one picture, and reads no words.",
                            f"Send a picture alone, or with '{DESCRIBE['en']}'")
        return [mark]

    decoder = LocalDecoder(captioner.eval(), system.tokenizer, rows=rows, name=name)
    return Reader(decoder, system.size, mark, 0, tokens, lambda images: system.pooled(images)[:, None, 1:], shelf,
                  reads=False)
