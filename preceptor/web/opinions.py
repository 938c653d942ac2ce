"""Where the chat page's preferences and thumbs go: a store that is opened when the first of them comes."""

import threading
from collections.abc import Iterable
from pathlib import Path

from preceptor.feedback.labelers import account_name
from preceptor.feedback.store import Store, open_store
from preceptor.web.service import named

GUEST = "guest"


class Opinions:
    """The store at `place`, or none; `alone` says that nobody but the one who sits here reaches the page."""

    def __init__(self, place: str | None, alone: bool) -> None:
        self.place, self.alone = place, alone
        self._store: Store | None = None
        self._turn = threading.Lock()

    def store(self) -> Store:
        """The store, opened and made where there is none yet. The place must be known."""
        with self._turn:
            if self._store is None:
                self._store = open_store(str(self.place))
            return self._store

    def labeler(self, key: str | None) -> str:
        """Under which name somebody's opinions are kept: by key, else this machine's account, else a guest."""
        if key is not None:
            return named(key)
        return account_name() if self.alone else GUEST


def store_of(folders: Iterable[Path]) -> str | None:
    """The store of the first run that one of these folders of steps or models belongs to."""
    for folder in folders:
        for run in (folder.resolve(), *folder.resolve().parents[:2]):
            if (run / "run.json").exists():
                return str(run / "feedback.sqlite")
    return None
