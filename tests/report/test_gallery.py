"""The gallery of a run that looked at pictures: what stands under each, and every figure beside its blind one."""

import base64
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from preceptor.report.gallery import gallery, measured
from preceptor.report.page import build_report
from preceptor.run.files import read_json, write_json
from tests.report.conftest import HOSTILE, interval
from tests.report.test_browser import PROBE, _run, browser  # noqa: F401
from tests.report.test_page import read

NEAREST = {"picture": "gallery/0.png", "place": 3, "true": ["a red hat"],
           "texts": [["a blue hat", 0.9], [HOSTILE, 0.8], ["a red hat", 0.7]]}
WRITTEN = {"picture": "gallery/0.png", "written": "a blue hat", "captions": ["a red hat"], "rouge_l": 0.5}
ANSWERED = {"picture": "gallery/0.png", "question": "What colour is it?", "kind": "colour", "answer": "red"}
SHELVES = [
    {"kind": "nearest", "split": "test", "language": "en", "typical": [NEAREST | {"place": 1}], "worst": [NEAREST]},
    {"kind": "captions", "split": "test", "language": "en", "typical": [WRITTEN | {"written": "a red hat"}],
     "worst": [WRITTEN]},
    {"kind": "answers", "split": "test", "language": "en", "typical": [ANSWERED | {"written": "red", "right": 1.0}],
     "worst": [ANSWERED | {"written": "blue", "right": 0.0}]},
    {"kind": "reconstructions", "split": "test", "worst": [],
     "typical": [{"picture": "gallery/0.png", "painted": "gallery/again.png"}]},
    {"kind": "samples", "split": "test", "language": "zh", "worst": [],
     "typical": [{"text": "一顶红色的帽子", "painted": "gallery/again.png"}]}]


def figures(seen: float, blind: float) -> dict:
    return {"seen": interval(seen, 0.02, 100), "blind": interval(blind, 0.02, 100)}


SCORES = {"test": {
    "en": {"retrieval": {"seen": {"score_auc": interval(0.9, 0.01, 100), "text_r1": interval(0.4, 0.05, 100)},
                         "blind": {"score_auc": interval(0.5, 0.01, 100), "text_r1": interval(0.01, 0.01, 100)}},
           "captions": {"seen": {"bleu_4": 0.31, "cider_d": interval(2.1, 0.2, 100)},
                        "blind": {"bleu_4": 0.04, "cider_d": interval(0.2, 0.1, 100)}},
           "rate_distortion": {"distortion": 0.6, "pairs": 64},
           "questions": {"written": figures(0.66, 0.46)}, "ground": {"iou50": figures(0.31, 0.02)}},
    "word_order": {"pairs": 40, "seen": {"text": interval(0.6, 0.1, 40)}, "blind": {"text": interval(0.2, 0.1, 40)}},
    "reconstruction": {"used": 0.97, "perplexity": 180.5, **{way: {"psnr": interval(value, 0.3, 100)}
                                                           for way, value in (("seen", 24.0), ("blind", 9.0))}}}}


@pytest.fixture
def looked(make_run: Callable[..., Path]) -> Path:
    """A run with one step more, which looked at pictures."""
    run = make_run()
    place = run / "10-seen" / "gallery"
    place.mkdir(parents=True)
    for name, colour in (("0.png", (200, 20, 20)), ("again.png", (160, 40, 40))):
        Image.new("RGB", (48, 48), colour).save(place / name)
    write_json(run / "10-seen" / "gallery.json", SHELVES)
    write_json(run / "10-seen" / "scores.json", SCORES)
    manifest = read_json(run / "run.json")
    manifest["steps"]["seen"] = {"stage": "see", "status": "done", "folder": "10-seen", "wall_seconds": 3.0}
    write_json(run / "run.json", manifest)
    return run


def test_a_card_says_what_is_true_where_the_system_did_not(looked: Path) -> None:
    nearest, captions, answers, again, samples = gallery({"seen": looked / "10-seen"})
    assert nearest.title("en") == "Nearest texts (seen, test English)" and again.title("en").endswith("(seen, test)")
    assert nearest.typical[0].said is None and nearest.typical[0].lines[2] == ("a red hat", "good")
    assert nearest.worst[0].said("en") == "The true text “a red hat” is at place 3."
    assert captions.typical[0].lines == [("a red hat", "good")] and captions.typical[0].said is None
    assert captions.worst[0].lines == [("a blue hat", "bad")] and "a red hat" in captions.worst[0].said("zh")
    assert answers.worst[0].lines == [("What colour is it?", ""), ("blue", "bad")]
    assert len(again.typical[0].pictures) == 2 and samples.typical[0].lines == [("一顶红色的帽子", "")]
    raw = base64.b64decode(again.typical[0].pictures[1].partition(",")[2])
    assert raw == (looked / "10-seen" / "gallery" / "again.png").read_bytes()


def test_every_measure_stands_beside_its_blind_one() -> None:
    [table] = measured({"seen": SCORES}).tables
    shown = {re.sub("<.*?>", "|", row[0]): [str(cell) for cell in row[3:]] for row in table.rows}
    assert len(table.rows) == 10 and all(len(row) == 5 for row in table.rows)
    seen, blind = shown["|Answers, as written||回答（按原文）|"]
    assert seen == "0.660\u00a0[0.640,\u00a00.680]" and blind == "0.460\u00a0[0.440,\u00a00.480]"
    assert shown["|BLEU-4||BLEU-4|"] == ["0.310", "0.0400"] and shown["|Codes in use||用到的码字比例|"] == ["0.970", ""]
    assert measured({}) is None


def test_the_page_holds_the_pictures_and_escapes_the_texts(looked: Path) -> None:
    page = build_report(looked)
    source = page.read_text(encoding="utf-8")
    reader = read(page)
    assert reader.scripts == 1 and source.count("data:image/png;base64,") == 9
    assert {"gallery", "seen"} <= reader.anchors and len(reader.text["en"]) == len(reader.text["zh"])
    assert not re.search(r"https?:|//[a-z]{2,}\.|@import|url\(", re.sub('src="data:[^"]*"', "", source))


def test_a_run_without_pictures_has_no_gallery(make_run: Callable[..., Path]) -> None:
    assert 'id="gallery"' not in build_report(make_run()).read_text(encoding="utf-8")


def test_the_gallery_fits_a_phone(looked: Path, browser: str, tmp_path: Path) -> None:  # noqa: F811
    probe = tmp_path / "probe.html"
    probe.write_text(PROBE.format(page=build_report(looked).as_uri()), encoding="utf-8")
    shown = _run(browser, tmp_path / "profile", "--allow-file-access-from-files", "--virtual-time-budget=4000",
                 "--dump-dom", probe.as_uri())
    assert shown.count("&quot;wide&quot;:[]") + shown.count('"wide":[]') == 2
