"""The chat page's server without a browser: who is let in, what is kept and what is refused."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the pages need the extra 'web'")

import torch
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st

from preceptor.data.records import Prompt
from preceptor.feedback.audit import history
from preceptor.feedback.labelers import account_name
from preceptor.feedback.preferences import all_thumbs
from preceptor.feedback.records import comparisons
from preceptor.feedback.store import open_store
from preceptor.generate.engine import Engine
from preceptor.generate.local import LocalDecoder
from preceptor.tokenizer.chat import encode_prompt
from preceptor.web.api import create_api
from preceptor.web.chatting import beside, create_chat
from preceptor.web.limits import Limit
from preceptor.web.opinions import GUEST, Opinions, store_of
from preceptor.web.options import ServeOptions
from preceptor.web.render import kept_markdown
from preceptor.words.catalogue import LANGUAGES, catalogue
from tests.generate.conftest import CONTEXT, build, train_bpe
from tests.web.conftest import EVIL

ASKED = [{"role": "user", "content": "Who keeps bees?"}]
STATIC = Path(__file__).parents[2] / "preceptor/web/static"


def said(text: str, seed: int = 1, **sampling: Any) -> dict[str, Any]:
    return {"text": text, "finish": "eos", "model": "ann", "sampling": {"temperature": 0.7, "seed": seed, **sampling}}


TWO = {"messages": ASKED, "answers": [said("Nora."), said("I do not know.", 2)], "ranking": [[1], [0]]}
POSTS = {"/api/chat/preferences": TWO, "/api/chat/thumbs": {"messages": ASKED, "answer": said("Nora."), "up": True},
         "/api/chat/markdown": {"texts": ["a"]}, "/api/chat/fitting": {"model": "ann", "messages": ASKED}}


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    torch.manual_seed(0)
    tokenizer = train_bpe(["ado emi iru ona bado kemi"] * 20, 300, 10_000)
    running = Engine(LocalDecoder(build("llama", tokenizer), tokenizer, rows=4))
    yield running
    running.close()


def visitor(engine: Engine, place: Path | None, *, keys: tuple[str, ...] = (), alone: bool = True) -> TestClient:
    api = create_api({"ann": engine}, ServeOptions(keys=keys, max_tokens=40))
    chat = create_chat(api.state.service, Opinions(str(place) if place else None, alone))
    return TestClient(beside(api, chat), base_url="http://localhost:8000", raise_server_exceptions=False)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "labels" / "feedback.sqlite"


def test_a_preference_is_a_comparison_in_the_order_shown(engine: Engine, place: Path) -> None:
    client = visitor(engine, place)
    assert client.get("/").status_code == 200 and not place.exists(), "a store is made for the first opinion only"
    kept = client.post("/api/chat/preferences", json=TWO).json()["id"]
    three = {**TWO, "answers": [*TWO["answers"], said("Bees?")], "ranking": [[2], [0, 1]]}
    client.post("/api/chat/preferences", json=three)
    store = open_store(place)
    first, second = comparisons(store)
    assert first.id == kept and first.ranking == [[1], [0]] and first.shown == [0, 1] and first.kind == "person"
    assert first.labeler == account_name() and first.prompt.messages == ASKED and first.prompt.source == "chat"
    assert [one.text for one in first.responses] == ["Nora.", "I do not know."]
    assert first.responses[1].sampling == {"temperature": 0.7, "seed": 2} and first.responses[1].model == "ann"
    assert second.ranking == [[2], [0, 1]]
    assert client.post(f"/api/chat/preferences/{kept}/withdraw", json={}).status_code == 200
    assert [one.id for one in comparisons(store)] == [second.id]
    assert client.post(f"/api/chat/preferences/{kept}/withdraw", json={}).status_code == 404
    assert "withdrawn" in {entry["what"] for entry in history(store)}


def test_a_thumb_replaces_the_last_one_and_can_be_taken_back(engine: Engine, place: Path) -> None:
    client = visitor(engine, place)
    for up, kept in ((True, [True]), (False, [False]), (None, [])):
        assert client.post("/api/chat/thumbs", json={**POSTS["/api/chat/thumbs"], "up": up}).status_code == 200
        assert [one.up for one in all_thumbs(open_store(place))] == kept
    assert not list(comparisons(open_store(place)))


@pytest.mark.parametrize("changes, words", [
    ({"ranking": [[0]]}, "exactly once"), ({"ranking": [[0, 1, 2]]}, "exactly once"),
    ({"answers": [said("x"), said("x", 2)]}, "say the same"), ({"answers": [said("x"), said("y", top_q=1)]}, "top_q"),
    ({"answers": [said("x"), said("y", num_beams=3)]}, "num_beams"), ({"messages": []}, "messages"),
    ({"answers": [said("x"), {**said("y"), "finish": "stopped"}]}, "finish"),
    ({"messages": [*ASKED, {"role": "assistant", "content": "Nora."}]}, "ends with the user"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://a.example/b"}}]}]},
     "data: URL"), ({"gold": True}, "gold")], ids=str)
def test_what_is_no_preference_is_refused_and_says_why(engine: Engine, place: Path, changes: dict[str, Any],
                                                       words: str) -> None:
    refused = visitor(engine, place).post("/api/chat/preferences", json={**TWO, **changes})
    assert refused.status_code in (400, 422) and words in refused.json()["detail"]
    assert not place.exists() or not list(comparisons(open_store(place)))


def test_another_site_can_do_nothing_here(engine: Engine, place: Path) -> None:
    """Its script may not send JSON, its forms are no JSON, and its name for this machine is refused."""
    client = visitor(engine, place)
    for path, body in POSTS.items():
        assert client.post(path, json=body, headers={"Origin": "http://evil.example"}).status_code == 403, path
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
            sent = client.post(path, content=json.dumps(body), headers={"Content-Type": kind})
            assert sent.status_code == 415, (path, kind)
        assert client.post(path, json=body, headers={"Host": "evil.example"}).status_code == 403, path
        preflight = client.options(path, headers={"Origin": "http://evil.example",
                                                  "Access-Control-Request-Method": "POST"})
        assert "access-control-allow-origin" not in preflight.headers
    assert client.get("/", headers={"Host": "evil.example"}).status_code == 403
    asked = {"model": "ann", "messages": ASKED, "max_tokens": 2}
    for headers, status in (({"Origin": "http://evil.example", "Content-Type": "text/plain"}, 403), ({}, 200),
                            ({"Origin": "null"}, 403), ({"Origin": "http://localhost:8000"}, 200)):
        assert client.post("/v1/chat/completions", content=json.dumps(asked), headers=headers).status_code == status
    assert not place.exists()
    assert client.post("/api/chat/thumbs", json=POSTS["/api/chat/thumbs"], headers={
        "Origin": "http://localhost:8000"}).status_code == 200


def test_keys_let_in_and_tell_labelers_apart_without_giving_themselves_away(engine: Engine, place: Path) -> None:
    client = visitor(engine, place, keys=("first key", "second key"), alone=False)
    assert client.get("/").status_code == 200 and not re.search(r"\bann\b", client.get("/").text)
    for path, body in POSTS.items():
        assert client.post(path, json=body).status_code == 401, path
        assert client.post(path, json=body, headers={"Authorization": "Bearer third"}).status_code == 401, path
    assert client.get("/api/chat/models").status_code == 401
    for key in ("first key", "second key", "first key"):
        given_key = {"Authorization": f"Bearer {key}"}
        client.post("/api/chat/preferences", json=TWO, headers=given_key)
    names = [one.labeler for one in comparisons(open_store(place))]
    assert names[0] == names[2] != names[1] and all(re.fullmatch("key-[0-9a-f]{8}", name) for name in names)
    label = next(comparisons(open_store(place))).id
    other = client.post(f"/api/chat/preferences/{label}/withdraw", json={},
                        headers={"Authorization": "Bearer second key"})
    assert other.status_code == 404, "nobody takes another's label back"
    visitor(engine, place, alone=False).post("/api/chat/thumbs", json=POSTS["/api/chat/thumbs"])
    assert [one.labeler for one in all_thumbs(open_store(place))] == [GUEST]


def test_without_a_place_opinions_are_refused_and_the_page_knows(engine: Engine, tmp_path: Path) -> None:
    client = visitor(engine, None)
    assert client.get("/api/chat/models").json() == {
        "keeps": False, "max_tokens": 40, "models": [{"name": "ann", "context": CONTEXT, "sees": False}]}
    assert "--feedback" in client.post("/api/chat/preferences", json=TWO).json()["detail"]
    (tmp_path / "run" / "03-sft" / "model").mkdir(parents=True)
    (tmp_path / "run" / "run.json").write_text("{}")
    folders = [tmp_path, tmp_path / "run" / "03-sft"]
    assert store_of(folders) == store_of([tmp_path / "run/03-sft/model"]) == str(tmp_path / "run" / "feedback.sqlite")
    assert store_of([tmp_path]) is None


def test_what_no_longer_fits_is_left_out_from_the_front(engine: Engine, place: Path) -> None:
    client = visitor(engine, place)
    talk = [{"role": "user", "content": "ado emi"}, {"role": "assistant", "content": "ona"}] * 6 + ASKED
    found = client.post("/api/chat/fitting", json={"model": "ann", "messages": talk}).json()
    assert found["max_tokens"] == CONTEXT // 2 and found["context"] == CONTEXT and found["whole"]
    assert found["left_out"] > 0 and found["left_out"] % 2 == 0

    def tokens(first: int) -> int:
        return len(encode_prompt(engine.decoder.tokenizer, Prompt("p", talk[first:])))
    assert tokens(found["left_out"]) + found["max_tokens"] <= CONTEXT
    assert tokens(found["left_out"] - 2) + found["max_tokens"] > CONTEXT, "no more is left out than must be"
    long = client.post("/api/chat/fitting", json={
        "model": "ann", "messages": [{"role": "user", "content": "ado " * 99}], "max_tokens": 5}).json()
    assert not long["whole"] and long["max_tokens"] == 5
    assert client.post("/api/chat/fitting", json={"model": "bob", "messages": ASKED}).status_code == 404


def test_markdown_is_shown_and_never_obeyed(engine: Engine, place: Path) -> None:
    texts = [EVIL, "# Title\n\n```js\nalert(1)\n```", "![x](http://evil.example/pixel.png)", "| a |\n|---|\n| 1 |"]
    html = visitor(engine, place).post("/api/chat/markdown", json={"texts": texts}).json()["html"]
    assert "<script" not in html[0] and "<img" not in "".join(html) and 'href="javascript' not in html[0]
    brackets = "[" * 900_000 + "<b>"  # which would take Markdown a quarter of an hour
    [shown] = visitor(engine, place).post("/api/chat/markdown", json={"texts": [brackets]}).json()["html"]
    assert shown.startswith('<p class="plain">[[') and shown.endswith("[&lt;b&gt;</p>")
    assert "<strong>bold</strong>" in html[0] and "<pre><code" in html[1] and "<table>" in html[3]


def test_the_page_stands_beside_the_api(engine: Engine, place: Path) -> None:
    client = visitor(engine, place)
    for path in ("/", "/static/chat.js", "/static/colours.css", "/static/page.css"):
        headers = client.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"], path
        assert headers["cache-control"] == ("no-store" if path == "/" else "no-cache")
    assert [one["id"] for one in client.get("/v1/models").json()["data"]] == ["ann"]
    for path in ("/nothing", "/v1/nothing", "/label"):
        assert client.get(path).status_code == 404 and "error" in client.get(path).json()
    assert client.get("/v1/chat/completions").status_code == 405
    chinese = client.get("/", headers={"Accept-Language": "zh-CN"}).text
    assert 'lang="zh-CN"' in chinese and catalogue("zh")["chat.title"] in chinese


def test_the_specification_asks_for_a_key_where_the_server_does(engine: Engine, place: Path) -> None:
    for keys in ((), ("a key",)):
        said = visitor(engine, place, keys=keys).get("/openapi.json").json()
        assert ("security" in said) == ("components" in said) == bool(keys)
        responses = said["paths"]["/v1/models"]["get"]["responses"]
        assert ("401" in responses, "403" in responses) == (bool(keys), not keys)


def test_the_page_s_own_calls_have_a_limit(engine: Engine, place: Path) -> None:
    api = create_api({"ann": engine}, ServeOptions())
    chat = create_chat(api.state.service, Opinions(str(place), True))
    chat.state.requests = Limit(2, 60)
    client = TestClient(beside(api, chat), base_url="http://localhost")
    assert [client.get("/api/chat/models").status_code for _ in range(3)] == [200, 200, 429]
    assert client.get("/v1/models").status_code == 200, "other clients are not held up by it"


def test_every_sentence_of_the_script_is_in_the_catalogue() -> None:
    asked = {key for file in STATIC.glob("chat*.js") for key in re.findall(r'\bt\("([a-z_.]+)"', file.read_text())}
    for group in ("strategies", "strategies_text", "options", "options_text"):
        names = re.findall(r"^  (\w+): \{", (STATIC / "chat_strategies.js").read_text(), re.M)
        asked |= {f"{group}.{name}" for name in names
                  if (f"chat.strategies.{name}" in catalogue("en")) == group.startswith("strategies")}
    assert len(asked) > 60
    for language in LANGUAGES:
        assert not {key for key in asked if f"chat.{key}" not in catalogue(language)}


def test_half_a_character_is_refused_and_no_text_of_a_client_s_is_held(anybody: TestClient) -> None:
    before = kept_markdown.cache_info().currsize
    for path, body in POSTS.items():
        half = json.dumps(body).replace("bees", "\\ud83d").replace('["a"]', '["\\ud83d"]')
        sent = anybody.post(path, content=half, headers={"Content-Type": "application/json"})
        assert "\\ud83d" in half and 400 <= sent.status_code < 500, (path, sent.text)
    assert anybody.post("/api/chat/markdown", json={"texts": ["one **text**"]}).status_code == 200
    assert kept_markdown.cache_info().currsize == before


values = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
                      lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
                          ["role", "content", "type", "text", "image_url", "url"]), inner, max_size=3), max_leaves=6)


@pytest.fixture(scope="module")
def anybody(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> TestClient:
    return visitor(engine, tmp_path_factory.mktemp("labels") / "feedback.sqlite")


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_no_nonsense_makes_the_server_fail(anybody: TestClient, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(sorted(POSTS)))
    body = {**POSTS[path], data.draw(st.sampled_from(sorted(POSTS[path]))): data.draw(values)}
    sent = anybody.post(path, content=json.dumps(body), headers={"Content-Type": "application/json"})
    assert sent.status_code < 500, (path, body, sent.text)
