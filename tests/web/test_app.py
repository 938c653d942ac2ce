"""The server without a browser: who may do what, what is escaped, and what nonsense does to it."""

import re
from collections.abc import Callable
from html import unescape
from pathlib import Path

import pytest
import sqlalchemy as sql
from fastapi.testclient import TestClient
from PIL import Image

from preceptor.data.records import Prompt, Response
from preceptor.feedback.accounts import accept, invite, knows_token, open_session, session_of
from preceptor.feedback.judgements import Judgement, submit
from preceptor.feedback.labelers import all_labelers, exclude
from preceptor.feedback.records import add_items, comparisons
from preceptor.feedback.store import Store, open_store
from preceptor.feedback.writings import all_writings, demonstrations, prompts
from preceptor.web.app import create_app
from preceptor.web.limits import Limit
from preceptor.web.options import WebOptions
from tests.web.conftest import Person

SignIn = Callable[..., Person]
GET = {"candidate": ["/label", "/test"], "labeler": ["/write", "/me"],
       "reviewer": ["/quality", "/screening", "/scores", "/rounds", "/rounds/progress"], "admin": ["/people", "/log"]}
POST = {"labeler": ["/leave", "/test", "/write", "/write/take_back"],
        "reviewer": ["/screening/score"],
        "admin": ["/people/invite", "/people/role", "/people/lock", "/people/exclude", "/rounds/next"]}
API = [("POST", "/api/items/{item}/ranking", {"ranking": [[0, 1, 2, 3]]}),
       ("PUT", "/api/items/{item}/draft", {"draft": {}}),
       ("POST", "/api/items/{item}/skip", {"reason": "broken"}), ("POST", "/api/labels/x/withdraw", {})]


def _item(person: Person) -> str:
    return re.search(r'"item": "(\w+)"', unescape(person.client.get("/label").text)).group(1)


def test_every_page_asks_for_its_role(sign_in: SignIn, store: Store) -> None:
    people = {role: sign_in(f"a {role}", role) for role in GET}
    stranger = TestClient(people["admin"].client.app)
    ranks = list(GET)
    for needed, paths in GET.items():
        for path in paths:
            assert stranger.get(path).status_code == 401
            for role, person in people.items():
                allowed = ranks.index(role) >= ranks.index(needed)
                assert person.client.get(path).status_code == (200 if allowed else 403), (role, path)
    for needed, paths in POST.items():
        for path in paths:
            assert stranger.post(path, data={"form": "x"}).status_code in (401, 422), path
            if needed in ("reviewer", "admin"):
                full = {"name": "a labeler", "role": "admin", "excluded": "yes", "demonstration": "1", "score": "7"}
                lower = people[ranks[ranks.index(needed) - 1]]
                assert lower.post(path, **full).status_code == 403, path
    assert all_labelers(store)["a labeler"]["role"] == "labeler" and not all_labelers(store)["a labeler"]["excluded"]


def test_what_changes_something_must_come_from_our_own_page(sign_in: SignIn, store: Store) -> None:
    ann = sign_in("Ann", "admin")
    item = _item(ann)
    for method, path, body in API:
        path = path.format(item=item)
        for headers in ({}, {"X-Form": "guess"}):
            assert ann.client.request(method, path, json=body, headers=headers).status_code == 403, path
        assert TestClient(ann.client.app).request(method, path, json=body).status_code == 401
    for path in [path for paths in POST.values() for path in paths]:
        fields = {"form": "guess", "kind": "plain", "text": "t", "key": "k", "name": "Ann", "role": "labeler",
                  "excluded": "yes", "trial": "t", "demonstration": "1", "score": "7"}
        assert ann.client.post(path, data=fields).status_code == 403, path
    elsewhere = TestClient(ann.client.app).post("/enter", data={"name": "a", "token": "b"},
                                                headers={"Origin": "https://evil.example"})
    assert elsewhere.status_code == 403
    assert not list(comparisons(store)) and not all_writings(store)


