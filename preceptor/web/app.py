"""The application: routes, checks and errors around a store."""

from pathlib import Path

from fastapi import FastAPI

from preceptor.feedback.policies import Selector
from preceptor.feedback.store import Store
from preceptor.web import insight, labelling, people, rounds, screening, writing
from preceptor.web.guard import Room
from preceptor.web.limits import Limit
from preceptor.web.options import WebOptions
from preceptor.web.shell import furnish


def create_app(store: Store, options: WebOptions | None = None, run: Path | None = None, place: str = "",
               pictures: Path | None = None) -> FastAPI:
    """The pages over an open store, which is at `place` and holds the labels of `run`; pictures that prompts name are
    files in the folder `pictures`.

    Raises:
        UserError: the policy is unknown.
    """
    options = options or WebOptions()
    app = FastAPI(title="Preceptor", docs_url=None, redoc_url=None, openapi_url=None)
    selector = Selector(store, options.policy)
    selector.look()
    app.state.room = Room(store, options, selector, run, place, pictures,
                          requests=Limit(options.requests_per_minute, 60))
    for room in (labelling, people, writing, screening, insight, rounds):
        app.include_router(room.router)
    furnish(app, options.hosts)
    return app
