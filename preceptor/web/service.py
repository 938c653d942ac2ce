"""What the routes of the API share: the models by name, who is let in, and how a model takes another's place."""

import asyncio
import hashlib
import secrets
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, Request
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from preceptor.feedback.store import Store
from preceptor.run.errors import UserError, nearest
from preceptor.web.answering import Hall
from preceptor.web.figures import Figures
from preceptor.web.guard import caller, is_foreign
from preceptor.web.limits import Limit
from preceptor.web.options import ServeOptions
from preceptor.web.served import Served, load

Loader = Callable[[str, Path, ServeOptions], Served]


class Folders:
    """Where the models came from, so that they can be loaded again when their folders have changed."""

    def __init__(self, folders: Mapping[str, Path], options: ServeOptions, load: Loader = load) -> None:
        self.folders, self.load, self.options = dict(folders), load, options
        self.seen = {name: state_of(folder) for name, folder in folders.items()}

    def all(self) -> dict[str, Served]:
        """Every model; errors as in `load`."""
        return {name: self.load(name, folder, self.options) for name, folder in self.folders.items()}

    def changed(self) -> Iterator[tuple[str, Served]]:
        """The models whose folders have changed, loaded again. What cannot be loaded is said, and stays as it was."""
        for name, folder in self.folders.items():
            try:
                state = state_of(folder)
                if state == self.seen[name]:
                    continue
                model = self.load(name, folder, self.options)
            except Exception as error:  # whatever is wrong with the new one, the old one answers
                print(f"preceptor: '{name}' stays as it was. {error}", file=sys.stderr, flush=True)
                continue
            self.seen[name] = state
            yield name, model


def state_of(folder: Path) -> list[tuple[str, int, int]]:
    """The files of a folder, wherever a link leads: paths, sizes and times of writing."""
    place = folder.resolve()
    return sorted((str(file), file.stat().st_size, file.stat().st_mtime_ns)
                  for file in place.rglob("*") if file.is_file())


class Service:
    """Models that are served. `log` is the store that keeps the exchanges, where they are kept."""

    def __init__(self, models: Mapping[str, Served], options: ServeOptions, log: Store | None = None,
                 folders: Folders | None = None) -> None:
        self.models, self.options, self.log, self.figures = dict(models), options, log, Figures()
        self.folders = folders
        self.since = {name: int(time.time()) for name in models}
        self.limit = Limit(options.requests_per_minute, 60)
        self._hall: Hall | None = None
        self._loading = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    def open(self) -> None:
        """Called when the event loop begins to serve, so that a signal finds it."""
        self._hall = Hall()

    @property
    def hall(self) -> Hall:
        """Where the engines' threads and the running event loop meet."""
        if self._hall is None or self._hall.loop is not asyncio.get_running_loop():
            self._hall = Hall()
        return self._hall

    def model(self, body: dict[str, Any], kind: type) -> tuple[str, Any]:
        """The model that the body names.

        Raises:
            HTTPException: there is none of that name.
            UserError: it cannot do what the endpoint is for.
        """
        name = body.get("model")
        if not isinstance(name, str) or name not in self.models:
            raise HTTPException(404, f"There is no model {str(name)[:80]!r} here. {nearest(str(name), self.models)}")
        if not isinstance(self.models[name], kind):
            fit = [other for other, model in self.models.items() if isinstance(model, kind)]
            raise UserError(f"The model '{name}' is of another kind than this endpoint needs.",
                            f"Choose one of: {', '.join(fit)}." if fit else "None is served.")
        return name, self.models[name]

    def reload(self) -> None:
        """Let the models whose folders have changed be loaded again, and take their places; from any thread."""
        def begin() -> None:
            self._keep_alive(asyncio.create_task(self._load_again()))
        if self._hall is not None:  # what is only about to begin has just been loaded
            self._hall.loop.call_soon_threadsafe(begin)

    async def _load_again(self) -> None:
        async with self._loading:
            changed = await run_in_threadpool(lambda: list(self.folders.changed())) if self.folders else []
        for name, model in changed:
            self.swap(name, model)
        names = ", ".join(name for name, _ in changed)
        print(f"Loaded again: {names}." if names else "Nothing was loaded again.", flush=True)

    def swap(self, name: str, model: Served) -> None:
        """Let a model take the place of another one, which finishes what it has begun. Called in the event loop: no
        request can have found the old one and not have handed its jobs in."""
        old = self.models.get(name)
        self.models[name], self.since[name] = model, int(time.time())
        if old is not None:
            self._keep_alive(asyncio.create_task(_finish(old)))

    def _keep_alive(self, task: "asyncio.Task[None]") -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """End all models, those that others took the place of, too."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for model in self.models.values():
            await run_in_threadpool(model.close)


async def _finish(model: Served) -> None:
    try:
        while model.at_work():
            await asyncio.sleep(0.1)
    finally:
        await asyncio.shield(run_in_threadpool(model.close))


def recognised(request: Request) -> tuple[Service, str]:
    """The service, and who calls: the key where keys are asked for, else the address.

    Raises:
        HTTPException: 401 without a key that is let in.
    """
    service: Service = request.app.state.service
    if not service.options.keys:
        return service, caller(request)
    given = request.headers.get("authorization", "").removeprefix("Bearer ").encode()
    fits = [key for key in service.options.keys if secrets.compare_digest(key.encode(), given)]
    if not fits:
        raise HTTPException(401, "The API key is missing or wrong.", {"WWW-Authenticate": "Bearer"})
    return service, fits[0]


class Admitted:
    """A caller with a key and within the limit: the service, and the name that stands for the key in the log."""

    def __init__(self, request: Request) -> None:
        """Let the caller of a request in.

        Raises:
            HTTPException: 401 without a key that is let in, 403 without keys for a page of another site, which could
                otherwise have whoever looks at it ask for it; 429 for too many requests.
        """
        self.service, who = recognised(request)
        if not self.service.options.keys and is_foreign(request):
            raise HTTPException(403, "A page of another site may not ask where there are no keys.")
        self.name = named(who) if self.service.options.keys else "anyone"
        if not self.service.limit.allows(who):
            raise HTTPException(429, "Too many requests in the last minute.", {"Retry-After": "1"})

    def labeler(self, user: str | None) -> str:
        """Who says what he thinks of answers: the user behind the key, where the request names one."""
        return f"{self.name}:{user}" if user else self.name


In = Annotated[Admitted, Depends(Admitted)]


@cache
def named(key: str) -> str:
    """A name that tells keys apart and gives nobody the key: a slow hash, so that weak keys cannot be guessed by it."""
    return "key-" + hashlib.scrypt(key.encode(), salt=b"preceptor", n=1 << 14, r=8, p=1, dklen=4).hex()