def test_invitations_are_good_once_and_tokens_thereafter(store: Store, sign_in: SignIn) -> None:
    ann = sign_in("Ann", "admin")
    page = ann.post("/people/invite", name="Bo", role="labeler").text
    link = re.search(r"http://testserver(/enter/[\w-]+)", page).group(1)
    bo = TestClient(ann.client.app)
    assert bo.get(link).status_code == 200 == bo.get(link).status_code  # looking does not use it up
    token = re.search(r"<code>([\w-]+)</code>", bo.post(link).text).group(1)
    assert bo.get("/label").status_code == 200
    again = TestClient(ann.client.app)
    assert again.post(link).status_code == 404 and again.get("/label").status_code == 401
    assert again.post("/enter", data={"name": "Bo", "token": "wrong"}).status_code == 401
    assert again.post("/enter", data={"name": "Bo", "token": token}, follow_redirects=False).status_code == 303
    assert again.get("/label").status_code == 200
    assert ann.post("/people/lock", name="Bo").status_code == 303
    assert again.get("/label").status_code == 401 and not knows_token(store, "Bo", token)
    assert not knows_token(store, "nobody", "") and not knows_token(store, "Bo", "")


def test_sessions_invitations_and_sign_ins_run_out(tmp_path: object) -> None:
    time = [0.0]
    store = open_store(tmp_path / "s.sqlite", now=lambda: time[0])
    late = invite(store, "Bo", "labeler", "x", days=1)
    name, _ = accept(store, invite(store, "Ann", "labeler", "x"))
    session = open_session(store, name, hours=2)
    time[0] = 7199
    assert session_of(store, session).labeler == "Ann"
    time[0] = 7201
    assert session_of(store, session) is None
    time[0] = 86401
    assert accept(store, late) is None
    client = TestClient(create_app(store, WebOptions(hosts=("testserver",))))
    answers = [client.post("/enter", data={"name": "Ann", "token": "guess"}).status_code for _ in range(12)]
    assert answers[:10] == [401] * 10 and answers[10:] == [429] * 2
    store.close()


def test_a_limit_lets_so_many_through_and_recovers() -> None:
    time = [0.0]
    limit = Limit(3, 60, now=lambda: time[0])
    assert [limit.allows("a") for _ in range(4)] == [True, True, True, False] and limit.allows("b")
    time[0] = 20
    assert [limit.allows("a") for _ in range(2)] == [True, False]


def test_a_ranking_is_kept_as_it_was_sent_and_models_stay_hidden(sign_in: SignIn, store: Store) -> None:
    ann = sign_in("Ann", "labeler")
    page = ann.client.get("/label").text
    item = _item(ann)
    assert "secret-model" not in page and "gold" not in page
    body = {"ranking": [[3], [1, 0], [2]], "scores": [{"overall": n + 1} for n in range(4)],
            "flags": [["hallucination"], [], [], ["opinion", "sexual"]], "comments": ["", "so-so", "", ""],
            "corrections": {"2": "Nora keeps bees."}, "prompt_flags": ["unclear"], "seconds": 12.34}
    answer = ann.send(f"/api/items/{item}/ranking", body)
    assert answer.status_code == 200 and _item(ann) != item
    [kept] = comparisons(store)
    assert kept.ranking == [[3], [0, 1], [2]] and kept.seconds == 12.3 and kept.id == answer.headers["x-label"]
    assert [one.scores["overall"] for one in kept.responses] == [1, 2, 3, 4]
    assert kept.responses[3].flags == ["sexual", "opinion"] and kept.responses[1].comment == "so-so"
    assert kept.responses[0].model.startswith("secret-model") and kept.labeler == "Ann"
    [corrected] = demonstrations(store)
    assert corrected.messages == [*kept.prompt.messages, {"role": "assistant", "content": "Nora keeps bees."}]
    back = ann.send(f"/api/labels/{kept.id}/withdraw", {})
    assert back.status_code == 200 and _item(ann) == item and not list(comparisons(store))
    state = unescape(back.text)
    assert '"comments": {"0": "", "1": "so-so"' in state and '"step": "rank"' in state
    assert not list(demonstrations(store)) and '"corrections": {"2": "Nora keeps bees."}' in state
    assert [ann.send(f"/api/items/{item}/ranking", body).status_code for _ in range(2)] == [200, 200]  # sent again
    assert len(list(comparisons(store))) == len(list(demonstrations(store))) == 1
    bo = sign_in("Bo", "labeler")
    assert bo.send(f"/api/labels/{kept.id}/withdraw", {}).status_code == 404


