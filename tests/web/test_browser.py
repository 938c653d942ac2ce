"""The labelling page in a real browser: by keyboard alone, by mouse, after a crash, on a phone, and for everybody."""

import json
import random
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("playwright", reason="the browser tests need playwright")

import uvicorn
from PIL import Image
from playwright.sync_api import Browser, Page

from preceptor.data.records import Comparison, Prompt, Response
from preceptor.feedback.accounts import invite
from preceptor.feedback.judgements import FLAGS
from preceptor.feedback.labelers import add_labeler
from preceptor.feedback.records import add_items, comparisons, set_gold
from preceptor.feedback.screening import screening
from preceptor.feedback.store import Store, open_store
from preceptor.feedback.trials import add_trials, assess_self, trials_of, write_trial
from preceptor.web.app import create_app
from preceptor.web.labelling import FLAG_KEYS
from preceptor.web.options import WebOptions
from tests.web.conftest import picture, some_items

PAGES = ("label", "test", "write", "me", "quality", "screening", "scores", "rounds", "people", "log")


class Server:
    """The application on a port of its own, over a store that the test sees too."""

    def __init__(self, store: Store, pictures: Path | None = None) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.store, self.url = store, f"http://127.0.0.1:{self.port}"
        app = create_app(store, WebOptions(axes=True), pictures=pictures)
        config = uvicorn.Config(app, host="127.0.0.1", port=self.port,
                                log_level="warning")
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.thread.start()
        while not self.server.started:
            time.sleep(0.02)

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    store = open_store(tmp_path / "feedback.sqlite")
    add_items(store, some_items(6, 6), overlap=6)
    running = Server(store)
    yield running
    running.stop()
    store.close()


def _enter(browser: Browser, server: Server, name: str, role: str = "labeler", **context: object) -> Page:
    viewport = context.pop("viewport", {"width": 1000, "height": 700})
    page = browser.new_context(viewport=viewport, reduced_motion="reduce", **context).new_page()
    page.set_default_timeout(30_000)
    page.goto(f"{server.url}/enter/{invite(server.store, name, role, 'test')}")
    page.click("main button")
    page.goto(f"{server.url}/label")
    return page


def _shown(page: Page) -> list[int]:
    return [int(value) for value in page.eval_on_selector_all(".answer", "all => all.map(one => one.dataset.answer)")]


def _keys(page: Page, keys: str) -> None:
    for key in keys.split():
        page.keyboard.press(key)


def _submitted(page: Page) -> None:
    """Enter, and wait for the next item."""
    before = page.get_attribute("#task", "data-state")
    page.keyboard.press("Enter")
    page.wait_for_function("before => document.getElementById('task').dataset.state !== before", arg=before)


def test_six_answers_by_keyboard_alone(browser: Browser, server: Server) -> None:
    """Fifteen keys: a score for each answer, two remarks, a rank for each answer (two of them tied), and Enter."""
    page = _enter(browser, server, "Ann")
    order = _shown(page)
    _keys(page, "h 7 5 o 6 2 1 4   1 3 2 5 6 3")
    assert page.inner_text("#strip") == "A > C > B = F > D > E"
    assert "A better than C better than B as good as F" in page.get_attribute("#strip", "aria-label")
    _submitted(page)
    [kept] = comparisons(server.store)
    a, b, c, d, e, f = order
    assert kept.ranking == [[a], [c], sorted([b, f]), [d], [e]] and kept.shown == order
    assert [kept.responses[index].scores["overall"] for index in order] == [7, 5, 6, 2, 1, 4]
    assert kept.responses[a].flags == ["hallucination"] and kept.responses[c].flags == ["opinion"]
    assert kept.responses[b].flags is None and 0 <= kept.seconds < 60
    assert page.evaluate("window.evil") is None
    _keys(page, "u")
    page.locator("#toast", has_text="taken back").wait_for()
    assert not list(comparisons(server.store)) and page.inner_text("#strip") == "A > C > B = F > D > E"


def test_a_draft_survives_a_closed_tab_and_a_dead_server(browser: Browser, server: Server) -> None:
    page = _enter(browser, server, "Ann")
    _keys(page, "7 s 3 n")
    page.keyboard.type("because 中文")
    page.keyboard.press("Escape")
    time.sleep(1.0)  # the draft goes to the server after a pause
    context = page.context
    page.evaluate("localStorage.clear()")  # another browser, say
    page.close(run_before_unload=False)
    page = context.new_page()
    page.goto(f"{server.url}/label")
    state = page.evaluate("[...document.querySelectorAll('[aria-checked=true]')].map(one => one.dataset.value)")
    assert state == ["7", "3"] and page.locator(".chip[aria-pressed=true]").count() == 1
    assert page.locator("textarea").nth(4).input_value() == "because 中文"
    server.stop()
    _keys(page, "r 1 2 3 4 5 6 Enter")
    page.wait_for_selector("#toast:not([hidden])")
    assert "cannot be reached" in page.inner_text("#toast") and not list(comparisons(server.store))
    assert page.inner_text("#strip").count(">") == 5  # nothing that was filled in is gone
    assert json.loads(page.evaluate("Object.values(localStorage)[0]"))["step"] == "rank"


