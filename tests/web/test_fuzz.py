"""The server under nonsense, as schemathesis draws it from the server's own schema; the long run is the script's."""

from types import SimpleNamespace
from typing import Any

import pytest
from fastapi.testclient import TestClient

pytest.importorskip("schemathesis", reason="the fuzz needs schemathesis")

from benchmarks.labelling_fuzz import NEEDED, OPEN, fuzz, role_of
from preceptor.feedback.store import Store, open_store
from preceptor.web import render
from preceptor.web.app import create_app

KINDS = ("failed", "crossed", "injected", "bent")


def test_no_request_makes_the_server_fail_or_crosses_a_role(place: str) -> None:
    store = open_store(place)
    figures = fuzz(store, examples=3, seed=0)
    store.close()
    assert figures["found"] == [] and {figures[kind] for kind in KINDS} == {0}
    assert figures["requests"] > 200 and figures["answered"] > 50


def test_every_route_is_told_whose_it_is(store: Store) -> None:
    app = create_app(store)
    assert set(app.openapi()["paths"]) == {*OPEN, *(path for paths in NEEDED.values() for path in paths)}
    assert role_of("/log") == "admin" and role_of("/enter") is None
    assert TestClient(app).get("/openapi.json", headers={"host": "localhost"}).status_code == 404


def test_the_fuzz_sees_what_it_is_there_to_see(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: Any) -> None:
        raise ZeroDivisionError

    unescaped = render._environment.__wrapped__()
    unescaped.autoescape = False
    monkeypatch.setattr("preceptor.web.insight._scores", failing)
    monkeypatch.setattr("preceptor.web.guard.ROLES", SimpleNamespace(index=lambda role: 0))
    monkeypatch.setattr("preceptor.web.render._environment", lambda: unescaped)
    figures = fuzz(store, examples=3, seed=0)
    assert figures["failed"] and figures["crossed"] and figures["injected"]