def test_texts_of_models_and_people_are_shown_and_not_obeyed(sign_in: SignIn) -> None:
    ann = sign_in("<b>Ann</b>", "admin")
    page = ann.client.get("/label").text
    assert "<script>window" not in page and "<img src=x" not in page and 'href="javascript' not in page
    assert "&lt;script&gt;window.evil=1&lt;/script&gt;" in page and "<strong>bold</strong>" in page
    assert ann.post("/write", kind="plain", text="<script>1</script>", answer="<i>x</i>").status_code == 303
    assert "<script>1" not in ann.client.get("/write").text and "<i>" not in ann.client.get("/write").text
    assert "<b>Ann" not in ann.client.get("/people").text and "<b>Ann" not in ann.client.get("/log").text


def test_writing_the_three_kinds_of_prompts(sign_in: SignIn, store: Store) -> None:
    ann = sign_in("Ann", "labeler")
    ann.post("/write", kind="plain", text="Who keeps bees?", category="open_qa")
    ann.post("/write", kind="few_shot", text="Rate: fine", query_1="Rate: good", answer_1="5", query_2="half")
    ann.post("/write", kind="user_based", text="Write a letter", answer="Dear Nora,")
    assert ann.post("/write", kind="few_shot", text="no example").status_code == 400
    assert ann.post("/write", kind="plain", text="x", category="nonsense").status_code == 400
    plain, few_shot = prompts(store)
    assert plain.category == "open_qa" and plain.user == "Ann" and plain.source == "written/plain"
    assert [message["content"] for message in few_shot.messages] == ["Rate: good", "5", "Rate: fine"]
    exclude(store, "Ann", True, "test")
    assert not list(prompts(store)) and not list(demonstrations(store))
    exclude(store, "Ann", False, "test")
    [letter] = demonstrations(store)
    assert [message["role"] for message in letter.messages] == ["user", "assistant"]
    assert ann.post("/write/take_back", key=letter.id).status_code == 303 and not list(demonstrations(store))
    assert sign_in("Bo", "labeler").post("/write/take_back", key=plain.id).status_code == 404


def test_an_admin_leaves_somebody_out_and_takes_him_back(sign_in: SignIn, store: Store) -> None:
    ann, bo = sign_in("Ann", "admin"), sign_in("Bo", "labeler")
    bo.send(f"/api/items/{_item(bo)}/ranking", {"ranking": [[0], [1], [2], [3]]})
    ann.post("/people/exclude", name="Bo", excluded="yes", reason="asked to")
    assert not list(comparisons(store)) and "asked to" in ann.client.get("/log").text
    assert "Bo" in ann.client.get("/quality").text
    ann.post("/people/exclude", name="Bo", excluded="no")
    assert len(list(comparisons(store))) == 1
    assert ann.post("/people/role", name="Ann", role="labeler").status_code == 400
    assert ann.post("/people/role", name="nobody", role="labeler").status_code == 400


def test_the_browser_is_told_what_it_must_not_do(sign_in: SignIn) -> None:
    ann = sign_in("Ann", "labeler")
    for path in ("/label", "/nothing", "/static/page.css", "/enter"):
        headers = ann.client.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
    assert ann.client.get("/label").headers["cache-control"] == "no-store"
    cookie = ann.client.post("/enter/x", headers={"Host": "evil.example"})
    assert cookie.status_code == 403  # another name for this machine: DNS rebinding
    for back, ends in (("/me", "/me"), ("//evil.example", "/"), ("https://evil.example", "/"), ("/\\evil", "/")):
        moved = ann.client.get("/look", params={"theme": "dark", "back": back}, follow_redirects=False)
        assert moved.headers["location"] == ends
    raw = TestClient(ann.client.app, base_url="https://testserver")
    assert raw.get("/look?language=zh&back=/enter").text.count('lang="zh-CN"') == 1
    large = ann.client.post("/write", content=b"x" * (2 << 20), headers={"Content-Type": "text/plain"})
    assert large.status_code == 413


