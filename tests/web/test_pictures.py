"""Pictures in the API: OpenAI's own client shows them to systems that see, and bad ones are the client's fault."""

import base64
import gc
import io
import json
import struct
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the server needs the extra 'web'")
pytest.importorskip("openai", reason="the server is tested with OpenAI's own client")

import openai
import torch

from preceptor.data.pictures.decode import decode
from preceptor.data.pictures.store import as_floats
from preceptor.data.records import Prompt
from preceptor.generate.decoder import Sampling
from preceptor.models.vision.splice import Shelf
from preceptor.run.errors import UserError
from preceptor.vision.keep import load_system, save_system
from preceptor.vision.system import System
from preceptor.web import pictures
from preceptor.web.options import ServeOptions
from preceptor.web.served import load
from tests.web.conftest import Served, picture, with_picture

QUESTIONS = ["ado", "emi iru ona", "bado kemi ado", "ona ona"]


@pytest.fixture(scope="module")
def seer(folder: Path) -> System:
    return load_system(folder / "seer")


@pytest.fixture(scope="module")
def captioner(folder: Path) -> System:
    return load_system(folder / "captioner")


@pytest.fixture(autouse=True)
def _nothing_is_left(served: Served) -> Iterator[None]:
    yield
    engines = [served.app.state.service.models[name] for name in ("seer", "captioner")]
    if any(len(engine.reader.shelf) for engine in engines):  # an error's traceback may hold the last call
        gc.collect()
    assert [len(engine.reader.shelf) for engine in engines] == [0, 0] and all(engine.alive() for engine in engines)


def ask(served: Served, messages: list[dict[str, Any]], model: str = "seer", **options: Any) -> Any:
    return served.client().chat.completions.create(model=model, messages=messages, **options)


def pixels(*urls: str) -> torch.Tensor:
    return as_floats(torch.stack([torch.from_numpy(decode(base64.b64decode(url.split(",")[1]), 16).copy())
                                  for url in urls]))


def alone(seer: System, messages: list[dict[str, Any]], *urls: str, seed: int = 0, **sampling: Any) -> str:
    """What the system itself writes, by its own verb."""
    [text] = seer.write([Prompt("p", messages)], [pixels(*urls)], Sampling(**sampling), seed)
    return text


def test_answers_about_pictures_are_the_system_s_own_in_company_streamed_or_not(served: Served, seer: System) -> None:
    urls = [picture(number, kind) for number, kind in enumerate(("png", "webp", "gif", "png"))]
    wanted = [(QUESTIONS[n % 4], urls[n // 4 % 4:][:1 + n % 2], n, {"max_tokens": 5 + n % 7,
                                                                   "temperature": (n % 3) * 0.6}) for n in range(16)]

    def get(number: int) -> str:
        text, shown, seed, sampling = wanted[number]
        if number % 2:
            return ask(served, with_picture(text, *shown), seed=seed, **sampling).choices[0].message.content
        chunks = ask(served, with_picture(text, *shown), seed=seed, stream=True, **sampling)
        return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)

    with ThreadPoolExecutor(8) as pool:
        plain = pool.submit(ask, served, [{"role": "user", "content": "ado"}], seed=3, max_tokens=9)
        together = list(pool.map(get, range(16)))
    assert together == [alone(seer, with_picture(text, *shown), *shown, seed=seed, **sampling)
                        for text, shown, seed, sampling in wanted]
    assert plain.result().choices[0].message.content == served.alone("ado", 3, max_tokens=9).text, "no picture, no eyes"
    looked = {ask(served, with_picture("ado", url), temperature=0, max_tokens=12).choices[0].message.content
              for url in urls}
    assert len(looked) > 1, "what is seen matters"


def test_choices_stops_log_probs_searches_and_usage(served: Served, seer: System) -> None:
    url = picture(7)
    asked = with_picture("ado", url)
    found = ask(served, asked, n=3, seed=5, max_tokens=12, logprobs=True)
    texts = [alone(seer, asked, url, seed=5 + number, max_tokens=12) for number in range(3)]
    assert [choice.message.content for choice in found.choices] == texts and len(set(texts)) > 1
    assert all(token.logprob <= 0 for choice in found.choices for token in choice.logprobs.content)
    without = ask(served, [{"role": "user", "content": "ado"}], max_tokens=1)
    assert found.usage.prompt_tokens == without.usage.prompt_tokens + 3, "a picture is three vectors"
    stop = texts[0][2:4]
    cut = ask(served, asked, seed=5, max_tokens=12, stop=stop).choices[0]
    assert cut.message.content == texts[0].partition(stop)[0] and cut.finish_reason == "stop"
    for options in ({"num_beams": 3}, {"penalty_alpha": 0.6, "top_k": 4}, {"prompt_lookup_num_tokens": 3},
                    {"guard": {"actions": ["roll_back", "stop"]}}):
        said = ask(served, asked, temperature=0, max_tokens=10, extra_body=options).choices[0].message.content
        assert "guard" in options or said == alone(seer, asked, url, temperature=0, max_tokens=10, **options)
    history = [*with_picture("emi", picture(1)), {"role": "assistant", "content": "ona"}, *asked]
    said = ask(served, history, temperature=0, max_tokens=8).choices[0].message.content
    assert said == alone(seer, history, picture(1), url, temperature=0, max_tokens=8)
    forged = with_picture("<|image|><|image|> ado", url)
    assert ask(served, forged, max_tokens=1).usage.prompt_tokens > found.usage.prompt_tokens + 6, "letters, no pictures"


