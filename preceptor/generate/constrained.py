"""Decoding under a grammar: an answer that lists pieces of a text, and can say nothing else.

    field ": " piece ("\\n" field ": " piece)*      or one word for nothing

A piece is copied from the text, from the beginning of a unit to the end of one, behind the piece before it; so an
answer is always finite and can always be read. The grammar is one of bytes, and a token may come next when its bytes go
on with an answer that is allowed, however the vocabulary cuts the words (after Willard and Louf 2023, arXiv 2307.09702,
whose grammars are regular expressions).

A state is one of  ("head", field, byte, bound)  ("start", place)  ("piece", place)  ("none", byte)  ("blank",) where
places and bounds are bytes of the text. A set of them is what the answer so far may mean.
"""

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from preceptor.tokenizer.pieces import token_pieces

State = tuple[Any, ...]
States = frozenset[State]
BREAK = ord("\n")


class Vocabulary:
    """The entries of a vocabulary as a tree of bytes; built once, it serves every answer."""

    def __init__(self, tokenizer: Any) -> None:
        self.end = tokenizer.eos_token_id
        self.pieces = token_pieces(tokenizer)
        self.tree: dict[Any, Any] = {}
        for number, piece in enumerate(self.pieces):
            if piece:
                node = self.tree
                for byte in piece:
                    node = node.setdefault(byte, {})
                node.setdefault("tokens", []).append(number)


class Listing:
    """The tokens that may come next in an answer about one text: `Request.allowed`.

    Args:
        vocabulary: of the model that writes.
        fields: what a line may begin with.
        text: what pieces are copied from.
        units: (first character, the one behind the last) of each unit of the text.
        none: the answer that says that there is nothing.
    """

    def __init__(self, vocabulary: Vocabulary, fields: Sequence[str], text: str, units: Sequence[tuple[int, int]],
                 none: str) -> None:
        self.vocabulary = vocabulary
        self.heads = [f"{field}: ".encode() for field in fields]
        self.text, self.none = text.encode(), none.encode()
        at = [0]
        for character in text:
            at.append(at[-1] + len(character.encode()))
        self.starts = [at[first] for first, _ in units]
        self.ends = {at[behind] for _, behind in units}
        self.last = max(self.ends, default=0)  # behind it is white space, in which no piece could end
        self._after = cache(self._states_after)
        self._next = cache(self._next_by_byte)

    def __call__(self, answer: Sequence[int]) -> list[int]:
        """The entries that may follow the tokens of an answer so far."""
        states = self._after(tuple(answer))
        found = [self.vocabulary.end] if any(map(self._complete, states)) else []
        branches = [(self.vocabulary.tree, states)]
        while branches:
            node, states = branches.pop()
            for byte, following in self._next(states).items():
                if byte in node:
                    found += node[byte].get("tokens", ())
                    branches.append((node[byte], following))
        return found

    def _states_after(self, answer: tuple[int, ...]) -> States:
        if not answer:
            return frozenset([("blank",), *self._first()])
        states = self._after(answer[:-1])
        for byte in self.vocabulary.pieces[answer[-1]]:
            states = self._next(states).get(byte, frozenset())
        return states

    def _first(self) -> Iterable[State]:
        return [("none", 0), *self._heads(0)]

    def _heads(self, bound: int) -> list[State]:
        """The beginnings of a line whose piece comes from behind `bound`; none where no unit is left."""
        return [("head", field, 0, bound) for field in range(len(self.heads))] \
            if self.starts and self.starts[-1] >= bound else []

    def _complete(self, state: State) -> bool:
        return state[0] == "piece" and state[1] in self.ends or state == ("none", len(self.none))

    def _next_by_byte(self, states: States) -> dict[int, States]:
        found: dict[int, set[State]] = {}
        for state in states:
            for byte, following in self._steps(state):
                found.setdefault(byte, set()).update(following)
        return {byte: frozenset(following) for byte, following in found.items()}

    def _steps(self, state: State) -> list[tuple[int, Iterable[State]]]:
        """The bytes that may follow in a state, and what each leads to."""
        match state:
            case ("blank",):  # templates differ in whether a space stands before an answer
                return [(ord(" "), self._first())]
            case ("none", at):
                return [(self.none[at], [("none", at + 1)])] if at < len(self.none) else []
            case ("head", field, at, bound):
                head = self.heads[field]
                if at + 1 < len(head):
                    return [(head[at], [("head", field, at + 1, bound)])]
                return [(head[at], [("start", place) for place in self.starts if place >= bound])]
            case (kind, place):
                steps = [(self.text[place], [("piece", place + 1)])] if place < self.last else []
                heads = self._heads(place) if kind == "piece" and place in self.ends else []
                return [*steps, (BREAK, heads)] if heads else steps
        raise AssertionError(state)
