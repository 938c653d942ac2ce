"""A system with a vector of a picture and one of a text, as whoever serves vectors asks for them."""

from collections.abc import Sequence

import torch

from preceptor.data.batches import Example, collate
from preceptor.run.errors import UserError
from preceptor.tokenizer.chat import encode_text
from preceptor.vision.reader import pixels_of
from preceptor.vision.system import TwoTowers

Picture = tuple[int, bytes]  # its place in the call, from 1 on, and its file


class PairEncoder:
    """Texts and pictures as vectors of unit length in one space."""

    def __init__(self, system: TwoTowers) -> None:
        self.system, self.width = system, system.embed_texts([""]).shape[1]

    def tokens(self, text: str) -> list[int]:
        """A text as the system reads it, start and end included.

        Raises:
            UserError: it is longer than what the system can read.
        """
        room, needed = self.system.options.text_length - 2, len(encode_text(self.system.tokenizer, text))
        if needed > room:
            raise UserError(f"A text of {needed} tokens does not fit the {room} that the system reads.",
                            "Divide it, and embed the parts.")
        return self.system.example("", text).tokens

    @torch.no_grad()
    def embed(self, items: Sequence[list[int] | Picture]) -> list[list[float]]:
        """One vector for each text's tokens and each picture.

        Raises:
            UserError: a picture cannot be used; the cause says why.
        """
        system, device = self.system, str(next(self.system.parameters()).device)
        texts = [item for item in items if isinstance(item, list)]
        pictures = [item for item in items if not isinstance(item, list)]
        found = iter([])
        if texts:
            batch = collate([[Example.of_text("", tokens)] for tokens in texts], system.tokenizer.pad_token_id)
            found = iter(system.text_vectors(batch.to(device)).tolist())
        seen = iter(system.embed(pixels_of(pictures, system.size)).tolist() if pictures else [])
        return [next(found) if isinstance(item, list) else next(seen) for item in items]