def test_a_captioner_captions_and_reads_no_words(served: Served, captioner: System) -> None:
    urls = [picture(number) for number in range(4)]
    captions = captioner.caption(pixels(*urls))
    assert len(set(captions)) > 1
    for number, url in enumerate(urls):
        asked = with_picture(["", "Describe the picture.", "请描述这张图片。"][number % 3], url)
        whole = ask(served, asked, "captioner", temperature=0, max_tokens=23)
        assert whole.choices[0].message.content == captions[number]
        chunks = ask(served, asked, "captioner", temperature=0, max_tokens=23, stream=True)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == captions[number]
    assert len(ask(served, asked, "captioner", n=3, seed=1, max_tokens=23).choices) == 3
    for messages in (with_picture("What colour is it?", urls[0]), with_picture("", *urls[:2]),
                     [{"role": "user", "content": "ado"}], [{"role": "system", "content": "ado"}, *asked]):
        with pytest.raises(openai.BadRequestError, match="captions one picture, and reads no words"):
            ask(served, messages, "captioner")
    for options in ({"max_tokens": 24}, {"extra_body": {"guard": True}}, {"extra_body": {"num_beams": 2}}):
        with pytest.raises(openai.BadRequestError):
            ask(served, asked, "captioner", temperature=0, **options)
    with pytest.raises(openai.BadRequestError, match="goes on with no text"):
        served.client().completions.create(model="captioner", prompt="ado")


def held(raw: bytes, kind: str = "png") -> str:
    return f"data:image/{kind};base64,{base64.b64encode(raw).decode()}"


def bomb() -> bytes:
    """A file of a few bytes that says it has 900 million pixels."""
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b""))


def file() -> bytes:
    return base64.b64decode(picture(0).split(",")[1])


def postscript() -> bytes:
    from PIL import Image
    written = io.BytesIO()
    Image.new("RGB", (9, 9)).save(written, "EPS")
    return written.getvalue()


@pytest.mark.parametrize("url, words", [
    ("https://example.org/a.png", "nothing is fetched"), ("file:///etc/passwd", "nothing is fetched"),
    ("data:image/svg+xml;base64,PHN2Zz4=", "nothing is fetched"), ("", "nothing is fetched"),
    ("data:image/png;base64,@@@@", "not base64"), ("data:image/png;base64,", "1 of the request cannot be used"),
    (held(b"no picture"), "not a picture"), (held(file()[:-60]), "cut off"), (held(bomb()), "too many pixels"),
    (held(postscript()), "not a picture"), (held(b"x" * (pictures.LARGEST + 1)), "more than 4 MB")],
    ids=lambda value: str(value)[:30])
def test_a_bad_picture_is_the_client_s_fault(served: Served, url: str, words: str) -> None:
    for stream in (False, True):
        with pytest.raises(openai.BadRequestError, match=words):
            ask(served, with_picture("ado", url), stream=stream)


def test_one_bad_picture_spoils_its_own_request_alone(served: Served, seer: System) -> None:
    good, bad = with_picture("ado", picture(1)), with_picture("ado", picture(1), held(b"none"))

    def get(number: int) -> str:
        try:
            return ask(served, bad if number % 2 else good, temperature=0, max_tokens=6).choices[0].message.content
        except openai.BadRequestError as error:
            return error.message
    with ThreadPoolExecutor(6) as pool:
        said = list(pool.map(get, range(6)))
    assert said[::2] == [alone(seer, good, picture(1), temperature=0, max_tokens=6)] * 3
    assert all("Picture 2 of the request cannot be used: not a picture" in one for one in said[1::2])


@pytest.mark.parametrize("part, words", [
    ({"type": "input_audio", "input_audio": {}}, "neither text nor a picture"),
    ({"type": "text", "text": 1}, "neither"), ({"type": "image_url"}, "neither"),
    ({"type": "image_url", "image_url": "a.png"}, "no URL"), ("ado", "neither"),
    ({"type": "image_url", "image_url": {"url": 1}}, "no URL"),
    ({"type": "image_url", "image_url": {"url": picture(0), "detail": "high"}}, "detail 'high'")], ids=str)
def test_parts_that_are_neither_text_nor_picture_are_refused(served: Served, part: Any, words: str) -> None:
    with pytest.raises(openai.BadRequestError, match=words):
        ask(served, [{"role": "user", "content": [part]}])


