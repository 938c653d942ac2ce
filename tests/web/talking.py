"""A server with the chat page, and what a visitor does there: what the tests of the page in a real browser share."""

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from playwright.sync_api import Browser, Page

from preceptor.data.records import Prompt
from preceptor.feedback.store import Store, open_store
from preceptor.generate.decoder import Request, Sampling
from preceptor.generate.engine import Engine
from preceptor.generate.local import LocalDecoder
from preceptor.models.causal import save_model
from preceptor.vision.keep import load_system
from preceptor.vision.reader import reader_of
from preceptor.web.api import create_api
from preceptor.web.chatting import beside, create_chat
from preceptor.web.opinions import Opinions
from preceptor.web.options import ServeOptions
from preceptor.web.served import Sighted
from tests.generate.conftest import build, train_bpe
from tests.web.conftest import save_seers, start


@dataclass
class Talking:
    """A server of small models with the chat page, and the store that it keeps opinions in: ann and bob read, eve also
    sees."""

    url: str
    engines: dict[str, Engine]
    store: Store
    chat: Any
    settings: dict[str, Any] = field(default_factory=lambda: {
        "strategy": "balanced", "options": {"temperature": 0.7, "top_p": 0.95}, "seed": 7, "max_tokens": 16})

    def open(self, browser: Browser, *, width: int = 1100, height: int = 800, **settings: Any) -> Page:
        """The page in a fresh browser, written in a fixed way."""
        context = browser.new_context(viewport={"width": width, "height": height}, reduced_motion="reduce",
                                      permissions=["clipboard-read", "clipboard-write"])
        page = context.new_page()
        page.set_default_timeout(30_000)
        kept = json.dumps({**self.settings, "models": ["ann"], **settings})
        page.add_init_script(f"localStorage['preceptor/chat-settings'] ??= {json.dumps(kept)}")
        page.goto(self.url)
        page.wait_for_selector("#who .chip")
        return page

    def alone(self, name: str, text: str, seed: int, **sampling: Any) -> str:
        decoder = self.engines[name].decoder
        request = Request(Prompt("p", [{"role": "user", "content": text}]), Sampling(**sampling), seed)
        return LocalDecoder(decoder.model, decoder.tokenizer).answers([request])[0].response.text


@contextmanager
def chat_server(folder: Path) -> Iterator[Talking]:
    """The server, as long as the block lasts."""
    torch.manual_seed(0)
    place = folder / "feedback.sqlite"
    tokenizer = train_bpe(["ado emi iru ona bado kemi"] * 20, 300, 10_000)
    engines = {name: Engine(LocalDecoder(build(family, tokenizer), tokenizer, rows=8, name=name))
               for name, family in (("ann", "llama"), ("bob", "gpt2"))}
    language = build("llama", tokenizer)
    language.lm_head = torch.nn.Linear(32, len(tokenizer), bias=False)
    save_model(language, tokenizer, folder / "tiny")
    save_seers(folder)
    engines["eve"] = Sighted(reader_of(load_system(folder / "seer"), 8, "eve"), ServeOptions(max_tokens=24))
    api = create_api(engines, ServeOptions(max_tokens=24, requests_per_minute=100_000))
    chat = create_chat(api.state.service, Opinions(str(place), alone=True))
    server, thread, url = start(beside(api, chat))
    store = open_store(place)
    yield Talking(url, engines, store, chat)
    store.close()
    server.should_exit = True
    thread.join(20)


def ask(page: Page, text: str) -> None:
    """A question, and its answers to the end."""
    before = page.locator(".turn").count()
    page.fill("#question", text)
    page.press("#question", "Enter")
    page.wait_for_function("n => document.querySelectorAll('.turn').length > n", arg=before)
    settled(page)


def settled(page: Page) -> None:
    page.wait_for_function("() => !document.querySelector('[aria-busy=true], .plain, .tail') "
                           "&& document.getElementById('send').innerText.includes('Ask')")


def keys(page: Page, pressed: str) -> None:
    page.evaluate("document.activeElement.blur()")
    for key in pressed.split():
        page.keyboard.press(key)


def kept(page: Page) -> dict[str, Any]:
    """The one conversation that the browser holds."""
    [found] = page.evaluate("Object.entries(localStorage).filter(([key]) => key.startsWith('preceptor/chat/'))")
    return json.loads(found[1])


def png(width: int = 900, height: int = 600) -> bytes:
    """A picture of noise, which says something to a model that sees."""
    noise, file = np.random.default_rng(width).integers(0, 256, (8, 12, 3), np.uint8), io.BytesIO()
    Image.fromarray(noise).resize((width, height), Image.Resampling.NEAREST).save(file, "png")
    return file.getvalue()