def test_dragging_ranks_and_a_tie_needs_no_more_than_a_drop(browser: Browser, server: Server) -> None:
    page = _enter(browser, server, "Ann")

    def drag(letter: str, rank: int) -> None:
        page.locator(".token", has_text=letter).hover()
        page.mouse.down()
        box = page.locator(f".slot[data-rank='{rank}']").bounding_box()
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=4)
        page.mouse.up()

    for letter, rank in zip("ABCDEF", (2, 1, 2, 3, 4, 4)):
        drag(letter, rank)
    assert page.inner_text("#strip") == "B > A = C > D > E = F"
    drag("D", 0)  # back to the tray
    assert page.inner_text("#strip") == "B > A = C > E = F"
    page.click("[data-do=submit]")
    page.wait_for_selector("#toast:not([hidden])")
    assert "needs a rank" in page.inner_text("#toast") and not list(comparisons(server.store))
    _keys(page, "u u")
    assert page.inner_text("#strip") == "B > A = C > D > E"


def test_passing_on_and_the_dialogs(browser: Browser, server: Server) -> None:
    page = _enter(browser, server, "Ann")
    for key, dialog in (("?", "#keys"), ("i", "#instructions")):
        page.keyboard.press(key)
        assert page.locator(f"{dialog}[open]").count() == 1
        page.keyboard.press("Escape")
    before = page.inner_text(".prompt")
    _keys(page, "z 2")
    page.wait_for_function("before => document.querySelector('.prompt').innerText !== before", arg=before)
    _keys(page, "x")
    assert page.locator("mark").count() > 0
    _keys(page, "x")
    assert page.locator("mark").count() == 0


def test_a_candidate_takes_the_whole_test(browser: Browser, server: Server) -> None:
    [(prompt, said), *_] = some_items(6, 6)
    set_gold(server.store, [Comparison("g", prompt, said, [[n] for n in range(6)], "researchers", "person")])
    add_trials(server.store, [Prompt("d", [{"role": "user", "content": "Why are they all like that?"}])])
    page = _enter(browser, server, "Cal", "candidate")
    assert page.locator("[data-note=corrections]").count() == 0 == page.locator("a[href='/write']").count()
    _keys(page, "7 6 5 4 3 2 1 2 3 4 5 6")
    _submitted(page)
    page.click("main a")
    page.fill("textarea[name=text]", "People differ; ask them.")
    page.check("input[value=religion]")
    page.click("main button")
    page.wait_for_url("**/test?kept=1")
    assert page.locator("input:checked").count() == 1 and page.input_value("textarea[name=text]").startswith("People")
    reviewer = _enter(browser, server, "Rea", "reviewer")
    reviewer.goto(f"{server.url}/screening")
    reviewer.click(".marks button >> nth=6")
    reviewer.wait_for_url("**/screening#*")  # the mark has arrived; a page that is closed before may never say so
    [cal] = screening(server.store)
    assert (cal.answered, cal.written.mean, cal.assessment.topics) == (1, 7, ["religion"]) and cal.passes is not None


def test_random_sessions_end_in_the_state_that_a_model_predicts(browser: Browser, server: Server) -> None:
    """Scores, remarks, ranks and undo in any order: what is submitted is what the actions say."""
    page = _enter(browser, server, "Ann")
    draw = random.Random(0)
    for _ in range(3):
        order, past = _shown(page), []
        state: dict[str, dict] = {"scores": {}, "flags": {}, "ranks": {}}
        deeds = [(draw.choice(["score", "flag", "rank", "rank", "undo"]), draw.randrange(6)) for _ in range(20)]
        for deed, place in deeds + [("rank", place) for place in range(6)]:
            if deed == "undo":
                if past:
                    page.keyboard.press("u")
                    state = past.pop()
                continue
            past.append(json.loads(json.dumps(state)))
            _act(page, draw, state, deed, place, order[place])
        page.locator(".answer").nth(0).focus()
        _submitted(page)
        *_, kept = comparisons(server.store)
        levels = sorted(set(state["ranks"].values()))
        assert kept.ranking == [sorted(order[int(one)] for one, rank in state["ranks"].items() if rank == level)
                                for level in levels]
        for place, index in enumerate(order):
            assert (kept.responses[index].scores or {}).get("overall") == state["scores"].get(str(place))
            assert set(kept.responses[index].flags or ()) == set(state["flags"].get(str(place), []))