def test_a_ranking_that_the_page_cannot_make_is_refused(sign_in: SignIn, store: Store) -> None:
    ann = sign_in("Ann", "labeler")
    for body in ({"ranking": [[0, 1, 2]]}, {"ranking": [[0], [1], [2], [3]], "scores": [{"overall": 9}] * 4},
                 {"ranking": [[0], [1], [2], [3]], "corrections": {"9": "x"}},
                 {"ranking": [[0], [1], [2], [3]], "corrections": {"x": "x"}}):
        assert ann.send(f"/api/items/{_item(ann)}/ranking", body).status_code == 400
    assert ann.send(f"/api/items/{_item(ann)}/ranking", {"ranking": [], "x": 1}).status_code == 422
    assert not list(comparisons(store)) and not all_writings(store)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_pages_speak_the_language_that_the_browser_asks_for(sign_in: SignIn, language: str) -> None:
    ann = sign_in("Ann", "admin")
    ann.client.headers["Accept-Language"] = f"fr,{language};q=0.8"
    for path in [page for pages in GET.values() for page in pages if page != "/rounds/progress"]:  # a part of a page
        page = ann.client.get(path)
        assert page.status_code == 200 and ("排" in page.text or "标" in page.text) == (language == "zh"), path


def test_a_ranking_and_the_page_behind_it_take_few_statements(sign_in: SignIn, store: Store) -> None:
    """What a crowd waits for is the number of round trips; five of these are BEGIN, which PostgreSQL needs twice."""
    ann = sign_in("Ann", "labeler")
    item, said = _item(ann), []
    sql.event.listen(store.engine, "before_cursor_execute", lambda *given: said.append(given[2]))
    assert ann.send(f"/api/items/{item}/ranking", {"ranking": [[0, 1, 2, 3]]}).status_code == 200
    assert len(said) <= 20, said


def test_pictures_that_prompts_name_come_from_their_folder_and_from_nowhere_else(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    (folder / "a b").mkdir(parents=True)
    for path in (folder / "a b" / "c#1.png", tmp_path / "outside.png"):
        Image.new("RGB", (3, 2)).save(path)
    (folder / "notes.txt").write_text("not for labelers")
    (folder / "link.png").symlink_to(tmp_path / "outside.png")
    (folder / "folder.png").mkdir()
    parts = [{"type": "image_url", "image_url": {"url": url}} for url in ("a b/c#1.png", "https://evil.example/x.png")]
    prompt = Prompt("seen", [{"role": "user", "content": [*parts, {"type": "text", "text": "What is it?"}]}])
    store = open_store(tmp_path / "feedback.sqlite")
    [item] = add_items(store, [(prompt, [Response("a hat"), Response("a cat")])], overlap=1)
    client = TestClient(create_app(store, WebOptions(hosts=("testserver",)), pictures=folder))
    assert client.get("/pictures/a%20b/c%231.png").status_code == 401, "whoever is not signed in sees nothing"
    client.post(f"/enter/{invite(store, 'ann', 'labeler', 'test')}")
    found = client.get("/pictures/a%20b/c%231.png")
    assert found.status_code == 200 and found.headers["content-type"] == "image/png"
    assert found.content == (folder / "a b" / "c#1.png").read_bytes() and found.headers["X-Content-Type-Options"]
    for name in ("../outside.png", "%2e%2e/outside.png", "%2e%2e%2foutside.png", f"/{tmp_path}/outside.png", "link.png",
                 f"{tmp_path}/outside.png", "notes.txt", "folder.png", "none.png", "a%00.png", "x" * 3000 + ".png", ""):
        assert client.get(f"/pictures/{name}").status_code == 404, name
    shown = client.get("/label").text
    assert '<img src="/pictures/a%20b/c%231.png" alt="Image of the prompt" loading="lazy"' in shown
    assert "evil.example/x.png</span>" in shown and shown.count("<img") == 1
    submit(store, "ann", item, Judgement([[0], [1]]))
    assert [one.prompt for one in comparisons(store)] == [prompt], "what leaves the store still names the file"
    without = TestClient(create_app(store, WebOptions(hosts=("testserver",))))
    without.post(f"/enter/{invite(store, 'bob', 'labeler', 'test')}")
    assert without.get("/pictures/a%20b/c%231.png").status_code == 404
    store.close()
