"""Images on the chat page in a real browser: attached in every way, seen, kept, exported, not sent to the blind."""

import base64
import json
from pathlib import Path

import pytest

pytest.importorskip("playwright", reason="the browser tests need playwright")
pytest.importorskip("openai", reason="the server is tested with OpenAI's own client")

from playwright.sync_api import Browser, Page

from preceptor.data.pictures.captions import DESCRIBE
from preceptor.data.records import Conversation, Prompt
from preceptor.feedback.records import comparisons
from preceptor.generate.decoder import Request, Sampling
from preceptor.words.catalogue import catalogue
from tests.web.talking import Talking, kept, keys, png, settled


def put(page: Page, way: str, *files: tuple[str, bytes]) -> None:
    """Paste files into the box, or drop them on the page."""
    page.evaluate("""([way, files]) => {
        const held = new DataTransfer();
        for (const [name, kind, bytes] of files)
            held.items.add(new File([Uint8Array.from(atob(bytes), one => one.charCodeAt(0))], name, {type: kind}));
        const how = {bubbles: true, cancelable: true};
        const event = way === "paste" ? new ClipboardEvent(way, {...how, clipboardData: held})
            : new DragEvent(way, {...how, dataTransfer: held});
        document.getElementById("question").dispatchEvent(event); }""",
                  [way, [[name, "image/png", base64.b64encode(raw).decode()] for name, raw in files]])


def test_images_are_attached_in_every_way_and_a_model_that_sees_answers(browser: Browser, talking: Talking) -> None:
    page, seer = talking.open(browser, models=["eve"]), talking.engines["eve"].reader
    page.set_input_files("#file", {"name": "x.png", "mimeType": "image/png", "buffer": png()})
    page.locator("#pictures img").wait_for()
    page.set_input_files("#file", {"name": "x.png", "mimeType": "image/png", "buffer": b"no image"})
    page.locator("#toast", has_text="cannot be read").wait_for()
    put(page, "paste", ("y.png", png(30, 40)))
    page.locator("#pictures img").nth(1).wait_for()
    put(page, "dragover", ("z.png", png(50, 20)))
    assert page.locator("#composer.over").count() == 1
    put(page, "drop", ("z.png", png(50, 20)), ("w.png", png(60, 20)))
    page.locator("#pictures img").nth(3).wait_for()
    assert page.locator("#composer.over").count() == 0
    page.locator("#pictures button").nth(3).focus()
    page.keyboard.press("Delete")
    page.keyboard.press("Backspace")  # what stood before it is in focus now
    page.locator("#pictures button").nth(1).press("Enter")
    assert page.locator("#pictures img").count() == 1 and page.evaluate("document.activeElement.dataset.picture") == "0"
    assert page.get_attribute("#pictures button", "aria-label") == "Remove image 1 of 1"
    page.fill("#question", "ado")
    page.press("#question", "Enter")
    page.locator(".answer .tools").wait_for()
    settled(page)
    assert page.evaluate("[...document.querySelectorAll('.question img')].map(one => one.naturalWidth)") == [768]
    assert page.locator("#pictures img").count() == 0 and page.get_attribute(".question img", "alt") == (
        "Image 1 of 1 of the question")
    [turn] = kept(page)["turns"]
    [url], [answer] = turn["images"], turn["answers"]
    assert url.startswith("data:image/jpeg;base64,") and answer["finish"] in ("eos", "length"), answer
    shown = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}},
                                          {"type": "text", "text": "ado"}]}]
    seen = seer.read([(1, base64.b64decode(url.split(",")[1]))])
    prompt, numbers = seer.numbered(seer.tokens(Prompt("p", shown)), seen)
    request = Request(Prompt("p", shown), Sampling(temperature=0.7, top_p=0.95, max_tokens=16), 7)
    call = seer.decoder.call("sample", [request], [prompt])
    while call.advance():
        expected = [one.response.text for _, one in call.finished()]
    seer.shelf.take_away(numbers)
    assert [answer["text"]] == expected, "the page shows what the system writes about this very picture"
    page.reload()
    page.locator(".question img").wait_for()
    keys(page, "e")
    with page.expect_download() as record:
        page.click("[data-export=record]")
    saved = Conversation.from_dict(json.loads(Path(record.value.path()).read_text()))
    assert saved.messages == [*shown, {"role": "assistant", "content": answer["text"]}]
    keys(page, "e")
    with page.expect_download() as written:
        page.click("[data-export=markdown]")
    assert f"![]({url})" in Path(written.value.path()).read_text()


def test_images_go_to_models_that_see_and_to_no_others(browser: Browser, talking: Talking) -> None:
    page = talking.open(browser, models=["eve"])
    page.set_input_files("#file", [{"name": f"{n}.png", "mimeType": "image/png", "buffer": png(20 + n, 20)}
                                   for n in range(9)])
    page.locator("#toast", has_text="8 images at most").wait_for()
    assert page.locator("#pictures img").count() == 8
    for _ in range(7):
        page.locator("#pictures button").first.click()
    keys(page, "2")
    page.press("#question", "Enter")
    page.locator("#toast", has_text="bob cannot see").wait_for()
    assert page.locator(".turn").count() == 0 and page.locator("#pictures img").count() == 1
    keys(page, "2 p /")
    page.keyboard.press("Enter")
    page.locator(".verdict").wait_for()
    assert page.inner_text(".question .text") == DESCRIBE["en"] == "Describe the picture."
    keys(page, "=")
    page.locator(".verdict", has_text="A = B").wait_for()
    label = list(comparisons(talking.store))[-1]
    assert label.prompt.messages[0]["content"] == [
        {"type": "image_url", "image_url": {"url": kept(page)["turns"][0]["images"][0]}},
        {"type": "text", "text": DESCRIBE["en"]}] and label.ranking == [[0, 1]]
    assert catalogue("zh")["chat.describe"] == DESCRIBE["zh"], "a captioner knows these two sentences"


def test_where_nobody_sees_there_is_no_way_to_attach_one(browser: Browser, talking: Talking,
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(talking.chat.state.service.models, "eve")
    page = talking.open(browser)
    put(page, "paste", ("x.png", png()))
    put(page, "drop", ("x.png", png()))
    keys(page, "i")
    assert page.locator("#attach").is_hidden() and page.locator("#pictures img").count() == 0
