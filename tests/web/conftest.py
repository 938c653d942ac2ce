"""The application over a small store, people who are signed in, and a server of models on this machine."""

import base64
import io
import os
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the pages need the extra 'web'")

import numpy as np
import torch
import uvicorn
from fastapi.testclient import TestClient
from PIL import Image
from torch import nn

from preceptor.data.records import Prompt, Response
from preceptor.feedback.accounts import invite, session_of
from preceptor.feedback.records import add_items
from preceptor.feedback.store import Store, open_store
from preceptor.generate.decoder import Request, Sampling
from preceptor.generate.local import LocalDecoder
from preceptor.models.causal import save_model
from preceptor.models.scalar import scalar_from_causal
from preceptor.tokenizer.train import train_bpe
from preceptor.web.api import create_api
from preceptor.web.app import create_app
from preceptor.web.guard import COOKIE
from preceptor.web.options import ServeOptions, WebOptions
from preceptor.web.served import load
from tests.generate.conftest import build

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


@pytest.fixture(scope="package")
def talking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A server of small models with the chat page."""
    from tests.web.talking import chat_server
    with chat_server(tmp_path_factory.mktemp("talking")) as running:
        yield running


@dataclass
class Served:
    """A server that runs, and what it serves."""

    url: str
    app: Any
    model: nn.Module
    tokenizer: Any
    store: Store
    folder: Path
    clients: dict[tuple[str, str], Any] = field(default_factory=dict)

    def client(self, key: str = "one") -> Any:
        import openai
        place = self.url, key
        if place not in self.clients:
            self.clients[place] = openai.OpenAI(base_url=f"{self.url}/v1", api_key=key, max_retries=0, timeout=120)
        return self.clients[place]

    def alone(self, text: str, seed: int = 0, chat: bool = True, **sampling: Any) -> Response:
        request = Request(Prompt("p", [{"role": "user", "content": text}]), Sampling(**sampling), seed)
        return LocalDecoder(self.model, self.tokenizer).answers([request])[0].response


def start(app: Any, **config: Any) -> tuple[uvicorn.Server, threading.Thread, str]:
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=10, **config))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server ended before it began"
        time.sleep(0.01)
    return server, thread, f"http://127.0.0.1:{listening.getsockname()[1]}"


@pytest.fixture(scope="package")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders with models: `tiny` and `other` write, `judge` scores, `bert` embeds, `seer`, `captioner` and
    `towers` see."""
    from transformers import BertConfig, BertModel
    folder = tmp_path_factory.mktemp("models")
    tokenizer = train_bpe(["ado emi iru ona bado kemi"] * 20, 300, 10_000)
    for seed, name in enumerate(("tiny", "other")):
        torch.manual_seed(seed)
        model = build("llama", tokenizer)
        model.lm_head = nn.Linear(32, len(tokenizer), bias=False)  # a head as files have it
        save_model(model, tokenizer, folder / name)
    save_model(scalar_from_causal(folder / "tiny", seed=1), tokenizer, folder / "judge")
    config = BertConfig(vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
                        intermediate_size=48, max_position_embeddings=40, pad_token_id=tokenizer.pad_token_id)
    save_model(BertModel(config), tokenizer, folder / "bert")
    save_seers(folder)
    return folder


def save_seers(folder: Path) -> None:
    """Systems that see, whose words depend on what: Frozen over `tiny`, and CoCa; and SigLIP."""
    from preceptor.data.records import IMAGE
    from preceptor.tokenizer.chat import load_tokenizer
    from preceptor.vision.fusion_options import CocaOptions
    from preceptor.vision.keep import save_system
    from preceptor.vision.options import SiglipOptions
    from preceptor.vision.splice_options import FrozenOptions
    from preceptor.vision.systems.coca import Coca
    from preceptor.vision.systems.frozen import Frozen
    from preceptor.vision.systems.siglip import Siglip
    shape = {"width": 16, "layers": 1, "heads": 2, "patch": 8, "text_length": 24}
    tokenizer = load_tokenizer(folder / "tiny")
    tokenizer.add_tokens([IMAGE], special_tokens=True)
    torch.manual_seed(3)
    seer = Frozen(FrozenOptions(system="frozen", vectors=3, **shape), tokenizer, 16,
                  {"language_model": folder / "tiny"})
    captioner = Coca(CocaOptions(system="coca", queries=4, **shape), tokenizer, 16, {})
    with torch.no_grad():  # fresh weights are near zero, where all pictures look alike
        for system in (seer, captioner):
            for name, weight in system.named_parameters():
                if not name.startswith("language_model"):
                    weight.add_(0.3 * torch.randn_like(weight))
        captioner.text.words.weight[tokenizer.eos_token_id] += 0.3
    save_system(seer, folder / "seer")
    save_system(captioner, folder / "captioner")
    save_system(Siglip(SiglipOptions(system="siglip", **shape), tokenizer, 16, {}), folder / "towers")


def picture(seed: int, kind: str = "png", size: tuple[int, int] = (20, 16)) -> str:
    """A picture of noise as a data: URL."""
    image, file = Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)), io.BytesIO()
    image.save(file, kind, **({"lossless": True} if kind == "webp" else {}))
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"


def with_picture(text: str, *urls: str) -> list[dict[str, Any]]:
    """A user's message that shows pictures and says something of them."""
    return [{"role": "user", "content": [*({"type": "image_url", "image_url": {"url": url}} for url in urls),
                                         {"type": "text", "text": text}]}]


@pytest.fixture(scope="package")
def served(folder: Path) -> Iterator[Served]:
    options = ServeOptions(keys=("one", "two"), rows=6, waiting=40, max_tokens=20, requests_per_minute=10_000)
    names = ("tiny", "judge", "bert", "seer", "captioner", "towers")
    models = {name: load(name, folder / name, options) for name in names}
    store = open_store(folder / "log.sqlite")
    app = create_api(models, options, store)
    server, thread, url = start(app)
    decoder = models["tiny"].decoder
    yield Served(url, app, decoder.model, decoder.tokenizer, store, folder)
    server.should_exit = True
    thread.join(120)
    assert not thread.is_alive() and not models["tiny"]._thread.is_alive(), "the server did not end"
    store.close()
