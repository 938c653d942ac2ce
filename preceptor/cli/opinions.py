"""What is said of answers in `preceptor chat`: a preference between two, or a thumb. Both go into the run's labels."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from preceptor.data.records import Prompt, Response
from preceptor.feedback.labelers import account_name
from preceptor.feedback.preferences import conversation, prefer, thumb
from preceptor.feedback.store import Store, open_store

RANKINGS = {"/a": [[0], [1]], "/b": [[1], [0]], "/same": [[0, 1]]}
THUMBS = {"/good": True, "/bad": False}


@dataclass(slots=True)
class Opinions:
    """The answers that were shown last; the store is opened when the first opinion comes."""

    run: Path
    prompt: Prompt | None = None
    shown: Sequence[Response] = ()
    store: Store | None = None

    def show(self, messages: Sequence[dict[str, Any]], shown: Sequence[Response]) -> None:
        """Remember what an opinion would be about."""
        self.prompt, self.shown = conversation(messages), list(shown)

    def give(self, command: str) -> Response | None:
        """Keep an opinion on what was shown last; returns the answer with which the conversation shall go on."""
        wanted = 2 if command in RANKINGS else 1
        if self.prompt is None or len(self.shown) != wanted:
            print("There are no two answers to choose from. /prefer shows two to each question." if wanted == 2 else
                  "There is no answer to judge." if not self.shown else "Say which one is better: /a, /b or /same.")
            return None
        if command in RANKINGS:
            ranking = RANKINGS[command]
            prefer(self._store(), account_name(), self.prompt, self.shown, ranking)
            chosen = self.shown[ranking[0][0]]
            names = [one.model or "?" for one in self.shown]
            print(f"Kept. A was by {names[0]}, B by {names[1]}.")
        else:
            chosen = self.shown[0]
            thumb(self._store(), account_name(), self.prompt, chosen, THUMBS[command])
            print("Kept.")
        if wanted == 2:
            self.shown = [chosen]
        return chosen

    def _store(self) -> Store:
        if self.store is None:
            self.store = open_store(self.run / "feedback.sqlite")
        return self.store
