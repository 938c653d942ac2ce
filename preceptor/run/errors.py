"""The one error that a user can mend: a sentence of cause, a sentence of cure, exit code 2."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Bad input. `cause` says what is wrong, `cure` what to do about it; the command line prints both, no traceback."""

    def __init__(self, cause: str, cure: str) -> None:
        super().__init__(cause, cure)  # as they were given: from them another process makes the same error
        self.cause = cause
        self.cure = cure

    def __str__(self) -> str:
        return f"{self.cause} {self.cure}"


class Waiting(UserError):
    """What is left is for people to do: a run ends in good order, and the same command goes on after them."""

    def __init__(self, cause: str, cure: str, left: int) -> None:
        super().__init__(cause, cure)
        self.args, self.left = (cause, cure, left), left


def nearest(word: str, choices: Iterable[str]) -> str:
    """A cure for a mistyped `word`: the nearest of `choices`, or all of them when none is near."""
    choices = sorted(choices)
    close = difflib.get_close_matches(word, choices, n=1, cutoff=0.5)
    if close:
        return f"Did you mean '{close[0]}'?"
    return f"Choose one of: {', '.join(choices)}." if choices else "There is nothing to choose from here."
