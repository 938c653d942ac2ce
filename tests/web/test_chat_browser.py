"""The chat page in a real browser: asking, stopping, choosing, keeping, and what hostile texts cannot do."""

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("playwright", reason="the browser tests need playwright")
pytest.importorskip("openai", reason="the server is tested with OpenAI's own client")

import torch
from playwright.sync_api import Browser, Page

from preceptor.data.records import Conversation
from preceptor.feedback.preferences import all_thumbs, prefer
from preceptor.feedback.records import comparisons
from preceptor.generate import cuts
from preceptor.generate.decoder import Sampling
from preceptor.web.options import ServeOptions
from tests.web.conftest import EVIL
from tests.web.talking import Talking, ask, kept, keys, png, settled

PIXELS = {"light": "rgb(253, 252, 250)", "dark": "rgb(22, 24, 27)"}


def test_an_answer_is_the_decoder_s_is_kept_and_leaves_in_three_forms(browser: Browser, talking: Talking) -> None:
    page = talking.open(browser)
    ask(page, "ado **emi**")
    expected = talking.alone("ann", "ado **emi**", 7, temperature=0.7, top_p=0.95, max_tokens=16)
    answer = kept(page)["turns"][0]["answers"][0]
    assert answer["text"] == expected and answer["sampling"] == {
        "temperature": 0.7, "top_p": 0.95, "seed": 7, "max_tokens": 16}
    assert page.inner_text(".question strong") == "emi"
    ask(page, "ona")
    keys(page, "c")
    page.locator("#toast", has_text="Copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == kept(page)["turns"][1]["answers"][0]["text"]
    page.reload()
    page.locator(".turn").nth(1).wait_for()
    said = kept(page)
    files = {}
    for digit in "123":
        keys(page, "e")
        with page.expect_download() as download:
            page.keyboard.press(digit)
        files[Path(download.value.suggested_filename).suffix] = Path(download.value.path()).read_text(encoding="utf-8")
    record = Conversation.from_dict(json.loads(files[".jsonl"]))
    assert [one["role"] for one in record.messages] == ["user", "assistant"] * 2
    assert record.messages[0]["content"] == "ado **emi**" and record.messages[1]["content"] == expected
    assert json.loads(files[".json"])["turns"] == said["turns"] and "## ann" in files[".md"]
    keys(page, "n")
    assert page.locator("#welcome").is_visible()
    keys(page, "l")
    page.click("#conversations [data-delete]")
    assert not page.evaluate("Object.keys(localStorage).filter(key => key.startsWith('preceptor/chat/')).length")
    page.click("#toast button")
    keys(page, "l")
    page.click("#conversations .title")
    assert page.locator(".turn").count() == 2


def test_two_unnamed_answers_by_keyboard_land_in_the_store_as_a_comparison(browser: Browser, talking: Talking) -> None:
    page = talking.open(browser)
    before = list(comparisons(talking.store))
    keys(page, "2 p /")
    page.keyboard.type("kemi")
    page.keyboard.press("Enter")
    page.locator(".verdict").wait_for()
    settled(page)
    assert {*page.locator(".who").all_inner_texts()} == {"unnamed"} and page.locator(".answer.chosen").count() == 0
    assert page.locator(".turn [data-do=up]").count() == 0, "nothing tells who wrote it, or which is thought better"
    keys(page, "b")
    page.locator(".verdict", has_text="B > A").wait_for()
    turn = kept(page)["turns"][0]
    *old, label = comparisons(talking.store)
    assert old == before and label.ranking == [[1], [0]] and label.shown == [0, 1] and turn["chosen"] == 1
    assert [one.model for one in label.responses] == [one["model"] for one in turn["answers"]]
    assert {one.model for one in label.responses} == {"ann", "bob"}
    for one in label.responses:
        assert one.text == talking.alone(one.model, "kemi", one.sampling["seed"], temperature=0.7, top_p=0.95,
                                         max_tokens=16)
    assert page.locator(".who").all_inner_texts() == [one.model for one in label.responses]
    keys(page, "+")
    page.locator("[data-do=up][aria-pressed=true]").wait_for()
    [thumb] = [one for one in all_thumbs(talking.store) if one.response.text == label.responses[1].text]
    assert thumb.up and thumb.prompt == label.prompt
    ask(page, "ona")
    assert page.evaluate("document.querySelectorAll('.turn').length") == 2
    keys(page, "a")
    page.locator(".turn:last-child .verdict", has_text="A > B").wait_for()
    newest = list(comparisons(talking.store))[-1]
    assert [one["content"] for one in newest.prompt.messages] == ["kemi", label.responses[1].text, "ona"]
    keys(page, "u")
    page.locator("#toast", has_text="Taken back").wait_for()
    assert list(comparisons(talking.store)) == [*before, label]
    page.route("**/v1/chat/completions", lambda route: route.fulfill(body=stream_of("the same")))
    ask(page, "iru")
    assert "Both say the same" in page.inner_text(".turn:last-child .verdict")
    assert {*page.locator(".turn:last-child .who").all_inner_texts()} == {"ann", "bob"}, "there is nothing to hide for"


def test_answers_anew_in_other_ways_and_a_ranking_of_three(browser: Browser, talking: Talking) -> None:
    page = talking.open(browser)
    ask(page, "emi")
    for way in ("2", "6"):
        keys(page, "r")
        page.locator("#anew[open]").wait_for()
        page.keyboard.press(way)
        page.wait_for_function("n => document.querySelectorAll('.answer').length === n", arg={"2": 2, "6": 3}[way])
        settled(page)
    [turn] = kept(page)["turns"]
    answers = turn["answers"]
    assert [one["strategy"] for one in answers] == ["balanced", "greedy", "beams"] and turn["chosen"] == 2
    assert answers[1]["text"] == talking.alone("ann", "emi", 0, temperature=0, max_tokens=16)
    assert answers[2]["text"] == talking.alone("ann", "emi", 0, temperature=0, num_beams=4, max_tokens=16)
    page.locator(".answer").first.focus()
    page.keyboard.press("2")
    page.locator(".answer").nth(1).focus()
    page.keyboard.press("1")
    page.locator(".answer").nth(2).focus()
    page.keyboard.press("2")
    page.click("[data-do=keepRanking]")
    page.locator(".verdict", has_text="B > A = C").wait_for()
    assert list(comparisons(talking.store))[-1].ranking == [[1], [0, 2]]
    page.click("[data-do=differently]")
    assert page.input_value("#question") == "emi" and page.locator(".turn").count() == 0
    keys(page, "l")
    assert page.locator("#conversations li").count() == 1


def writing_slowly(browser: Browser, talking: Talking, monkeypatch: pytest.MonkeyPatch) -> tuple[Page, Any]:
    """A page on which an answer has begun and takes seconds, and the engine that writes it."""
    page, engine = talking.open(browser, options={"temperature": 0.7, "min_p": 1e-9}), talking.engines["ann"]
    advance = type(engine._call).advance

    def slow(call: Any) -> bool:
        time.sleep(0.15)
        return advance(call)
    monkeypatch.setattr(type(engine._call), "advance", slow)
    page.fill("#question", "bado")
    page.press("#question", "Enter")
    page.wait_for_function("() => document.querySelector('.said')?.innerText.length > 2")
    return page, engine


def test_stopping_ends_the_work_keeps_what_was_written_and_says_so(browser: Browser, talking: Talking,
                                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    page, engine = writing_slowly(browser, talking, monkeypatch)
    assert page.inner_text("#send .label") == "Stop" and engine.at_work() == 1
    page.keyboard.press("Escape")
    page.locator(".note", has_text="Stopped").wait_for()
    for _ in range(100):
        if engine.at_work() == 0:
            break
        time.sleep(0.02)
    assert engine.at_work() == 0
    [answer] = kept(page)["turns"][0]["answers"]
    assert answer["finish"] == "stopped" and len(answer["text"]) > 2
    assert page.locator(".turn [data-do=up]").count() == 0, "half an answer is not the model's, and not judged"
    monkeypatch.undo()
    page.click("[data-do=again]")
    settled(page)
    assert kept(page)["turns"][0]["answers"][0]["text"] == talking.alone(
        "ann", "bado", 7, temperature=0.7, min_p=1e-9, max_tokens=16)


def test_what_is_pressed_twice_is_said_once_whatever_is_open_by_then(browser: Browser, talking: Talking,
                                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    page, go = talking.open(browser), threading.Event()
    before = list(comparisons(talking.store))

    def slowly(*given: Any) -> Any:
        go.wait(20)
        return prefer(*given)
    monkeypatch.setattr("preceptor.web.chatting.prefer", slowly)
    keys(page, "2 p")
    ask(page, "kemi ona")
    keys(page, "b b n")
    page.locator("#welcome").wait_for()
    go.set()
    page.wait_for_function("() => Object.keys(localStorage).some(key => key.startsWith('preceptor/chat/') "
                           "&& JSON.parse(localStorage[key]).turns[0].verdict)")
    [said] = list(comparisons(talking.store))[len(before):]
    assert said.ranking == [[1], [0]] and page.locator("#welcome").is_visible()


def test_what_is_deleted_while_it_is_written_stays_deleted(browser: Browser, talking: Talking,
                                                           monkeypatch: pytest.MonkeyPatch) -> None:
    page, engine = writing_slowly(browser, talking, monkeypatch)
    keys(page, "l")
    page.click("#conversations [data-delete]")
    page.wait_for_function("() => document.getElementById('send').innerText.includes('Ask')")
    page.wait_for_timeout(300)
    assert not page.evaluate("Object.keys(localStorage).filter(key => key.startsWith('preceptor/chat/')).length")


def stream_of(text: str, finish: str = "stop") -> str:
    """An answer as the API streams it, a few characters at a time."""
    deltas = [{"delta": {"content": text[at:at + 9]}} for at in range(0, len(text), 9)]
    chunks = [{"choices": [one]} for one in (*deltas, {"delta": {}, "finish_reason": finish, "stop_reason": None})]
    return "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"


def test_hostile_texts_are_shown_and_nobody_else_is_asked_for_anything(browser: Browser, talking: Talking) -> None:
    page = talking.open(browser)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    evil = EVIL + "\n\n![pixel](http://evil.example/p.png)\n\n<svg onload='window.evil=1'>\n\n| a |\n|---|\n| 1 |"
    fits = {"left_out": 0, "whole": True, "max_tokens": 16, "context": 64}  # the small model's context is soon full
    page.route("**/api/chat/fitting", lambda route: route.fulfill(json=fits))
    page.route("**/v1/chat/completions", lambda route: route.fulfill(body=stream_of(evil)))
    ask(page, f"{EVIL} <iframe src='http://evil.example'>")
    assert page.inner_text(".said strong") == "bold" and page.locator(".said table").count() == 1
    assert page.locator(".turn script, .turn img, .turn iframe, .turn svg[onload], a[href^=javascript]").count() == 0
    keys(page, "l")
    page.reload()
    page.locator(".said strong").wait_for()
    assert page.evaluate("window.evil") is None
    hosts = {url.split("/")[2] for url in asked if not url.startswith(("data:", "blob:"))}
    assert hosts == {talking.url.split("/")[2]}
    half = stream_of("half an answer").split("\n\n")[0] + "\n\n"
    page.route("**/v1/chat/completions", lambda route: route.fulfill(body=half))
    ask(page, "broken")
    assert "No answer" in page.inner_text(".turn:last-child .notice"), "a broken stream is no answer"
    refusal = {"error": {"message": "Too many."}}
    page.route("**/v1/chat/completions", lambda route: route.fulfill(status=429, json=refusal))
    ask(page, "often")
    assert "Too many." in page.inner_text(".turn:last-child .notice")
    page.evaluate("() => { Storage.prototype.setItem = () => { throw new DOMException('', 'QuotaExceededError'); }; }")
    page.route("**/v1/chat/completions", lambda route: route.fulfill(body=stream_of("fine")))
    ask(page, "full")
    assert "no room" in page.inner_text("#toast") and page.locator(".turn").count() == 4


def test_a_key_is_asked_for_until_it_is_right(browser: Browser, talking: Talking,
                                              monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(talking.chat.state.service, "options", ServeOptions(keys=("right",), max_tokens=8))
    page = browser.new_context(viewport={"width": 800, "height": 600}).new_page()
    page.set_default_timeout(30_000)
    page.goto(talking.url)
    for key, wrong in (("wrong", False), ("right", True)):
        page.locator("#key[open]").wait_for()
        page.wait_for_function("wrong => document.getElementById('key-wrong').hidden !== wrong", arg=wrong)
        page.fill("#key-given", key)
        page.press("#key-given", "Enter")
    page.wait_for_selector("#who .chip")
    ask(page, "ado")
    assert page.locator(".answer .notice").count() == 0
    assert page.evaluate("Object.values(localStorage).join().includes('right')") is False
    page.evaluate("sessionStorage.removeItem('preceptor/chat-key')")
    page.reload()  # now who answers and how the texts look are both asked for, without a key
    page.locator("#key[open]").wait_for()
    page.fill("#key-given", "right")
    page.press("#key-given", "Enter")
    page.locator(".question .text p").wait_for()
    assert page.locator("#who .chip").count() and page.locator("#key[open]").count() == 0


def test_the_settings_are_explained_and_honoured(browser: Browser, talking: Talking) -> None:
    page = talking.open(browser)
    keys(page, "s")
    assert page.locator("#controls .explained").count() == 6 and page.locator("#example rect.dropped").count() > 0
    page.locator("#option-temperature").fill("1.5")
    page.locator("#option-top_p").fill("1")
    assert page.locator("#example rect.dropped").count() == 0
    assert page.inner_text("output[for=option-temperature]") == "1.5"
    page.fill("#system", "ona ona")
    page.keyboard.press("Escape")
    ask(page, "ado")
    assert kept(page)["turns"][0]["answers"][0]["sampling"] == {"temperature": 1.5, "seed": 7, "max_tokens": 16}
    page.click(".how summary")
    assert "Balanced (changed)" in page.inner_text(".how dl")
    for _ in range(4):
        ask(page, "ado emi iru ona")
    assert "no longer sees the first" in page.inner_text(".turn:last-child .note")
    assert page.locator(".answer .notice").count() == 0, "what is left fits"
    keys(page, "s")
    page.select_option("#strategy", "contrastive")
    assert page.locator("#controls .explained").count() == 2 and page.locator("#example").is_hidden()
    page.keyboard.press("Escape")
    ask(page, "ona")
    assert kept(page)["turns"][5]["answers"][0]["sampling"]["penalty_alpha"] == 0.6


def test_the_example_is_the_decoder_s_arithmetic_and_every_strategy_can_be_asked_for(browser: Browser,
                                                                                     talking: Talking) -> None:
    page = talking.open(browser)
    cases = [{"temperature": temperature, "top_k": k, "top_p": p, "min_p": m} for temperature in (0.3, 1.0, 1.7)
             for k in (0, 4) for p in (1.0, 0.9, 0.55) for m in (0.0, 0.2)]
    scores, shown, strategies = page.evaluate("""async cases => {
        const {SCORES, STRATEGIES, example, given} = await import("/static/chat_strategies.js");
        return [SCORES, cases.map(example), Object.values(STRATEGIES).map(one => given(one.options))]; }""", cases)
    for case, shares in zip(cases, shown):
        logits = torch.tensor([scores], dtype=torch.float64) / case["temperature"]
        logits = cuts.top_p(cuts.top_k(logits, case["top_k"]) if case["top_k"] else logits, case["top_p"])
        assert shares == pytest.approx(cuts.min_p(logits, case["min_p"]).softmax(-1)[0].tolist(), abs=1e-9), case
    assert len({Sampling(**options).strategy for options in strategies}) == 3 and len(strategies) == 7


@pytest.mark.parametrize(("language", "theme", "width"), [("en", "light", 1100), ("zh", "dark", 360)])
def test_every_state_is_accessible_in_both_languages_themes_and_on_a_phone(
        browser: Browser, talking: Talking, language: str, theme: str, width: int) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = talking.open(browser, width=width, models=["ann", "bob"])
    page.goto(f"{talking.url}/look?language={language}&theme={theme}&back=/")
    page.wait_for_selector("#who .chip")
    assert page.evaluate("document.documentElement.lang") == {"en": "en", "zh": "zh-CN"}[language]
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == PIXELS[theme]
    found = {}

    def look(state: str) -> None:
        scroll, inner = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert scroll <= inner, state
        violations = axe.run(page, options={"resultTypes": ["violations"]}).response["violations"]
        found[state] = [(one["id"], one["nodes"][0]["html"][:120]) for one in violations
                        if one["impact"] in ("serious", "critical", "moderate")]

    look("welcome")
    page.fill("#question", "ado")
    page.press("#question", "Enter")
    page.locator(".verdict button").first.wait_for()
    look("two answers")
    for key, dialog in (("s", "writing"), ("l", "list"), ("r", "anew"), ("?", "keys"), ("e", "export")):
        keys(page, key)
        page.locator(f"#{dialog}[open]").wait_for()
        if width == 360 and dialog != "writing":  # the same rules; a run of axe takes a second
            assert page.evaluate("document.documentElement.scrollWidth") <= 360, dialog
        else:
            look(dialog)
        page.keyboard.press("Escape")
        page.locator(f"#{dialog}[open]").wait_for(state="detached")
    page.set_input_files("#file", [{"name": f"{n}.png", "mimeType": "image/png", "buffer": png(300 + 200 * n, 300)}
                                   for n in range(4)])
    page.locator("#pictures img").nth(3).wait_for()
    keys(page, "3 1 2")
    page.press("#question", "Enter")
    page.locator(".shown.several img").nth(3).wait_for()
    page.set_input_files("#file", {"name": "x.png", "mimeType": "image/png", "buffer": png()})
    page.locator("#pictures img").wait_for()
    for across, down, wide, high in page.evaluate(
            "[...document.querySelectorAll('.shown img')].map(one => [one.width, one.height, one.naturalWidth, "
            "one.naturalHeight])"):
        assert abs(across / down - wide / high) < 0.05 * wide / high, "nothing is stretched"
    look("images")
    assert not any(found.values()), found
