"""Where the chat page's preferences and thumbs go: a store that is opened when the first of them comes."""

import hashlib
import threading
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from preceptor.feedback.labelers import account_name
from preceptor.feedback.store import Store, open_store

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
            return _named(key)
        return account_name() if self.alone else GUEST


@cache
def _named(key: str) -> str:
    """A name that tells keys apart and gives nobody the key: a slow hash, so that weak keys cannot be guessed by it."""
    return "key-" + hashlib.scrypt(key.encode(), salt=b"preceptor", n=1 << 14, r=8, p=1, dklen=4).hex()


def store_of(folders: Iterable[Path]) -> str | None:
    """The store of the first run that one of these folders of steps or models belongs to."""
    for folder in folders:
        for run in (folder.resolve(), *folder.resolve().parents[:2]):
            if (run / "run.json").exists():
                return str(run / "feedback.sqlite")
    return None
