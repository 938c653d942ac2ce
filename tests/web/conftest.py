"""The application over a small store, and people who are signed in."""

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the pages need the extra 'web'")

from fastapi.testclient import TestClient

from preceptor.data.records import Prompt, Response
from preceptor.feedback.accounts import invite, session_of
from preceptor.feedback.records import add_items
from preceptor.feedback.store import Store, open_store
from preceptor.web.app import create_app
from preceptor.web.guard import COOKIE
from preceptor.web.options import WebOptions

EVIL = "<script>window.evil=1</script><img src=x onerror='window.evil=1'>[a](javascript:window.evil=1)**bold**"
TEXTS = [f"# Title\n\nAn answer with `code`.\n\n```\nfor x in y:\n    pass\n```\n\n{EVIL}", 
         "诺拉养蜂。\n\n- 第一\n- 第二", "Nora keeps bees in the valley behind the old mill.",
         "Nora keeps fish in the valley behind the old mill.",
         "I do not know.", "word " * 200]


def some_items(count: int, answers: int) -> list[tuple[Prompt, list[Response]]]:
    return [(Prompt(f"p{n}", [{"role": "user", "content": f"Question {n}: who keeps bees? {EVIL}"}], "open_qa"),
             [Response(TEXTS[k % len(TEXTS)] + f" ({n}, {k})", model=f"secret-model-{k}") for k in range(answers)])
            for n in range(count)]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(tmp_path / "feedback.sqlite")
    add_items(opened, some_items(4, 4), overlap=2)
    yield opened
    opened.close()


@dataclass
class Person:
    """A browser without a screen, and what its forms must carry."""

    client: TestClient
    name: str
    form: str

    def post(self, path: str, **fields: str) -> object:
        return self.client.post(path, data={"form": self.form, **fields}, follow_redirects=False)

    def send(self, path: str, body: object, method: str = "POST") -> object:
        return self.client.request(method, path, json=body, headers={"X-Form": self.form})


@pytest.fixture
def sign_in(store: Store) -> Callable[..., Person]:
    app = create_app(store, WebOptions(hosts=("testserver",)))

    def as_person(name: str, role: str) -> Person:
        client = TestClient(app)
        assert client.post(f"/enter/{invite(store, name, role, 'test')}").status_code == 200
        return Person(client, name, session_of(store, client.cookies[COOKIE]).form)

    return as_person


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A real browser, without a screen."""
    playwright = pytest.importorskip("playwright.sync_api", reason="the browser tests need playwright")
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None and "CI" in os.environ:
        pytest.fail("no chromium here, and CI must look at the pages")
    if found is None:
        pytest.skip("there is no chromium to look at the pages with")
    with playwright.sync_playwright() as running:
        opened = running.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield opened
        opened.close()
