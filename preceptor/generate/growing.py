"""The text of an answer while it is written: what each token adds that no further token can change."""

from collections.abc import Sequence
from typing import Any

LONGEST = 4  # tokens that one character can be spread over: the bytes of UTF-8


class Growing:
    """Give it one token after the other; `text` is settled, and a beginning of the finished answer's text.

    Only the last few tokens are decoded again with each new one, so that a token costs the same wherever it stands.
    """

    def __init__(self, tokenizer: Any, stops: Sequence[str]) -> None:
        self.text = ""
        self._stops, self._end = stops, tokenizer.eos_token_id
        fast = getattr(tokenizer, "backend_tokenizer", None)  # without the checks around it, a tenth of the time
        self._decode = (lambda tokens: fast.decode(tokens, skip_special_tokens=False)) if fast is not None else (
            lambda tokens: tokenizer.decode(tokens, clean_up_tokenization_spaces=False))
        self._window: list[int] = []
        self._known = 0  # characters of the window's text that were taken
        self._held = ""  # text that may become a stop text
        self._begun = False

    def add(self, token: int) -> None:
        """One more token; the end of text adds nothing."""
        if token == self._end:
            return
        self._window.append(token)
        whole = self._decode(self._window)
        if whole.endswith("\ufffd"):  # bytes of an unfinished character
            return
        new = whole[self._known:]
        if not self._begun:  # the white space in front belongs to the template (`LocalDecoder.text`)
            new = new.lstrip()
            self._begun = bool(new)
        ready = settled(self._held + new, self._stops)
        self.text, self._held = self.text + ready, (self._held + new)[len(ready):]
        if len(self._window) > 2 * LONGEST:
            self._window = self._window[-LONGEST:]
            whole = self._decode(self._window)
        self._known = len(whole)


def settled(text: str, stops: Sequence[str]) -> str:
    """The part of an unfinished text that no further token can change.

    Held back are the bytes of an unfinished character, which decode to U+FFFD, and what may become a stop text.
    """
    text = text.rstrip("\ufffd")
    held = max((length for stop in stops for length in range(1, len(stop)) if text.endswith(stop[:length])), default=0)
    return text[:len(text) - held]
