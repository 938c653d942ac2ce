"""The labelling server under nonsense: every route, with what its own schema allows and with what people inject.

    python benchmarks/labelling_fuzz.py [--database PATH|postgresql] [--examples 100] [--seed 0] [--json] [--quick]

schemathesis draws requests from the server's OpenAPI schema, forms included. About half of them get a real item, label
or form secret in place of a drawn one, so that they come past the first check, and a third of the texts are meant to do
harm. Each is sent as a stranger, a candidate, a labeler, a reviewer and an admin. Counted is what must not be:

    failed     an answer of 500 or more
    crossed    a request by somebody whose role is too low that was answered, or that left a line in the log
    injected   a page that holds a harmful text as markup
    bent       labels of a bystander that have changed at the end

The last line with --json is {"requests": n, "answered": n, "failed": 0, "crossed": 0, "injected": 0, "bent": 0, ...},
where `answered` counts requests with a status below 400. The exit code is 1 where anything was found.
"""

import argparse
import json
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import hypothesis
import schemathesis
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, Phase

from preceptor.data.records import Prompt, Response
from preceptor.feedback.accounts import invite, session_of
from preceptor.feedback.assign import next_item
from preceptor.feedback.audit import history
from preceptor.feedback.judgements import Judgement, submit
from preceptor.feedback.labelers import ROLES, add_labeler
from preceptor.feedback.records import add_items, comparisons
from preceptor.feedback.store import Store, open_store
from preceptor.feedback.trials import add_trials, trials_of
from preceptor.web.app import create_app
from preceptor.web.guard import COOKIE
from preceptor.web.limits import Limit
from preceptor.web.options import WebOptions

ANSWERS = 4
EVIL = ("<script>evil()</script>", "<img src=x onerror=evil()>", "' OR 1=1 --", '"; DROP TABLE labels; --',
        "{{ 7 * 7 }}", "\x00", "../../../etc/passwd", "javascript:evil()", "\u202e", "%00", "\r\nSet-Cookie: a=b",
        "a" * 5000)
MARKUP = ("<script>evil", "<img src=x", 'href="javascript')
OPEN = ("/", "/enter", "/enter/{secret}", "/look")  # for everybody; the other routes ask for a role:
NEEDED = {"candidate": ("/label", "/leave", "/test", "/pictures/{name}", "/api/items/{item}/ranking",
                        "/api/items/{item}/draft", "/api/items/{item}/skip", "/api/labels/{label}/withdraw"),
          "labeler": ("/write", "/write/take_back", "/me"),
          "reviewer": ("/quality", "/screening", "/screening/score", "/scores", "/rounds", "/rounds/progress"),
          "admin": ("/people", "/people/invite", "/people/role", "/people/lock", "/people/exclude", "/log",
                    "/rounds/next")}
PAGES = ("/label", "/test", "/write", "/me", "/quality", "/screening", "/scores", "/rounds", "/people", "/log")


@dataclass
class Person:
    """Somebody with a browser; a stranger has no role."""

    client: TestClient
    role: str | None
    form: str


def role_of(path: str) -> str | None:
    """The role that a route asks for; None where it asks for none.

    Raises:
        StopIteration: nobody has said for whom the route is.
    """
    if path in OPEN:
        return None
    return next(role for role, paths in NEEDED.items() if path in paths)


def people(store: Store, app: Any) -> list[Person]:
    """A stranger, and one person of each role."""
    found = [Person(TestClient(app, raise_server_exceptions=False, follow_redirects=False), None, "")]
    for role in ROLES:
        client = TestClient(app, raise_server_exceptions=False, follow_redirects=False)
        client.post(f"/enter/{invite(store, f'a {role}', role, 'fuzz')}")
        found.append(Person(client, role, session_of(store, client.cookies[COOKIE]).form))
    return found


def fill(store: Store) -> tuple[list[str], str, str]:
    """Items, a prompt of the screening test, and a bystander's ranking; returns the names of items, ranking, prompt."""
    asked = [(Prompt(f"p{n}", [{"role": "user", "content": f"Question {n}?"}]),
              [Response(f"Answer {k} to question {n}.", model=f"m{k}") for k in range(ANSWERS)]) for n in range(40)]
    items = add_items(store, asked, overlap=3)
    add_trials(store, [Prompt("t", [{"role": "user", "content": "What do you think of my neighbours?"}])])
    add_labeler(store, "bystander")
    held = next_item(store, "bystander")
    label = submit(store, "bystander", held.item, Judgement([[k] for k in range(ANSWERS)]))
    return items, label, trials_of(store, "bystander")[0].key