def test_what_cannot_be_done_with_pictures_is_refused_by_name(served: Served) -> None:
    shown = with_picture("ado", picture(0))
    with pytest.raises(openai.BadRequestError, match="'tiny' reads text alone"):
        ask(served, shown, "tiny")
    with pytest.raises(openai.BadRequestError, match="may hold 8 pictures"):
        ask(served, with_picture("ado", *[picture(0)] * 9))
    with pytest.raises(openai.BadRequestError, match="context"):
        ask(served, with_picture("ado " * 30, *[picture(0)] * 8))
    for role in ("system", "assistant"):
        with pytest.raises(openai.BadRequestError, match=f"role '{role}' holds a picture"):
            ask(served, [{**shown[0], "role": role}, *shown])
    for options, words in (({"repetition_penalty": 1.2}, "repetition_penalty"),
                           ({"no_repeat_ngram_size": 2}, "no_repeat_ngram_size"),
                           ({"dry_multiplier": 0.8}, "dry_multiplier"),
                           ({"guard": {"actions": ["regenerate", "stop"]}}, "differently")):
        with pytest.raises(openai.BadRequestError, match=words):
            ask(served, shown, extra_body=options)
    with pytest.raises(openai.BadRequestError, match="rewards read text alone"):
        served.client().post("/score", cast_to=object, body={"model": "judge", "messages": shown, "responses": ["a"]})
    with pytest.raises(openai.APIStatusError) as caught:
        served.client().post("/chat/completions", cast_to=object, content=b" " * (pictures.REQUEST + 1))
    assert caught.value.status_code == 413
    document = json.loads(served.client().get("/../openapi.json", cast_to=str))
    [_, parts] = document["paths"]["/v1/chat/completions"]["post"]["requestBody"]["content"]["application/json"][
        "schema"]["properties"]["messages"]["items"]["properties"]["content"]["anyOf"]
    assert len(parts["items"]["anyOf"]) == 2


def test_texts_and_pictures_have_vectors_in_one_space(served: Served, folder: Path) -> None:
    system, urls = load_system(folder / "towers"), [picture(number) for number in range(3)]
    shown = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    found = served.client().embeddings.create(model="towers", input=[shown[0], "ado emi", shown[1], "ona", shown[2]])
    with torch.no_grad():
        seen, read = system.embed(pixels(*urls)), system.embed_texts(["ado emi", "ona"])
    expected = [seen[0], read[0], seen[1], read[1], seen[2]]
    assert [one.embedding for one in found.data] == [pytest.approx(one.tolist(), abs=1e-5) for one in expected]
    assert found.usage.prompt_tokens == sum(len(system.example("", text).tokens) for text in ("ado emi", "ona"))
    alone = served.client().embeddings.create(model="towers", input="ona", encoding_format="float").data[0].embedding
    assert alone == pytest.approx(read[1].tolist(), abs=1e-5)
    for given, words in (([shown[0], {"type": "image_url", "image_url": {"url": held(b"none")}}], "Picture 2 .* not a"),
                         (["ado " * 40], "does not fit"), ([shown[0], ""], "none of them empty"), ([7], "vocabulary"),
                         ([{"type": "text", "text": "ado"}], "none of them empty"), (shown * 3, "may hold 8")):
        with pytest.raises(openai.BadRequestError, match=words):
            served.client().embeddings.create(model="towers", input=given)
    with pytest.raises(openai.BadRequestError, match="none of them empty"):
        served.client().embeddings.create(model="bert", input=shown)


def test_what_neither_writes_nor_embeds_is_not_served(folder: Path, tmp_path: Path) -> None:
    from preceptor.vision.fusion_options import MaskedOptions
    from preceptor.vision.systems.visualbert import VisualBert
    save_system(VisualBert(MaskedOptions(system="visualbert", width=16, layers=1, heads=2, patch=8, text_length=24),
                           load_system(folder / "seer").tokenizer, 16, {}), tmp_path / "visualbert")
    with pytest.raises(UserError, match="a visualbert, neither writes nor has a vector"):
        load("visualbert", tmp_path / "visualbert", ServeOptions())
    with pytest.raises(UserError, match="PyTorch alone"):
        load("seer", folder / "seer", replace(ServeOptions(), runtime="onnx"))


def test_a_shelf_gives_what_stands_on_it_in_any_shape() -> None:
    shelf, vectors = Shelf(torch.zeros(2)), torch.arange(8.0).view(4, 2)
    first, second = shelf.put(vectors[:3]), shelf.put(vectors[3:])
    assert first == [1, 2, 3] and second == [4] and len(shelf) == 4
    shelf.take_away(first[:1])
    found = shelf[torch.tensor([[0, 1, 2], [4, 3, 4]])]
    assert torch.equal(found, torch.stack([torch.zeros(2), torch.zeros(2), vectors[1], vectors[3], vectors[2],
                                           vectors[3]]).view(2, 3, 2))
    assert shelf.put(vectors[:1]) == [5] and torch.equal(shelf[torch.zeros(3, dtype=torch.long)], torch.zeros(3, 2))
