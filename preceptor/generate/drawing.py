"""The two ways to draw the tokens of an answer one after the other: from each token to the next, or by speculation.

Speculative decoding (Leviathan et al. 2023, arXiv 2211.17192; Chen et al. 2023, arXiv 2302.01318): tokens guessed ahead
are read in one pass of the model, and kept as far as they are right. A guess is right here when it is the very token
that the request draws from the model, with its own seed and processors. So the answer is the one without speculation;
in the papers only its distribution is. The price is that a guess is kept as often as two draws with one uniform number
agree, which is somewhat less often than their rule of rejection reaches.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from preceptor.generate.cache import BlockCache
from preceptor.generate.decoder import Request
from preceptor.generate.processors import Shaper
from preceptor.generate.rows import Rows, read_on
from preceptor.generate.sampling import next_tokens

if TYPE_CHECKING:
    from preceptor.generate.local import LocalDecoder

LOOKED_UP = 2  # tokens that must agree before what followed them is copied


class Drawing:
    """Reads the last token of each row, and draws the next."""

    with_states = False
    spare = 0

    def __init__(self, model: nn.Module, shaper: Shaper, end: int) -> None:
        self.model, self.shaper, self.end = model, shaper, end

    def read(self, rows: Rows) -> None:
        """Run the model over the token that each row wrote last."""
        rows.read(self.model)

    def write(self, rows: Rows) -> list[int]:
        """Draw each row's next token; returns the rows that ended with it."""
        return rows.write(self.end, self.shaper)


class Speculation(Drawing):
    """Drawing for one row, with tokens guessed ahead by a smaller model or copied from the text.

    The decoder's `guessed` counts the tokens guessed so far and its `right` those of them that were kept.
    """

    def __init__(self, decoder: "LocalDecoder", shaper: Shaper) -> None:
        super().__init__(decoder.model, shaper, decoder.tokenizer.eos_token_id)
        self.decoder = decoder
        self._ahead: list[tuple[int, Tensor]] = []  # guesses not yet drawn, each with the logits that follow it
        self._drafts: _Drafts | None = None

    @torch.inference_mode()
    def read(self, rows: Rows) -> None:
        """Take the logits behind a right guess, or run the model over the last token and new guesses."""
        number, last = int(rows.request_N[0]), rows.written(0)[-1]
        if rows.made_N[0] == 1:  # another answer begins
            self._ahead, self._drafts = [], None
        if self._ahead and self._ahead[0][0] == last:
            rows.logits_NV = self._ahead.pop(0)[1]
            rows.cached_N = rows.cached_N + 1
            self.decoder.right += 1
            return
        text = self.shaper.prompts[number] + rows.written(0)
        guesses = self._guess(rows, self.shaper.requests[number], text)
        self.decoder.guessed += len(guesses)
        known = int(rows.cached_N[0])  # all but the last token are in the cache; behind them was guessed wrong
        for layer in rows.cache.layers:
            layer.crop(known)
        logits_1QV = read_on(self.model, rows.cache, [last, *guesses])
        rows.cached_N = rows.cached_N + 1
        rows.logits_NV = logits_1QV[:, 0]
        self._ahead = [(guess, logits_1QV[:, place]) for place, guess in enumerate(guesses, start=1)]

    def _guess(self, rows: Rows, request: Request, text: Sequence[int]) -> list[int]:
        room = int(rows.limit_N[0] - rows.made_N[0]) - 1
        options = request.sampling
        if options.prompt_lookup_num_tokens:
            return looked_up(text, min(room, options.prompt_lookup_num_tokens))
        if self._drafts is None:
            self._drafts = _Drafts(self.decoder.draft, len(text) + room)
        return self._drafts.guess(rows, text, min(room, options.num_assistant_tokens), self.end)


def looked_up(text: Sequence[int], count: int) -> list[int]:
    """What followed the last two tokens where they stood last before: `count` tokens, none if they did not.

    Where what followed is shorter, copying goes on into the copy, as a loop does.
    """
    last = list(text[-LOOKED_UP:])
    for end in range(len(text) - 1, LOOKED_UP - 1, -1):
        if list(text[end - LOOKED_UP:end]) == last:
            copy = list(text)
            for place in range(count):
                copy.append(copy[end + place])
            return copy[len(text):]
    return []


class _Drafts:
    """What the draft model has read of one answer, wrong guesses included."""

    def __init__(self, model: nn.Module, columns: int) -> None:
        self.model = model
        self.cache = BlockCache(columns)
        self.text: list[int] = []

    def guess(self, rows: Rows, text: Sequence[int], count: int, end: int) -> list[int]:
        """`count` tokens that the draft model draws next, with the numbers that the request will draw with."""
        guesses: list[int] = []
        made = int(rows.made_N[0])
        while len(guesses) < count:
            whole = [*text, *guesses]
            shared = min(len(self.text), len(whole) - 1)
            same = next((place for place in range(shared) if self.text[place] != whole[place]), shared)
            for layer in self.cache.layers:
                layer.crop(same)
            logits_1QV = read_on(self.model, self.cache, whole[same:])
            self.text = whole
            tokens, _ = next_tokens(logits_1QV[:, -1], rows.uniforms_NT[:, made + len(guesses)], rows.temperature_N,
                                    rows.top_k_N, rows.top_p_N)
            guesses.append(int(tokens[0]))
            if guesses[-1] == end:
                break
        return guesses