def request_of(case: Any, draw: random.Random, person: Person, real: dict[str, list[str]]) -> dict[str, Any]:
    """A drawn request, made to go deeper or to do harm, as what the client sends."""
    for values in (case.path_parameters or {}, case.body if isinstance(case.body, dict) else {}):
        for name, value in values.items():
            if name in real and draw.random() < 0.5:
                values[name] = [draw.choice(real[name])] if isinstance(value, list) else draw.choice(real[name])
            elif isinstance(value, str) and draw.random() < 0.33:
                evil = draw.choice(EVIL)
                values[name] = quote(evil, safe="") if values is case.path_parameters else evil
    if isinstance(case.body, dict):
        if "ranking" in case.body and draw.random() < 0.5:
            case.body["ranking"] = [[k] for k in draw.sample(range(ANSWERS), ANSWERS)]
        if "form" in case.body and draw.random() < 0.8:
            case.body["form"] = person.form
        if "name" in case.body and draw.random() < 0.3:
            case.body["name"] = draw.choice(["a candidate", "a labeler", "a reviewer"])
    headers = {"X-Form": person.form} if draw.random() < 0.9 else {}
    given = case.as_transport_kwargs(base_url="http://testserver", headers=headers)
    return {name: given[name] for name in ("method", "url", "params", "json", "data", "headers")
            if given.get(name) is not None}


@dataclass
class Findings:
    """What was sent, and what must not have happened."""

    counts: Counter[str]
    where: list[str]

    def add(self, kind: str, what: object) -> None:
        self.counts[kind] += 1
        self.where.append(f"{kind}: {what}")


def send(store: Store, person: Person, path: str, request: dict[str, Any], found: Findings) -> None:
    """Send one request as somebody, and look at what comes of it."""
    needed, last = role_of(path), history(store, 1)
    answer = person.client.request(**request)
    found.counts["requests"] += 1
    found.counts["answered"] += answer.status_code < 400
    if answer.status_code >= 500:
        found.add("failed", f"{answer.status_code} {request}")
    low = needed is not None and (person.role is None or ROLES.index(person.role) < ROLES.index(needed))
    if low and (answer.status_code < 400 or history(store, 1) != last):
        found.add("crossed", f"{person.role} {answer.status_code} {request}")
    if "html" in answer.headers.get("content-type", "") and any(markup in answer.text for markup in MARKUP):
        found.add("injected", request)


def fuzz(store: Store, examples: int, seed: int) -> dict[str, Any]:
    """Send `examples` requests of each route as everybody, look at every page, and count what must not be."""
    items, label, trial = fill(store)
    app = create_app(store, WebOptions(hosts=("testserver",), requests_per_minute=10**9),
                     pictures=Path(__file__).parent)
    app.state.room.sign_ins = Limit(10**9, 60)
    everybody, draw = people(store, app), random.Random(seed)
    real = {"item": items, "label": [label], "trial": [trial]}
    before = [one.to_dict() for one in comparisons(store, labeler="bystander")]
    found = Findings(Counter(dict.fromkeys(("requests", "answered", "failed", "crossed", "injected", "bent"), 0)), [])

    def sender(path: str) -> Callable[[Any], None]:
        def as_everybody(case: Any) -> None:
            for place, person in enumerate(everybody):
                cookie = person.client.cookies.get(COOKIE)
                send(store, person, path, request_of(case, draw, person, real), found)
                if person.client.cookies.get(COOKIE) != cookie:  # signed out, or in as somebody else
                    everybody[place] = people(store, app)[place]
        return as_everybody

    for result in schemathesis.openapi.from_dict(app.openapi()).get_all_operations():
        operation = result.ok()
        settings = hypothesis.settings(max_examples=examples, deadline=None, database=None, derandomize=seed == 0,
                                       phases=[Phase.generate], suppress_health_check=list(HealthCheck))
        drawn = hypothesis.given(operation.as_strategy())(sender(operation.path))
        settings(hypothesis.seed(seed)(drawn))()
    for path in PAGES:  # what was kept is shown now
        for person in everybody:
            send(store, person, path, {"method": "GET", "url": path}, found)
    if [one.to_dict() for one in comparisons(store, labeler="bystander", excluded=True)] != before:
        found.add("bent", "the bystander's ranking")
    return {**found.counts, "found": found.where[:10]}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database", help="path of an empty store, or postgresql: a server that is started for this "
                                           "(default: a SQLite file)")
    parser.add_argument("--examples", type=int, default=100, help="requests to each route, each as five people (100)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    parser.add_argument("--quick", action="store_true", help="10 requests to each route")
    options = parser.parse_args()
    from postgresql import server as postgresql_server
    with ExitStack() as stack:
        place = options.database or str(Path(stack.enter_context(tempfile.TemporaryDirectory())) / "fuzz.sqlite")
        if place == "postgresql":
            place = stack.enter_context(postgresql_server(durable=False))
        store = open_store(place)
        figures = fuzz(store, 10 if options.quick else options.examples, options.seed)
        store.close()
    print(json.dumps(figures) if options.json else json.dumps(figures, indent=2))
    return 1 if figures["found"] else 0


if __name__ == "__main__":
    sys.exit(main())