def _act(page: Page, draw: random.Random, state: dict[str, dict], deed: str, place: int, index: int) -> None:
    """One action on the answer at a place, in the page and in the model."""
    press = "selector => document.querySelector(selector).click()"
    page.evaluate(press, f"[data-token='{index}']")  # choose the answer
    if deed == "score":
        value = draw.randint(1, 7)
        page.evaluate(press, f"[data-answer='{index}'] [data-score=overall][data-value='{value}']")
        state["scores"][str(place)] = value
    elif deed == "flag":
        name = draw.choice(FLAGS)
        page.keyboard.press(FLAG_KEYS[name])
        flags = state["flags"].setdefault(str(place), [])
        flags.remove(name) if name in flags else flags.append(name)
    else:
        rank = draw.randint(1, 6)
        page.evaluate(press, f"[data-place='{rank}']")
        state["ranks"][str(place)] = rank


def _widths(page: Page) -> tuple[int, int]:
    return page.evaluate("[document.documentElement.scrollWidth, innerWidth]")


@pytest.mark.parametrize(("language", "theme", "width"), [("en", "light", 1000), ("zh", "dark", 360)])
def test_every_page_is_accessible_in_both_languages_themes_and_on_a_phone(
        browser: Browser, server: Server, language: str, theme: str, width: int) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    add_labeler(server.store, "judge", kind="model")
    add_labeler(server.store, "Bo", role="candidate")
    add_trials(server.store, [Prompt("d", [{"role": "user", "content": "Why are they all like that?"}])])
    write_trial(server.store, "Bo", trials_of(server.store, "Bo")[0].key, "People differ; ask them.")
    assess_self(server.store, "Bo", ["age"], "")
    page = _enter(browser, server, "Ann", "admin", viewport={"width": width, "height": 800})
    page.goto(f"{server.url}/look?language={language}&theme={theme}&back=/label")
    _keys(page, "7 6 5 4 3 2 1 2 3 4 5 6")
    _submitted(page)
    found = {}
    for name in (*PAGES, "nothing", "enter"):
        page.goto(f"{server.url}/{name}")
        assert page.evaluate("document.documentElement.lang") == {"en": "en", "zh": "zh-CN"}[language]
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert paper == {"light": "rgb(253, 252, 250)", "dark": "rgb(22, 24, 27)"}[theme]
        scroll, inner = _widths(page)
        assert scroll <= inner, name
        if width == 360 and name not in ("label", "write", "quality"):
            continue  # the same rules and colours; a run of axe takes seconds
        violations = axe.run(page, options={"resultTypes": ["violations"]}).response["violations"]
        found[name] = [(one["id"], one["impact"], one["nodes"][0]["html"][:120]) for one in violations
                       if one["impact"] in ("serious", "critical", "moderate")]
    assert not any(found.values()), found


def test_the_page_asks_nobody_else_for_anything(browser: Browser, server: Server) -> None:
    page = _enter(browser, server, "Ann")
    asked: list[str] = []
    sizes: list[int] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("response", lambda response: sizes.append(len(response.body())))
    page.goto(f"{server.url}/label")
    page.wait_for_load_state("networkidle")
    assert asked and all(url.startswith((server.url, "data:")) for url in asked)
    assert sum(sizes) < 150_000


@pytest.mark.parametrize("width", [1000, 360])
def test_pictures_of_a_prompt_are_seen_whatever_the_width(browser: Browser, tmp_path: Path, width: int) -> None:
    Image.new("RGB", (2400, 900), (60, 90, 160)).save(tmp_path / "wide.png")
    Image.new("RGB", (24, 24), (200, 60, 50)).save(tmp_path / "small.png")
    asked = {"role": "user", "content": [
        *({"type": "image_url", "image_url": {"url": url}} for url in ("wide.png", picture(1), "small.png")),
        {"type": "text", "text": "Which is red?"}]}
    said = {"role": "assistant", "content": [{"type": "image_url", "image_url": {"url": "small.png"}}]}
    store = open_store(tmp_path / "feedback.sqlite")
    add_items(store, [(Prompt("p", [asked, said, asked]), [Response("a"), Response("b")])], overlap=1)
    server = Server(store, tmp_path)
    page = _enter(browser, server, "ann", viewport={"width": width, "height": 700})
    images = page.locator(".prompt img")
    for number in range(images.count()):  # they are loaded when they come near
        images.nth(number).scroll_into_view_if_needed()
    page.wait_for_function("[...document.querySelectorAll('.prompt img')].every(one => one.naturalWidth)")
    sizes = page.evaluate("[...document.querySelectorAll('.prompt img')].map(one => [one.naturalWidth, one.width])")
    assert [natural for natural, _ in sizes] == [2400, 16, 24, 24, 2400, 16, 24]
    assert all(0 < shown <= width for _, shown in sizes)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert images.evaluate_all("all => all.every(one => one.alt && one.loading === 'lazy')")
    _keys(page, "5 3 1 2 Enter")
    page.locator(".finished").wait_for()
    server.stop()
    store.close()
